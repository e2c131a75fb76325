"""Three states of the machine: a hot loop, a call after 20 ms of idleness, one core busy; and states of a network that decay."""
import statistics
import subprocess
import sys
import time

import numpy as np

from bench import models
from bench.case import draw, library
from bench.sides import median_time
from bench.special import record

IDLE = 0.02             # seconds
IDLE_CALLS = 25
BUSY = ("mlp_small", "mlp_middle", "mlp_large", "lenet5")
NETWORK = "mlp_256"     # 784-256-10, batch 128


def call_of(side, threads, what, name):
    if what == "step":
        return models.prepare(side, name, threads)
    lib = library(side, threads)
    model, *_, shape, _, batch = models.CASES[name](lib.nn, lib.optim)
    forward, x = model.eval(), lib.from_numpy(draw(batch, *shape))
    if side == "compiled":
        forward = lib.compile(model)
    return lambda: forward(x)


def hot(side, threads, what, name, budget):
    """Median seconds in a loop."""
    call = call_of(side, threads, what, name)
    for _ in range(5):
        call()
    return median_time(call, budget)


def after_idleness(side, threads, what, name):
    """Median seconds of a call that comes 20 ms after the one before."""
    call = call_of(side, threads, what, name)
    for _ in range(5):
        call()
    times = []
    for _ in range(IDLE_CALLS):
        time.sleep(IDLE)
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def decaying(side, threads, rounds, budget):
    """How much longer an LSTM takes whose states are denormal numbers: the median of the rounds' ratios."""
    lib = library(side, threads)
    layer = lib.nn.LSTM(64, 128)
    small = lib.nn.LSTM(64, 128)
    for p in small.parameters():
        p.mul_(1e-3)
    x, zero = lib.from_numpy(draw(128, 32, 64)), lib.zeros(128, 32, 64)
    for name, p in small.named_parameters():
        if "bias" in name:
            p.zero_()
    tiny = tuple(lib.from_numpy(np.full((1, 32, 128), 1e-36, np.float32)) for _ in range(2))    # halves every step
    ratios = [median_time(lambda: small(zero, tiny), budget) / median_time(lambda: layer(x), budget) for _ in range(rounds)]
    return statistics.median(ratios)


def measure(context):
    threads = max(context.threads)
    peers = ["torch"] * ("torch" in context.chosen)
    here = "bench.special.states:"
    for what in ("inference", "step"):
        for count in (1, threads):
            yield record("states", f"{NETWORK} {what}, hot", count, "us", {
                s: micro(context.processes(count).ask(s, "do", here + "hot", what, NETWORK, context.budget)) for s in ("compiled", *peers)})
        yield record("states", f"{NETWORK} {what}, after 20 ms", threads, "us", {
            s: micro(context.processes(threads).ask(s, "do", here + "after_idleness", what, NETWORK)) for s in ("compiled", *peers)})
    for name in BUSY[:2] if context.quick else BUSY:
        yield record("states", f"{name} step, one core busy, times the quiet step", threads, "x",
                     {s: growth(context, s, threads, name) for s in ("compiled", *peers)})
    yield record("states", "LSTM with decaying states, times the usual", threads, "x", {
        s: context.processes(threads).ask(s, "do", here + "decaying", context.rounds, context.budget) for s in ("fastnn", *peers)})


def micro(answer):
    return answer if isinstance(answer, str) else 1e6 * answer


def growth(context, side, threads, name):
    """The time of a step beside a process that never rests, over the time without it; median of the rounds."""
    ratios = []
    for _ in range(min(context.rounds, 5)):
        message = "do", "bench.special.states:hot", "step", name, context.budget
        quiet = context.processes(threads).ask(side, *message)
        rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            time.sleep(0.1)
            busy = context.processes(threads).ask(side, *message)
        finally:
            rival.kill()
            rival.wait()
        if isinstance(quiet, str) or isinstance(busy, str):
            return quiet if isinstance(quiet, str) else busy
        ratios.append(busy / quiet)
    return statistics.median(ratios)
