"""What is a house worth?  A deep belief network with a linear output, on the districts of California.

    python examples/dbn_housing.py [--data FILE] [--epochs N] [--labels N]

FILE is housing.csv.gz (Pace and Barry, 1997): 20,640 districts, a fifth of them held out.  Three models: linear in the columns; linear
in the columns and the features of a Gaussian RBM, which has seen no price; and the network fine-tuned from a pre-trained DBN, beside
the same network from random weights.  Expected (root mean squared error in $100,000): 0.700 linear,
0.693 with RBM features, 0.563 DBN, 0.545 from random weights: with all prices known pre-training does not help.  With 200 known
(--labels 200) the network does a little better for it: 0.714 against 0.723, of one seed.
"""
import argparse
import csv
import gzip
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn import nn

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "california-housing" / "housing.csv.gz"


def load(path):
    """Standardised columns and prices: (training rows, test rows, their prices twice)."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.reader(file))[1:]
    numbers = np.array([[float(x) if x else np.nan for x in row[:9]] for row in rows])
    near = np.array([row[9] for row in rows])
    price, X = numbers[:, 8] / 1e5, numbers[:, :8]
    bedrooms = X[:, 4]
    bedrooms[np.isnan(bedrooms)] = np.nanmedian(bedrooms)
    X = np.concatenate([X[:, :3], np.log(X[:, 3:]), near[:, None] == np.unique(near)], 1)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[len(X) // 5:], order[:len(X) // 5]
    X = ((X - X[train].mean(0)) / X[train].std(0)).astype(np.float32)
    return X[train], X[test], price[train], price[test]


def rmse(found, wanted):
    return np.sqrt(np.mean((found - wanted) ** 2))


def ridge(X, y, test, penalty=1e-4):
    """Predictions for the test rows by least squares with a small penalty."""
    X, test = (np.concatenate([x, np.ones((len(x), 1))], 1).astype(np.float64) for x in (X, test))
    return test @ np.linalg.solve(X.T @ X + penalty * len(X) * np.eye(X.shape[1]), X.T @ y)


def fine_tune(network, X, y, test, epochs):
    """Predictions for the test rows after training by Adam with a falling rate."""
    mean, deviation = y.mean(), y.std()
    target = ((y - mean) / deviation).astype(np.float32)[:, None]
    optimizer = fastnn.optim.Adam(network.parameters(), lr=2e-3)
    schedule = fastnn.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    step = fastnn.compile(network, nn.MSELoss(), optimizer)
    for _ in range(epochs):
        step.run_epoch(X, target, batch_size=100, shuffle=True)
        schedule.step()
    with fastnn.no_grad():
        return network(fastnn.from_numpy(test)).numpy()[:, 0] * deviation + mean


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--labels", type=int, help="how many prices are known (default: of all training rows)")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: no districts at {options.data}; name them with --data")
        return
    X, test, price, wanted = load(options.data)
    known = slice(options.labels)
    fastnn.manual_seed(0)
    start = time.perf_counter()
    dbn = nn.DBN([X.shape[1], 200, 100], visible="gaussian", dtype=fastnn.float32)
    dbn.pretrain(X, epochs=[20, 10], lr=[0.01, 0.05])
    print(f"pre-trained without prices in {time.perf_counter() - start:.1f} s")
    features, of_test = (dbn.rbms[0](fastnn.from_numpy(x)).detach().numpy() for x in (X, test))
    print(f"linear in the columns: {rmse(ridge(X[known], price[known], test), wanted):.3f}")
    both = ridge(np.concatenate([X, features], 1)[known], price[known], np.concatenate([test, of_test], 1))
    print(f"linear in columns and RBM features: {rmse(both, wanted):.3f}")
    plain = nn.DBN([X.shape[1], 200, 100], visible="gaussian", dtype=fastnn.float32).to_mlp(1)
    for layer in plain:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    for name, network in (("DBN, fine-tuned", dbn.to_mlp(1)), ("the same network from random weights", plain)):
        print(f"{name}: {rmse(fine_tune(network, X[known], price[known], test, options.epochs), wanted):.3f}")


if __name__ == "__main__":
    main()
