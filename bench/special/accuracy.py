"""Accuracy: the vector mathematics in ULP on a sample of all float32 inputs, and the networks of the tour on held-out digits."""
import math

import numpy as np

from bench.special import record

STRIDE = 4099           # every so manieth bit pattern; the whole range: FASTNN_EXHAUSTIVE=1 python -m pytest tests/test_vmath.py


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def erf(x):
    return np.frompyfunc(math.erf, 1, 1)(x).astype(float)


FUNCTIONS = {"exp": np.exp, "log": np.log, "tanh": np.tanh, "sigmoid": sigmoid, "erf": erf}


def worst(side, threads, name):
    """The largest distance from the double-precision value, in units in the last place."""
    import fastnn
    x = np.arange(0, 2 ** 32, STRIDE, dtype=np.uint64).astype(np.uint32).view(np.float32)
    got = getattr(fastnn, name)(fastnn.from_numpy(x)).numpy()
    with np.errstate(all="ignore"):
        want = FUNCTIONS[name](x.astype(np.float64))
        rounded = want.astype(np.float32)
        distance = np.abs(got - want) / np.spacing(np.abs(rounded)).astype(np.float64)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return float(np.where(same, 0, np.where(np.isfinite(rounded) & np.isfinite(got), distance, np.inf)).max())


def held_out(side, threads, name):
    """Per cent of the held-out digits that a network of the tour gets right."""
    import fastnn
    from fastnn.tour import chapters
    fastnn.set_num_threads(threads)
    return 100 * next(c for c in chapters() if c.name == name).run(fastnn).accuracy


def measure(context):
    from fastnn.tour import chapters
    threads = context.threads[0]
    for name in FUNCTIONS:
        yield record("accuracy", name, threads, "ULP", {
            "fastnn": context.processes(threads).ask("fastnn", "do", "bench.special.accuracy:worst", name)})
    for chapter in chapters():
        if chapter.peer and not context.quick:      # the classifiers
            yield record("accuracy", f"tour {chapter.name}", threads, "%", {
                "fastnn": context.processes(threads).ask("fastnn", "do", "bench.special.accuracy:held_out", chapter.name)})
