"""Which part of a web site will a user visit next?  A binary RBM on msweb, beside the most popular parts.

    python examples/rbm_msweb.py [--data FILE] [--epochs N] [--hidden N]

FILE is msweb.npz (Breese, Heckerman and Kadie, 1998): which of 294 areas 32,711 users visited, and 5,000 others to test with.  Of
every test user with two visits or more, one visit is hidden; what is left goes into the machine, and the areas it does not contain
are ranked.  Expected: the hidden visit is among the first ten for 72 % of the users (64 % by popularity).
"""
import argparse
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn import nn

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "msweb" / "msweb.npz"


def load(path):
    """Rows of 0 and 1, one per user, to train with and to test."""
    with np.load(path) as z:
        parts = []
        for part in ("train", "test"):
            X = np.zeros((int(z[f"n_users_{part}"]), len(z["title"])), np.float32)
            X[z[f"user_{part}"], z[f"item_{part}"]] = 1
            parts.append(X)
    return parts


def hide_one(X, seed=0):
    """(rows less one visit, the visit hidden) of the users with two visits or more."""
    X = X[X.sum(1) >= 2].copy()
    hidden = np.argmax(np.random.default_rng(seed).random(X.shape) * X, 1)
    X[np.arange(len(X)), hidden] = 0
    return X, hidden


def measure(scores, seen, hidden):
    """(share of users whose hidden visit is among the first ten, mean of 1 / rank), among the areas not seen."""
    scores = np.where(seen > 0, -np.inf, scores)
    wanted = scores[np.arange(len(hidden)), hidden][:, None]
    rank = 1 + (scores > wanted).sum(1)
    return np.mean(rank <= 10), np.mean(1 / rank)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=100)
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: no visits at {options.data}; name them with --data")
        return
    training, test = load(options.data)
    seen, hidden = hide_one(test)
    fastnn.manual_seed(0)
    rbm = nn.RBM(training.shape[1], options.hidden, dtype=fastnn.float32).init_from_data(training)
    start = time.perf_counter()
    rbm.fit(training, options.epochs, lr=0.05, final_lr=0.005, k=1)
    print(f"trained in {time.perf_counter() - start:.1f} s; {len(hidden)} test users")
    for name, scores in (("machine", rbm.reconstruct(seen).numpy()), ("popularity", np.broadcast_to(training.mean(0), seen.shape))):
        hits, reciprocal = measure(scores, seen, hidden)
        print(f"{name:>10}: hidden visit among the first ten {100 * hits:.1f} %, mean reciprocal rank {reciprocal:.3f}")


if __name__ == "__main__":
    main()
