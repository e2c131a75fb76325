"""What the machine can do, measured in the same run: multiply-adds of a core, bytes that a copy moves."""
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bench import gemm

COPIED = 64 << 20       # bytes: more than the caches hold


class Peaks:
    """Probes of one run; every flops() is a probe of its own, kept for the noise check."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            self.probe = gemm.fma_peak(folder)
        self.probe()
        self.rates, self.copies = [], {}

    def flops(self):
        """FLOP/s of one core now."""
        self.rates.append(1e9 * self.probe())
        return self.rates[-1]

    def bandwidth(self, threads):
        """Bytes per second that a copy reads and writes on so many threads."""
        if threads not in self.copies:
            self.copies[threads] = copy_rate(threads)
        return self.copies[threads]

    def spread(self):
        """How far the middle half of the peak probes lies apart, as a fraction of their median."""
        low, middle, high = statistics.quantiles(self.rates, n=4) if len(self.rates) > 3 else (0, 1, 0)
        return (high - low) / middle


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
