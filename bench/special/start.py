"""Starts, each in a fresh process: import, memory after it, first call; and the size of the installed files."""
import os
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from bench.special import record

PROGRAM = """
import time; start = time.perf_counter()
import {name}
taken = time.perf_counter() - start
pages = int(open('/proc/self/statm').read().split()[1])
import resource; print(taken, pages * resource.getpagesize())
"""
FIRST_CALL = """
import {name} as lib, time
start = time.perf_counter()
lib.nn.Linear(64, 10)(lib.ones(32, 64)).sum().backward()
print(time.perf_counter() - start)
"""
SHIPPED = {".py", ".so", ".pyi", ".pxd", ".npz", ".typed"}      # of our own folder, where a checkout also has sources
MODULES = {"numpy": "numpy", "torch": "torch", "onnxruntime": "onnxruntime", "jax": "jax", "sklearn": "sklearn.neural_network"}


def ran(program, name):
    """The numbers that a program prints in a fresh process, which may use and write bytecode as an installed package's would."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", program.format(name=name)], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"status {done.returncode}").splitlines()[-1])
    return tuple(map(float, done.stdout.split()))


def size(package):
    folder = Path(next(iter(find_spec(package).submodule_search_locations)))
    own = package == "fastnn"
    return 1e-6 * sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and (f.suffix in SHIPPED if own else True))


def measure(context):
    pairs = [(ran(PROGRAM, "numpy"), ran(PROGRAM, "fastnn")) for _ in range(context.rounds + 1)][1:]

    def over(part):
        return statistics.median(b[part] - a[part] for a, b in pairs)
    yield record("start", "import over NumPy", "-", "ms", {"fastnn": 1e3 * over(0)})
    yield record("start", "memory over NumPy", "-", "MB", {"fastnn": 1e-6 * over(1)})
    whole = {"fastnn": pairs[-1][1]}
    peers = ["numpy"] if context.quick else [p for p in MODULES if p in context.chosen | {"numpy"}]
    for peer in peers:
        whole[peer] = tuple(map(statistics.median, zip(*(ran(PROGRAM, MODULES[peer]) for _ in range(2)))))
    yield record("start", "import", "-", "ms", {p: 1e3 * t for p, (t, _) in whole.items()})
    yield record("start", "memory after import", "-", "MB", {p: 1e-6 * m for p, (_, m) in whole.items()})
    with_gradients = ["fastnn"] + ["torch"] * ("torch" in peers)
    yield record("start", "first layer, forward and backward", "-", "ms",
                 {p: 1e3 * statistics.median(ran(FIRST_CALL, p)[0] for _ in range(3)) for p in with_gradients})
    yield record("start", "installed size", "-", "MB", {p: size(MODULES.get(p, p).split(".")[0]) for p in whole})
