"""Sides in processes of their own, timed in turn."""
import multiprocessing
import os
import statistics
import time

import numpy as np

PAUSE = 0.01            # seconds between sides; libgomp spins 3 ms
WARM = 0.03             # seconds of untimed calls


def serve(side, threads, pipe):
    """Build and time cases by name until told to stop; what fails is sent back as a line of text."""
    from bench.cases import all_cases
    cases = {f"{c.group} {c.name}": c for c in all_cases()}
    call = None
    while (message := pipe.recv()) is not None:
        try:
            if message[0] == "build":
                call, result = cases[message[1]].build(side, threads)
                call()
                pipe.send(None if result is None else np.array(result()))
            elif message[0] == "copy":
                pipe.send(median_time(copy_of(int(message[1]), threads), message[2]))
            else:
                pipe.send(median_time(call, message[1]))
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])


def copy_of(nbytes, threads):
    """A copy by fastnn's own kernel that reads and writes `nbytes` together: in the same caches as what it is compared with."""
    from fastnn.kernels import native, relayout  # noqa: F401  declares the kernel
    count = nbytes // 8
    source, target = np.ones(count, np.float32), np.zeros(count, np.float32)
    size = [4, 1, count, *[0] * 7, 1, *[0] * 7, 1]
    return lambda: native.call("copy_strided", [source, target], size, threads=threads)


def median_time(call, budget):
    """Median seconds of a call over about `budget` seconds, in batches of at least 20 us."""
    start = time.perf_counter()
    call()
    many = max(1, int(2e-5 / max(time.perf_counter() - start, 1e-7)))
    end = time.perf_counter() + WARM     # the first calls after a pause wait for sleeping workers, longest libgomp's
    while time.perf_counter() < end:
        call()
    times, end = [], time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(many):
            call()
        times.append((time.perf_counter() - start) / many)
    return statistics.median(times)


class Sides:
    """The processes of one thread count, started when first asked for."""

    def __init__(self, threads):
        self.threads, self.pipes, self.processes = threads, {}, []

    def pipe(self, side):
        if side not in self.pipes:
            for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
                os.environ[name] = str(self.threads)
            context = multiprocessing.get_context("spawn")
            self.pipes[side], there = context.Pipe()
            process = context.Process(target=serve, args=(side, self.threads, there), daemon=True)
            process.start()
            self.processes.append(process)
        return self.pipes[side]

    def ask(self, side, *message):
        pipe = self.pipe(side)
        pipe.send(message)
        return pipe.recv()

    def stop(self):
        for pipe in self.pipes.values():
            pipe.send(None)
        for process in self.processes:
            process.join()


def measure(case, sides, chosen, peaks, rounds, budget):
    """The figures of a case: seconds per side, ratios of the first side to the others, fraction of the bound."""
    results = {side: sides.ask(side, "build", f"{case.group} {case.name}") for side in case.sides if side in chosen}
    faults = {side: r for side, r in results.items() if isinstance(r, str)}
    own = case.sides[0]
    expected = results.get(own)
    for side, result in results.items():
        if side in faults or own in faults or result is None or expected is None:
            continue
        scale = np.abs(expected).max() + 1e-30
        off = float(np.abs(result - expected).max() / scale) if result.shape == expected.shape else np.inf
        if not off <= case.tolerance:
            faults[side] = f"its result differs from {own}'s by {off:.1e} of the scale: not timed"
    found = {"group": case.group, "name": case.name, "threads": sides.threads, "own": own, "faults": faults}
    ready = [side for side in results if side not in faults]
    if own not in ready:
        return found
    times, fractions = {side: [] for side in ready}, []
    for _ in range(rounds):
        peak = peaks.flops() * sides.threads
        for side in ready:
            time.sleep(PAUSE)
            taken = sides.ask(side, "time", budget)
            if isinstance(taken, str):
                return found | {"faults": {**faults, side: taken}}
            times[side].append(taken)
        bound = case.flops / peak + (sides.ask(own, "copy", case.nbytes, budget) if case.nbytes else 0.0)
        fractions.append(bound / times[own][-1])
    ratios = {side: sorted(b / a for a, b in zip(times[own], times[side])) for side in ready[1:]}
    return found | {"seconds": {s: statistics.median(t) for s, t in times.items()},
                    "ratio": {s: statistics.median(r) for s, r in ratios.items()},
                    "range": {s: [r[0], r[-1]] for s, r in ratios.items()},
                    "fraction": statistics.median(fractions) if case.flops or case.nbytes else None}
