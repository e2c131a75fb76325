"""Compile time: from `fastnn.compile` until the plan stands, with the eager steps that are recorded for it."""
import statistics
import time

from bench import models
from bench.case import library
from bench.special import record

NETWORKS = ("mlp_tiny", "mlp_small", "mlp_middle", "lenet5")
REPEATS = 7


def to_plan(side, threads, name):
    """Median milliseconds over fresh models in a process that has compiled before."""
    lib = library(side, threads, recording=True)
    times = []
    for _ in range(REPEATS + 1):
        model, loss, make, shape, classes, batch = models.CASES[name](lib.nn, lib.optim)
        x, y = map(lib.from_numpy, models.batch_of(shape, classes, batch))
        start = time.perf_counter()
        step = lib.compile(model, loss, make(model.parameters()), fullgraph=True)
        for _ in range(3):
            step(x, y)
            if step._latest is not None:
                break
        times.append(1e3 * (time.perf_counter() - start))
        if "kernel calls" not in step.explain():
            raise RuntimeError("no plan after three steps")
    return statistics.median(times[1:])


def measure(context):
    threads = context.threads[0]
    for name in NETWORKS:
        answer = context.processes(threads).ask("compiled", "do", "bench.special.compile:to_plan", name)
        yield record("compile", name, threads, "ms", {"compiled": answer})
