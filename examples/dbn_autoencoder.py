"""Thirty numbers for a digit: a deep autoencoder unrolled from a deep belief network, beside PCA of the same size, on MNIST.

    python examples/dbn_autoencoder.py [--data FOLDER] [--code N] [--pretrain N] [--epochs N]

FOLDER holds MNIST's four files.  Machines of 400, 200 and N hidden units learn without labels, layer by layer; `to_autoencoder` makes
an encoder and a decoder of their weights, which are fine-tuned by cross-entropy (Hinton and Salakhutdinov, 2006).  Expected
squared error per test digit, code of 30: 13.87 by PCA, 7.45 by the unrolled network (56.54 before fine-tuning), 22.42 by the same
network from random weights after as many epochs of fine-tuning; about a minute of processor time, one seed.
"""
import argparse
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn import nn
from fastnn.datasets import read_idx

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "mnist"


def load(folder, part):
    """Pixels from 0 to 1, a row per digit."""
    return np.asarray(read_idx(folder / f"{part}-images-idx3-ubyte.gz")).reshape(-1, 784).astype(np.float32) / 255


def error(found, wanted):
    """Squared distance per digit, mean over the digits."""
    return ((found.astype(np.float64) - wanted) ** 2).sum(1).mean()


def pca(X, test, size):
    """The test rows rebuilt from their first `size` principal components."""
    mean = X.mean(0, dtype=np.float64)
    covariance = np.cov(X.T.astype(np.float64))
    axes = np.linalg.eigh(covariance)[1][:, -size:]
    return mean + (test - mean) @ axes @ axes.T


def rebuild(network, test):
    with fastnn.no_grad():
        return network(fastnn.from_numpy(test)).numpy()


def fine_tune(network, X, epochs):
    """Train on the cross-entropy of the pixels by Adam with a falling rate; the network's last Sigmoid is left to the loss."""
    optimizer = fastnn.optim.Adam(network.parameters(), lr=1e-3)
    schedule = fastnn.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    step = fastnn.compile(network[:-1], nn.BCEWithLogitsLoss(), optimizer)
    for _ in range(epochs):
        step.run_epoch(X, X, batch_size=100, shuffle=True)
        schedule.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--code", type=int, default=30, help="numbers per digit")
    parser.add_argument("--pretrain", type=int, default=3, help="epochs per layer")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of fine-tuning")
    options = parser.parse_args()
    if not (options.data / "train-images-idx3-ubyte.gz").exists():
        print(f"skipped: no digits in {options.data}; name their folder with --data")
        return
    X, test = load(options.data, "train"), load(options.data, "t10k")
    fastnn.manual_seed(0)
    sizes = [784, 400, 200, options.code]
    print(f"squared error per test digit: PCA of {options.code} components {error(pca(X, test, options.code), test):.2f}", flush=True)
    dbn = nn.DBN(sizes, dtype=fastnn.float32)
    start = time.perf_counter()
    dbn.pretrain(X, options.pretrain, lr=0.05)
    print(f"pre-trained without labels in {time.perf_counter() - start:.1f} s", flush=True)
    unrolled, plain = dbn.to_autoencoder(), nn.DBN(sizes, dtype=fastnn.float32).to_autoencoder()
    for layer in plain:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    for name, network in (("autoencoder unrolled from the DBN", unrolled), ("the same network from random weights", plain)):
        before, start = error(rebuild(network, test), test), time.perf_counter()
        fine_tune(network, X, options.epochs)
        print(f"{name}: {before:.2f} at first, {error(rebuild(network, test), test):.2f} after {options.epochs} epochs of fine-tuning "
              f"in {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
