"""A side without a library: a loop in C that reads and writes as many bytes as a case, as fast as memory gives them."""
import ctypes
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

LOOP = "bare loop"
STREAMS = 1, 2, 4       # parts that a thread reads side by side: which is fastest depends on the machine
TRIES = 7
UNIT, LINE = 256, 64    # bytes


def lines(count):
    """Memory for so many lines, on a line."""
    room = np.ones((count + 1) * LINE, np.uint8)
    return room, room.ctypes.data + -room.ctypes.data % LINE


def bare_loop(nbytes, writes, threads):
    """A call that reads `nbytes` and, if it writes, writes a quarter as many; its fastest form here."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "bare.so"
        source = Path(__file__).parent / "lab" / "bare.c"
        subprocess.run(["cc", "-O2", "-march=native", "-fopenmp", "-shared", "-fPIC", source, "-o", library], check=True)
        move = ctypes.CDLL(str(library)).move
    move.restype = None
    move.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_float)]
    units, sink = nbytes // UNIT, ctypes.c_float(0)
    x, at_x = lines(4 * units)
    y, at_y = lines(units) if writes else (None, None)

    def form(streams):
        def call(kept=(x, y)):          # their memory lives as long as the call
            move(at_x, at_y, units, streams, threads, ctypes.byref(sink))
        return call

    def least(call):
        times = []
        for _ in range(TRIES):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)
    return min(map(form, STREAMS), key=least)
