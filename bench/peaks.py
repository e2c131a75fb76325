"""What the machine can do, measured in the same run: multiply-adds of a core, bytes that a copy moves."""
import ctypes
import os
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
CROWDS = 50             # probes before we begin, to find out how fast a core issues when it is alone
READ = 400 << 10        # bytes that fit a second-level cache, unless a neighbour on the same core uses it too


def core_rates(folder):
    """Two functions that measure FLOP/s, and instructions per second, of the core that we are on, from bench/lab/core_rates.c."""
    library = Path(folder) / "core_rates.so"
    source = Path(__file__).parent / "lab" / "core_rates.c"
    subprocess.run(["cc", "-O2", "-march=native", "-shared", "-fPIC", source, "-o", library], check=True)
    found = ctypes.CDLL(str(library))
    return rate_of(found.fma_peak, ctypes.c_float(0), 200_000), rate_of(found.issue, ctypes.c_int64(0), 5_000)


def rate_of(probe, sink, count):
    probe.restype, probe.argtypes = ctypes.c_double, [ctypes.c_int64, ctypes.POINTER(type(sink))]

    def measure():
        start = time.perf_counter()
        return probe(count, ctypes.byref(sink)) / (time.perf_counter() - start)
    return measure


class Peaks:
    """Probes of one run; every flops() is a probe of its own, kept for the noise check."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            self.probe, self.issue = core_rates(folder)
        self.probe()
        self.rates, self.copies = [], {}
        self.cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.issued = 0.0
        for _ in range(CROWDS):
            self.crowding()
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

    def crowding(self):
        """What a guest on a core's other half takes of its instructions now: 1 - the rate of the slowest core against the best yet.

        It slows what we run there by a quarter to a half, from one millisecond to the next, and shows in no ticks either.
        """
        rates = []
        for core in self.cores:
            os.sched_setaffinity(0, {core})
            rates.append(max(self.issue() for _ in range(5)))
        if not rates:
            return 0.0
        os.sched_setaffinity(0, self.cores)
        self.issued = max(self.issued, *rates)
        return 1 - min(rates) / self.issued

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
