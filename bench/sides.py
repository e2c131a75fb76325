"""Sides in processes of their own, timed in turn."""
import multiprocessing
import os
import statistics
import time
from importlib import import_module

import numpy as np

from bench.case import array

# Seconds to wait after a side until its threads sleep: libgomp spins 3 ms, OpenBLAS 20; beside them torch can take ten times as long.
PAUSE = 0.01
PAUSE_AFTER = dict.fromkeys(("numpy", "sklearn", "onnxruntime", "jax"), 0.04)
WARM = 0.015            # seconds of untimed calls
PATIENCE = 60           # seconds to wait for an answer, unless a case says otherwise
COUNTED = 5             # calls over which allocations are counted


def resolve(text):
    """The function that "module:name" names."""
    module, name = text.split(":")
    return getattr(import_module(module), name)


class Server:
    """One side in its own process: it holds the case that was built last."""

    def __init__(self, side, threads, source):
        self.side, self.threads = side, threads
        self.cases = {f"{c.group} {c.name}": c for c in resolve(source)()}
        self.call = None

    def build(self, name):
        """Build a case and answer with its result, or None."""
        self.call = None            # the memory of the case before
        call, result = self.cases[name].build(self.side, self.threads)
        for _ in range(3):
            call()
        self.call = call
        return None if result is None else np.array(array(result()))

    def time(self, budget):
        return median_time(self.call, budget)

    def copy(self, nbytes, budget):
        return median_time(copy_of(int(nbytes), self.threads), budget)

    def allocations(self):
        """Blocks that one call asks of the system."""
        from fastnn.core import storage
        before = storage.statistics()["allocations"]
        for _ in range(COUNTED):
            self.call()
        return (storage.statistics()["allocations"] - before) / COUNTED

    def do(self, function, *arguments):
        """Call "module:function" here: the measurements that are no case."""
        return resolve(function)(self.side, self.threads, *arguments)


def serve(side, threads, source, pipe):
    """Answer messages (method, arguments ...) until None comes; a failure is answered as a line of text."""
    try:
        server = Server(side, threads, source)
    except Exception as error:
        server, failure = None, in_a_line(error)
    while (message := pipe.recv()) is not None:
        try:
            pipe.send(getattr(server, message[0])(*message[1:]) if server else failure)
        except Exception as error:
            pipe.send(in_a_line(error))


def in_a_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


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
    """The processes of one thread count, started when first asked for; one that dies or hangs is replaced by the next question."""

    def __init__(self, threads, source="bench.groups:all_cases"):
        self.threads, self.source, self.running, self.last = threads, source, {}, None

    def pipe(self, side):
        if side not in self.running:
            for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
                os.environ[name] = str(self.threads)
            context = multiprocessing.get_context("spawn")
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(side, self.threads, self.source, there), daemon=True)
            process.start()
            there.close()       # so that the end of the process ends the pipe
            self.running[side] = here, process
        return self.running[side][0]

    def ask(self, side, *message, patience=PATIENCE):
        """The side's answer; a string says what went wrong."""
        try:
            pipe = self.pipe(side)
            pipe.send(message)
            if pipe.poll(patience):
                return pipe.recv()
            self.drop(side)
            return f"no answer within {patience} s"
        except (EOFError, OSError):
            return f"its process ended with status {self.drop(side)}"

    def time(self, side, budget, patience=PATIENCE):
        """Seconds of the side's call, once the side before has come to rest."""
        time.sleep(PAUSE_AFTER.get(self.last, PAUSE))
        self.last = side
        return self.ask(side, "time", budget, patience=patience)

    def drop(self, side):
        """End a process that no longer answers; its exit status."""
        pipe, process = self.running.pop(side)
        process.join(1)
        status = process.exitcode
        process.kill()
        process.join()
        pipe.close()
        return status

    def stop(self):
        for pipe, _ in self.running.values():
            try:
                pipe.send(None)
            except OSError:
                pass
        for side in list(self.running):
            self.drop(side)
