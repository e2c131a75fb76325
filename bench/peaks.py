"""What the machine can do, measured in the same run: multiply-adds of a core, bytes that a copy moves."""
import ctypes
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from bench.sides import copy_of, median_time

COPIED = 64 << 20       # bytes: more than the caches hold
READ = 400 << 10        # bytes that fit a second-level cache, unless a neighbour on the same core uses it too


def fma_peak(folder):
    """A function that measures FLOP/s of one core, from bench/lab/fma_peak.c."""
    library = Path(folder) / "fma_peak.so"
    source = Path(__file__).parent / "lab" / "fma_peak.c"
    subprocess.run(["cc", "-O2", "-march=native", "-shared", "-fPIC", source, "-o", library], check=True)
    probe = ctypes.CDLL(str(library)).fma_peak
    probe.restype, probe.argtypes = ctypes.c_double, [ctypes.c_int64, ctypes.POINTER(ctypes.c_float)]
    sink = ctypes.c_float(0)

    def measure():
        start = time.perf_counter()
        return probe(200_000, ctypes.byref(sink)) / (time.perf_counter() - start)
    return measure


class Peaks:
    """Probes of one run; every flops() is a probe of its own, kept for the noise check."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            self.probe = fma_peak(folder)
        self.probe()
        self.rates, self.copies = [], {}
        self.senses = {"copy": partial(copy_rate, 1, 3), "cache": read_rate}
        self.sensed = {name: [] for name in self.senses}

    def flops(self):
        """FLOP/s of one core now."""
        self.rates.append(self.probe())
        return self.rates[-1]

    def bandwidth(self, threads):
        """Bytes per second that a copy reads and writes on so many threads: NumPy's or ours, the faster of the two."""
        if threads not in self.copies:
            self.copies[threads] = max(copy_rate(threads), 2 * COPIED / median_time(copy_of(2 * COPIED, threads), 0.2))
        return self.copies[threads]

    def disturbance(self):
        """What a neighbour takes of memory and caches now: 1 - the worse of two rates, each against its median in this run.

        Other guests of a virtual machine's host show here and nowhere else: they take no ticks of ours.
        """
        worst = 0
        for name, sense in self.senses.items():
            rates = self.sensed[name]
            rates.append(sense())
            worst = max(worst, 1 - rates[-1] / statistics.median(rates))
        return worst

    def spread(self):
        """How far the middle half of the peak probes lies apart, as a fraction of their median."""
        low, middle, high = statistics.quantiles(self.rates, n=4) if len(self.rates) > 3 else (0, 1, 0)
        return (high - low) / middle


def read_rate(repeats=9):
    """Bytes per second of one core's reading of what lies in its second-level cache."""
    values = np.ones(READ // 8, np.float32)
    other, times = values.copy(), []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(10):
            np.dot(values, other)
        times.append(time.perf_counter() - start)
    return 10 * READ / min(times)


def copy_rate(threads, repeats=5):
    source, target = np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads)))
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))
            times.append(time.perf_counter() - start)
    return 2 * COPIED / min(times)
