"""Loading batches: fastnn's DataLoader against torch's, both over a TensorDataset of MNIST's shapes.

    python bench/data.py [--rows 60000] [--batch 64]

Each row: seconds of one epoch (nothing is done with the batches), the median of the interleaved repeats, and the ratio.
"""
import argparse
import time
from statistics import median

import numpy as np

from fastnn.data import DataLoader, TensorDataset, random_split

CASES = {
    "shuffled": dict(shuffle=True),
    "in order": dict(),
    "random split, shuffled": dict(shuffle=True),
}


def epoch(loader):
    """Seconds to read every batch once."""
    start = time.perf_counter()
    rows = sum(len(x) for x, _ in loader)
    seconds = time.perf_counter() - start
    assert rows == len(loader.dataset)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    import torch
    import torch.utils.data as peer
    torch.set_num_threads(1)
    x = np.random.default_rng(0).random((options.rows, 784), dtype=np.float32)
    y = np.arange(options.rows) % 10
    print(f"torch {torch.__version__}, {options.rows} rows of 784, batches of {options.batch}, one thread")
    for name, case in CASES.items():
        ours, theirs = TensorDataset(x, y), peer.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        if "split" in name:
            ours, theirs = random_split(ours, [0.8, 0.2])[0], peer.random_split(theirs, [0.8, 0.2])[0]
        loaders = DataLoader(ours, options.batch, **case), peer.DataLoader(theirs, options.batch, **case)
        pairs = [[epoch(loader) for loader in loaders] for _ in range(options.repeats)]
        mine, other = median(p[0] for p in pairs), median(p[1] for p in pairs)
        ratio = median(p[1] / p[0] for p in pairs)
        print(f"{name:24s} fastnn {mine:8.4f} s   torch {other:8.4f} s   torch takes {ratio:6.1f} x as long")


if __name__ == "__main__":
    main()
