"""The thread team: the C stress program, plain and under ThreadSanitizer, and the thread count."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fastnn.kernels import native

ROOT = Path(__file__).resolve().parent.parent
CC = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")


def build(folder, *flags):
    """Compile the stress program with csrc/team.c; None if the compiler lacks what the flags ask for."""
    program = folder / "team_stress"
    sources = [ROOT / "tests/team_stress.c", ROOT / "csrc/team.c"]
    done = subprocess.run([CC, "-std=gnu11", "-O1", "-g", "-pthread", *flags, *sources, "-o", program],
                          capture_output=True, check=False)
    return program if done.returncode == 0 else None


@pytest.mark.skipif(not CC or not (ROOT / "csrc/team.c").exists(), reason="needs a C compiler and the sources")
@pytest.mark.parametrize("flags", ["-DPLAIN", "-DFASTNN_SERIAL", "-U__linux__", "-fsanitize=thread"])
def test_stress(tmp_path, flags):
    program = build(tmp_path, flags)
    if program is None:
        pytest.skip(f"the compiler has no {flags}")
    forks = "0" if "thread" in flags else "20"      # ThreadSanitizer cannot follow a fork of many threads
    # Without LD_PRELOAD: under a preloaded AddressSanitizer a program with ThreadSanitizer cannot start.
    own = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run([program, forks], capture_output=True, text=True, timeout=120, check=False, env=own)
    assert done.returncode == 0 and done.stdout == "ok\n", done.stdout + done.stderr


def test_thread_count():
    before = native.get_num_threads()
    try:
        native.set_num_threads(3)
        assert native.get_num_threads() == 3
        for n in (0, -1):
            with pytest.raises(RuntimeError, match="set_num_threads expects a positive integer"):
                native.set_num_threads(n)
        with pytest.raises(RuntimeError, match="set_num_threads expects an int, but got float"):
            native.set_num_threads(1.5)
        assert native.get_num_threads() == 3
    finally:
        native.set_num_threads(before)
