"""Matrix products: GFLOP/s, fraction of the multiply-add peak of the same run, and ratios to NumPy and torch.

    python bench/gemm.py [--threads 1 2] [--rounds 7] [--best] [--batches 1,8,32,128] [--layers 64x128,784x256] [--cube 1024]

The three products of a Linear layer, for both ways of storing its weight: "rows" is (out, in) row-major, "columns" is
(in, out) memory seen through a transposed view.  A round times every side once, in turn; the ratio quoted is the median
of the rounds' ratios, above 1 where fastnn is faster; with --best each side's shortest time of all rounds, for a machine
that others load (then many rounds).  fastnn is timed as the bare kernel: one call of `matmul_batched`
with batch strides of zero repeats a small product (at most three times with several threads, where a larger batch would
be split differently; a few microseconds of that call are then counted too).  The peers' times include their own dispatch, about
a microsecond.  With several threads the sides pause, lest one is timed under the spinning of another.
"""
import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LAYERS = "64x128,784x256,256x10,1024x1024,2048x1000"
LEAST, LEAST_BEST = 3e-3, 4e-4     # seconds a side is timed per round
PAUSE = 0.01            # seconds; libgomp spins 3 ms


def aligned(values, dtype):
    """A copy on a 64-byte boundary, as fastnn's own arrays are: the peers gain as much."""
    buffer = np.empty(values.size * np.dtype(dtype).itemsize + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    copy = buffer[start:start + buffer.size - 64].view(dtype).reshape(values.shape)
    copy[...] = values
    return copy


def linear(batch, inputs, outputs, dtype="float32"):
    """(name, a, b, out) of the products of one Linear layer."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return aligned(rng.standard_normal(shape), dtype)

    x, dy = draw(batch, inputs), draw(batch, outputs)
    for storage, weight in (("rows", draw(outputs, inputs)), ("columns", draw(inputs, outputs).T)):
        gradient = draw(outputs, inputs) if storage == "rows" else draw(inputs, outputs).T
        yield f"forward {storage}", x, weight.T, draw(batch, outputs)
        yield f"dX {storage}", dy, weight, draw(batch, inputs)
        yield f"dW {storage}", dy.T, x, gradient


def cube(n, dtype="float32"):
    """(name, a, b, out) of the four layouts of a square product."""
    rng = np.random.default_rng(0)
    a, b, out = (aligned(rng.standard_normal((n, n)), dtype) for _ in range(3))
    for name, left, right in (("nn", a, b), ("nt", a, b.T), ("tn", a.T, b), ("tt", a.T, b.T)):
        yield f"cube {name}", left, right, out


def cases(batches, layers, cubes):
    for inputs, outputs in layers:
        for batch in batches:
            for name, *operands in linear(batch, inputs, outputs):
                yield f"{batch}x{inputs}x{outputs} {name}", operands
    for n in cubes:
        for name, *operands in cube(n):
            yield f"{n} {name}", operands


def seconds_per_call(function, least):
    """Mean over as many calls as take `least` seconds; two calls of warming up."""
    function()
    function()
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        taken = time.perf_counter() - start
        if taken > least:
            return taken / calls
        calls = max(calls + 1, min(calls * 10, int(calls * 1.2 * least / max(taken, 1e-7))))


def fma_peak(folder):
    """A function that measures GFLOP/s of one core, from bench/lab/fma_peak.c."""
    library = Path(folder) / "fma_peak.so"
    source = Path(__file__).parent / "lab" / "fma_peak.c"
    subprocess.run(["cc", "-O2", "-march=native", "-shared", "-fPIC", source, "-o", library], check=True)
    probe = ctypes.CDLL(str(library)).fma_peak
    probe.restype, probe.argtypes = ctypes.c_double, [ctypes.c_int64, ctypes.POINTER(ctypes.c_float)]
    sink = ctypes.c_float(0)

    def measure():
        start = time.perf_counter()
        return probe(200_000, ctypes.byref(sink)) / (time.perf_counter() - start) / 1e9

    return measure


def contestants(a, b, out, threads):
    """Name -> (function without arguments, how many products it makes)."""
    import fastnn.kernels.gemm  # noqa: F401  declares the kernels
    from fastnn.kernels import native

    flops = 2.0 * out.size * a.shape[1]
    repeats = max(1, min(int(5e6 / flops), 3 if threads > 1 else 1_000_000))
    sizes = [*out.shape, a.shape[1], *(s // v.itemsize for v in (a, b, out) for s in v.strides), 0, repeats, 0, 0, 0]
    arrays = [a, b, None, out]
    sides = {
        "fastnn": (lambda: native.call("matmul_batched", arrays, sizes, threads=threads, flops=flops, nbytes=0), repeats),
        "numpy": (lambda: np.matmul(a, b, out=out), 1),
    }
    try:
        import torch
    except ImportError:
        return sides
    torch.set_num_threads(threads)
    x, y, z = (torch.from_numpy(v) for v in (a, b, out))
    sides["torch"] = lambda: torch.mm(x, y, out=z), 1
    return sides


def measure(operands, threads, rounds, peak, best):
    """({peer: how many times faster than it}, GFLOP/s, fraction of the peak)."""
    a, _, out = operands
    sides = contestants(*operands, threads)
    rows = []                   # peak, then seconds of each side
    for _ in range(rounds):
        taken = [1e-9 / peak() / threads]
        for function, products in sides.values():
            if threads > 1:
                time.sleep(PAUSE)
            taken.append(seconds_per_call(function, LEAST_BEST if best else LEAST) / products)
        rows.append(taken)
    if best:
        rows = [[min(column) for column in zip(*rows)]]
    flops = 2.0 * out.size * a.shape[1]
    columns = zip(*([flops / own / 1e9, flops * top / own, *(t / own for t in peers)] for top, own, *peers in rows))
    rate, fraction, *ratios = (statistics.median(column) for column in columns)
    return dict(zip(list(sides)[1:], ratios)), rate, fraction


def run(options, threads):
    print(f"threads {threads}, numpy {np.__version__}, load {os.getloadavg()[0]:.1f}")
    logs = []
    with tempfile.TemporaryDirectory() as folder:
        peak = fma_peak(folder)
        for name, operands in cases(options.batches, options.layers, options.cube):
            ratios, rate, fraction = measure(operands, threads, options.rounds, peak, options.best)
            print(f"{name:32s} {rate:7.1f} GFLOP/s {100 * fraction:5.1f} %  "
                  + "  ".join(f"{ratio:6.2f} x {peer}" for peer, ratio in ratios.items()), flush=True)
            logs.append(np.log(min(ratios.values())))
    print(f"geometric mean against the better peer: {np.exp(np.mean(logs)):.2f}, least {np.exp(min(logs)):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="*", default=[1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--best", action="store_true")
    parser.add_argument("--batches", type=lambda s: [int(n) for n in s.split(",")], default=[1, 8, 32, 128])
    parser.add_argument("--layers", type=lambda s: [tuple(map(int, n.split("x"))) for n in s.split(",") if n],
                        default=[tuple(map(int, n.split("x"))) for n in LAYERS.split(",")])
    parser.add_argument("--cube", type=int, nargs="*", default=[])
    options = parser.parse_args()
    if len(options.threads) == 1 and os.environ.get("OMP_NUM_THREADS") == str(options.threads[0]):
        run(options, options.threads[0])
        return
    for threads in options.threads:         # a process each: the peers read the variable when they are loaded
        arguments = [sys.argv[0], *sys.argv[1:], "--threads", str(threads)]
        subprocess.run([sys.executable, *arguments], check=True,
                       env={**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)})


if __name__ == "__main__":
    main()
