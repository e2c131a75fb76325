"""Instruction counts of a dozen cases on one thread, by callgrind: a second opinion that repeats to the digit.

Counts say what changed, not what it costs.  Released valgrind knows no AVX-512, so the AVX2 kernels are counted.
"""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = ("gemm 512^3", "gemm 32x784x256 forward", "gemm 1x1024x1024 forward", "pointwise gelu", "pointwise softmax", "pointwise layer_norm",
         "pointwise adam", "conv 3x3 128ch 28x28 batch 1 forward", "conv depthwise 3x3/1 256ch 14x14 batch 1 forward",
         "recurrent LSTM T128 b1 64->128 forward", "rbm Bernoulli 1e6", "train mlp_tiny", "overhead 100 additions, no_grad")
MARKS = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""


def count(library):
    """Run every case once between two marks; this is the program that callgrind watches."""
    from bench.groups import all_cases
    marks = ctypes.CDLL(library)
    wanted = {f"{c.group} {c.name}": c for c in all_cases()}
    for name in CASES:
        side = wanted[name].sides[0]
        call, _ = wanted[name].build(side, 1)
        for _ in range(4):
            call()
        marks.begin()
        call()
        marks.end(name.encode())


def main(say):
    """Print the counts; 1 where they cannot be had."""
    if not shutil.which("valgrind"):
        say("instructions: valgrind is not installed")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "marks.so"
        compiler = ["cc", "-x", "c", "-", "-O1", "-shared", "-fPIC", "-o", str(library)]
        built = subprocess.run(compiler, input=MARKS, text=True, capture_output=True)
        if built.returncode:
            say(f"instructions: needs a C compiler and valgrind's headers: {built.stderr.splitlines()[0]}")
            return 1
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out", sys.executable, "-c",
                   f"from bench.instructions import count; count({str(library)!r})"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1],
                              env={**os.environ, "FASTNN_ISA": "avx2", "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)})
        counts = dict(filter(None, map(totals, Path(folder).glob("out.*"))))
    for name in CASES:
        say(f"{name:52s} {counts[name]:15,d} instructions" if name in counts else f"{name:52s} not counted")
    if done.returncode:
        say(f"instructions: {(done.stderr.strip().splitlines() or ['valgrind failed'])[-1]}")
    return int(done.returncode != 0 or set(counts) != set(CASES))


def totals(path):
    """(name, instructions) of one dump, or None."""
    text = path.read_text()
    name, found = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M), re.search(r"^(?:totals|summary): (\d+)", text, re.M)
    return (name[1], int(found[1])) if name and found else None
