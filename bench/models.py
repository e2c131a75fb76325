"""Training steps of whole networks: fastnn eager and compiled beside torch eager, interleaved.

    python bench/models.py [--threads 2] [--rounds 7] [--only mlp_tiny,...] [--json FILE]

Each side runs in a process of its own with the same number of threads.  A round times every side once (the median of
many steps); the ratio quoted is the median of the rounds' ratios.  Losses of the first steps are compared before
anything is timed: the sides start from the same weights, drawn under one seed.
"""
import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

CASES = {}


def case(function):
    """Register a network: function(nn) -> (model, loss, optimizer factory, input shape, classes or None, batch)."""
    CASES[function.__name__] = function
    return function


@case
def mlp_tiny(nn, optim):
    """16-32-32-4, batch 32, Adam."""
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (16,), 4, 32


@case
def mlp_small(nn, optim):
    """64-128-10, batch 32, SGD with Nesterov momentum."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True), (64,), 10, 32


@case
def mlp_middle(nn, optim):
    """784-256-128-10 with BatchNorm and Dropout, batch 128, Adam."""
    model = nn.Sequential(nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.2),
                          nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (784,), 10, 128


@case
def mlp_512(nn, optim):
    """784-512-256-10 with BatchNorm and Dropout, batch 128, Adam."""
    model = nn.Sequential(nn.Linear(784, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.2),
                          nn.Linear(512, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (784,), 10, 128


@case
def autoencoder(nn, optim):
    """784-500-64-500-784, sigmoid, batch 100, Adagrad, mean squared error."""
    model = nn.Sequential(nn.Linear(784, 500), nn.Sigmoid(), nn.Linear(500, 64), nn.Sigmoid(), nn.Linear(64, 500), nn.Sigmoid(),
                          nn.Linear(500, 784))
    return model, nn.MSELoss(), lambda p: optim.Adagrad(p, lr=0.01), (784,), None, 100


@case
def mlp_large(nn, optim):
    """1024-2048-2048-1000, batch 256, Adam."""
    model = nn.Sequential(nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 1000))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (1024,), 1000, 256


def prepare(side, name, threads):
    """A function that makes one training step and returns the loss; `side` is torch, eager or compiled."""
    import numpy as np
    rng = np.random.default_rng(0)
    if side == "torch":
        import torch as lib
        from torch import nn, optim
    else:
        import fastnn as lib
        from fastnn import nn, optim
    lib.set_num_threads(threads)
    lib.manual_seed(0)
    model, loss_fn, make, shape, classes, batch = CASES[name](nn, optim)
    model.train()
    optimizer = make(model.parameters())
    x = rng.standard_normal((batch, *shape), np.float32)
    y = x if classes is None else rng.integers(0, classes, batch)
    x, y = lib.from_numpy(x), lib.from_numpy(y)
    if side == "compiled":
        step = lib.compile(model, loss_fn, optimizer)
        return lambda: step(x, y)

    def train():
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss
    return train


def worker(side, name, threads, pipe):
    """Serve one side: 'losses' then 'time' messages, until 'stop'."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    step = prepare(side, name, threads)
    losses = [float(step().item()) for _ in range(8)]
    pipe.send(losses)
    while pipe.recv() == "time":
        pipe.send(median_time(step))


def median_time(step, budget=0.4):
    """Median seconds of one step over about `budget` seconds."""
    for _ in range(3):
        step()
    times = []
    end = time.perf_counter() + budget
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compare(name, sides, threads, rounds):
    """Medians per side and the median ratio of the first side to each other one."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for side in sides:
        here, there = context.Pipe()
        process = context.Process(target=worker, args=(side, name, threads, there), daemon=True)
        process.start()
        pipes[side] = here
        processes.append(process)
    losses = {side: pipe.recv() for side, pipe in pipes.items()}
    times = {side: [] for side in sides}
    for _ in range(rounds):
        for side, pipe in pipes.items():
            pipe.send("time")
            times[side].append(pipe.recv())
            time.sleep(0.01)
    for pipe in pipes.values():
        pipe.send("stop")
    for process in processes:
        process.join()
    ratios = {side: sorted(a / b for a, b in zip(times[sides[0]], times[side])) for side in sides[1:]}
    return {"losses": losses, "microseconds": {s: 1e6 * statistics.median(t) for s, t in times.items()},
            "ratio": {s: statistics.median(r) for s, r in ratios.items()},
            "range": {s: (r[0], r[-1]) for s, r in ratios.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--sides", default="torch,eager,compiled")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sides = args.sides.split(",")
    results = {}
    for name in args.only.split(","):
        found = results[name] = compare(name, sides, args.threads, args.rounds)
        line = "  ".join(f"{s} {found['microseconds'][s]:9.1f} us" + (
            f" ({found['ratio'][s]:5.2f}x, {found['range'][s][0]:.2f}-{found['range'][s][1]:.2f})" if s in found["ratio"] else "")
            for s in sides)
        print(f"{name:12s} {line}  losses " + " ".join(f"{s} {found['losses'][s][0]:.4f} {found['losses'][s][-1]:.4f}" for s in sides),
              flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
