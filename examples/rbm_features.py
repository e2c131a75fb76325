"""Features of an RBM under a linear classifier: MNIST digits, few of them labelled.

    python examples/rbm_features.py [--data FOLDER] [--labels N] [--hidden N] [--epochs N]

FOLDER holds MNIST's four files.  An RBM learns from 60,000 digits without their labels; softmax regression then learns from a few
labelled ones, once on the pixels and once on the features.  Expected with 1,000 labels: 84.7 % of the test digits on pixels,
89.7 % on features.
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
    """Pixels as 0 or 1, and labels."""
    pixels = np.asarray(read_idx(folder / f"{part}-images-idx3-ubyte.gz")).reshape(-1, 784)
    return (pixels > 127).astype(np.float32), np.asarray(read_idx(folder / f"{part}-labels-idx1-ubyte.gz")).astype(np.int64)


def linear_accuracy(X, y, test, wanted, epochs=100):
    """Accuracy on the test rows of softmax regression on X."""
    model = nn.Linear(X.shape[1], 10)
    optimizer = fastnn.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-4)
    schedule = fastnn.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    step = fastnn.compile(model, nn.CrossEntropyLoss(), optimizer)
    for _ in range(epochs):
        step.run_epoch(X, y, batch_size=50, shuffle=True)
        schedule.step()
    with fastnn.no_grad():
        return (model(fastnn.from_numpy(test)).argmax(1).numpy() == wanted).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    if not (options.data / "train-images-idx3-ubyte.gz").exists():
        print(f"skipped: no digits in {options.data}; name their folder with --data")
        return
    X, y = load(options.data, "train")
    test, wanted = load(options.data, "t10k")
    fastnn.manual_seed(0)
    rbm = nn.RBM(784, options.hidden, dtype=fastnn.float32).init_from_data(X)
    start = time.perf_counter()
    rbm.fit(X, options.epochs, lr=0.05, final_lr=0.005)
    print(f"{len(X)} digits without labels, {options.epochs} epochs in {time.perf_counter() - start:.1f} s")
    few, labels = X[:options.labels], y[:options.labels]
    features, of_test = (rbm(fastnn.from_numpy(x)).detach().numpy() for x in (few, test))
    print(f"{len(few)} labels: softmax regression on pixels {100 * linear_accuracy(few, labels, test, wanted):.2f} %, "
          f"on {options.hidden} RBM features {100 * linear_accuracy(features, labels, of_test, wanted):.2f} % of 10,000 test digits")


if __name__ == "__main__":
    main()
