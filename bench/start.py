"""Starts: time and memory of the import over NumPy's, size on disk."""
import statistics
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import time; start = time.perf_counter()
import {name}
taken = time.perf_counter() - start
pages = int(open('/proc/self/statm').read().split()[1])
import resource; print(taken, pages * resource.getpagesize())
"""
SHIPPED = {".py", ".so", ".pyi", ".pxd", ".npz", ".typed"}


def imported(name):
    """(seconds, bytes resident) of an import in a fresh process."""
    out = subprocess.run([sys.executable, "-c", PROGRAM.format(name=name)], check=True, capture_output=True, text=True).stdout
    return tuple(map(float, out.split()))


def measure(rounds):
    """{figure: value}: milliseconds and megabytes over NumPy's, megabytes of the installed files."""
    import fastnn
    pairs = [(imported("numpy"), imported("fastnn")) for _ in range(rounds + 1)][1:]
    folder = Path(fastnn.__file__).parent
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.suffix in SHIPPED)
    return {"import ms": 1e3 * statistics.median(b[0] - a[0] for a, b in pairs),
            "import MB": 1e-6 * statistics.median(b[1] - a[1] for a, b in pairs), "installed MB": 1e-6 * size}
