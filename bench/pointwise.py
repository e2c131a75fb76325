"""Elementwise functions: ns per element, share of the copy bandwidth of the same run, ratio to torch.

python bench/pointwise.py [--threads 1 2] [--seconds 0.05]

Rounds of fastnn, torch and a copy alternate; each figure is the smallest of its rounds.  The ratio is torch / fastnn
(above 1: fastnn is faster), both through their public functions on existing tensors, without recording.  "L1" is the
kernel alone on 2048 elements.
"""
import argparse
import math
import time

import numpy as np

import fastnn.ops  # noqa: F401 (gives tensors their methods)
from fastnn.core.tensor import from_array
from fastnn.kernels import native, pointwise
from fastnn.ops import activation, arithmetic, elementwise

try:
    import torch
except ImportError:
    torch = None

NAMES = ("exp", "tanh", "sigmoid", "gelu", "relu", "add")
SIZES = (1_000, 1_000_000)


def seconds_per_call(function, calls):
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def alternate(functions, seconds, rounds=7):
    """The smallest time per call of each function, their rounds interleaved."""
    calls = []
    for f in functions:
        once = min(seconds_per_call(f, 3) for _ in range(3))
        calls.append(max(1, int(seconds / rounds / once)))
    best = [math.inf] * len(functions)
    for _ in range(rounds):
        for i, f in enumerate(functions):
            best[i] = min(best[i], seconds_per_call(f, calls[i]))
    return best


def ours(name, x, y):
    if name == "add":
        return lambda: arithmetic.add(x, y)
    function = elementwise.exp if name == "exp" else getattr(activation, name)
    return lambda: function(x)


def theirs(name, x, y):
    if name == "add":
        return lambda: torch.add(x, y)
    function = getattr(torch if name in ("exp", "tanh", "sigmoid") else torch.nn.functional, name)
    return lambda: function(x)


def copy_of(source, threads):
    """A function that copies an array into memory of its own."""
    target = np.empty_like(source)
    size = [source.itemsize, 1, source.size, *[0] * 7, 1, *[0] * 7, 1]
    return lambda: native.call("copy_strided", [source, target], size, threads=threads)


def in_first_cache(seconds):
    """ns per element of the bare kernel: calls of 2048 and of 32 elements differ by 2016 elements."""
    x, y = np.random.default_rng(0).standard_normal(2048).astype(np.float32), np.empty(2048, np.float32)
    for name in NAMES[:-1]:
        code = pointwise.UNARIES[name].code

        def call(n, code=code):
            return lambda: native.call("unary", [x, y], [code, n])
        long, short = alternate([call(2048), call(32)], seconds)
        print(f"L1 {name:8} {(long - short) / 2016 * 1e9:7.3f} ns")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.05)
    options = parser.parse_args()
    print(f"instruction set {native.instruction_set()}, torch {torch.__version__ if torch else 'absent'}")
    in_first_cache(options.seconds)
    rng = np.random.default_rng(0)
    for threads in options.threads:
        native.set_num_threads(threads)
        if torch:
            torch.set_num_threads(threads)
        for n in SIZES:
            a, b = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
            copy = copy_of(a, threads)
            ratios = []
            for name in NAMES:
                x, y = from_array(a), from_array(b)
                functions = [ours(name, x, y), copy]
                if torch:
                    functions.append(theirs(name, torch.tensor(a), torch.tensor(b)))
                mine, moved, *peer = alternate(functions, options.seconds)
                words = 3 if name == "add" else 2
                share = f"{50 * words * moved / mine:4.0f} % of copy" if n > 100_000 else ""      # small copies are all call
                ratios += [p / mine for p in peer]
                print(f"{threads} threads {n:8} {name:8} {mine / n * 1e9:7.3f} ns  {share:14}"
                      + "".join(f"  torch / fastnn {p / mine:5.2f}" for p in peer))
            if ratios:
                print(f"{threads} threads {n:8} geometric mean of torch / fastnn {np.exp(np.mean(np.log(ratios))):5.2f}")


if __name__ == "__main__":
    main()
