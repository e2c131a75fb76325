"""The thread team: the C stress program, plain and under ThreadSanitizer; forks, signals, several callers."""
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastnn
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


def sample(threads, n=300_000):
    """The checksum of draws cut into many blocks."""
    y = np.empty(n, np.float32)
    native.call("uniform", [np.array([1, 0], np.uint64), y], [n], dtype="float32", threads=threads)
    return zlib.crc32(y.tobytes())


def in_child(function):
    """What function() gives in a forked child; None if it hangs or fails."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        try:
            os.write(writer, str(function()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as f:
        answer = f.read()
    os.waitpid(pid, 0)
    return int(answer) if answer else None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork():
    want = sample(1)
    for _ in range(20):
        assert sample(3) == want
        assert in_child(lambda: sample(3)) == want
        # a grandchild of a child that has helpers of its own
        assert in_child(lambda: sample(2) and in_child(lambda: sample(3))) == want
    assert sample(3) == want


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_multiprocessing_pool():
    want = sample(2)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map_async(sample, [1, 2, 3, 4] * 4).get(timeout=60) == [want] * 16


def test_several_python_threads():
    want = sample(1)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(sample, [1, 2, 3, 4] * 20)) == {want}


def test_interrupt_reaches_the_main_thread():
    """A signal is handled although helpers exist, and they go on working."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread() is threading.main_thread()))
    try:
        for _ in range(20):
            sample(3)
            os.kill(os.getpid(), signal.SIGUSR1)
            sample(3)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [True] * 20


def test_nothing_runs_after_a_call():
    sample(3)
    time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.02


def test_clean_exit():
    code = ("import numpy as np, fastnn.kernels.random; from fastnn.kernels import native; y = np.empty(300000, 'f4');"
            "native.call('uniform', [np.array([1, 0], 'u8'), y], [y.size], dtype='float32', threads=3)")
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0 and not done.stderr


def denormal(*shape):
    return np.full(shape, 1e-40, np.float32)


def assert_mode_is_kept():
    """Numbers below the smallest normal one are still numbers outside of kernels."""
    assert (denormal(100) * np.float32(0.5)).all() and np.float32(2e-38) * np.float32(0.1)


@pytest.mark.parametrize("threads", [1, 2])
def test_denormal_numbers_are_zero_in_products(threads):
    before = native.get_num_threads()
    native.set_num_threads(threads)
    try:
        small, one = fastnn.from_numpy(denormal(300, 300)), fastnn.ones(300, 300)
        for a, b in ((small, one), (one, small), (one * 1e-30, one * 1e-10)):
            assert not (a @ b).numpy().any()
        assert_mode_is_kept()
    finally:
        native.set_num_threads(before)


def test_flushing_can_be_turned_off():
    """For all threads at once: of the team, and of Python's."""
    small, one = fastnn.from_numpy(denormal(300, 300)), fastnn.ones(300, 300)
    with pytest.raises(TypeError):
        fastnn.set_flush_denormal(1)
    assert fastnn.set_flush_denormal(False)
    try:
        with ThreadPoolExecutor(2) as pool:
            for got in (small @ one, *pool.map(lambda _: small @ one, range(2))):
                assert (got.numpy() > 0).all()
    finally:
        assert fastnn.set_flush_denormal(True)
    assert not (small @ one).numpy().any()


def test_denormal_numbers_are_kept_by_functions_of_one_element():
    x = fastnn.from_numpy(denormal(40))
    for same in (x.relu(), x.abs(), x.clone(), x.double().float(), x.sum() / 40, x.max(), fastnn.where(x > 0, x, -x)):
        np.testing.assert_allclose(same.numpy(), 1e-40, rtol=1e-4)
    assert (x != 0).all() and ((-90 * fastnn.ones(40)).exp() > 0).all()


def test_the_mode_is_kept_after_an_error():
    with pytest.raises(IndexError):
        fastnn.nn.functional.cross_entropy(fastnn.zeros(3, 4), fastnn.tensor([0, 9, 1]))
    assert_mode_is_kept()


@pytest.mark.parametrize("threads", [1, 2])
def test_denormal_gradients_bit_for_bit(threads):
    """Of a compiled step and of the eager one: gradients that begin at 1e-37 and averages that decay."""
    before, results = native.get_num_threads(), []
    native.set_num_threads(threads)
    try:
        for compiled in (False, True):
            fastnn.manual_seed(5)
            model = fastnn.nn.Sequential(fastnn.nn.Linear(300, 200), fastnn.nn.Sigmoid(), fastnn.nn.Linear(200, 300))
            optimizer = fastnn.optim.Adam(model.parameters(), lr=1e-3)
            x = fastnn.randn(64, 300)

            def loss_fn(y, t):
                return (y * t).sum()
            step = fastnn.compile(model, loss_fn, optimizer)
            for i in range(6):
                target = fastnn.full((64, 300), 10.0 ** (-35 - i))
                if compiled:
                    step(x, target)
                    continue
                optimizer.zero_grad()
                loss_fn(model(x), target).backward()
                optimizer.step()
            results.append([p.detach().numpy().copy() for p in model.parameters()] + [p.grad.numpy().copy() for p in model.parameters()])
        for a, b in zip(*results):
            np.testing.assert_array_equal(a, b)
        assert_mode_is_kept()
    finally:
        native.set_num_threads(before)
