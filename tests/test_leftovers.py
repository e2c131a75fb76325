"""Scratch memory comes from the pool as others left it.  What is read there before it is written never reaches a result, but if it
happens to be a denormal number (half of a pointer is one), each multiply-add with it takes some processors 150 cycles."""
import ctypes
import platform

import numpy as np
import pytest

import fastnn as torch
import fastnn.nn.functional as F
from fastnn.core.storage import new_array

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
                                reason="reads MXCSR through glibc's fenv_t")

DENORMAL = 2                    # of MXCSR: an operand was denormal
MXCSR = 28                      # where fenv_t has it


def met_denormals(work):
    """Does `work`, on this thread, meet a denormal number where all memory of the pool is full of them?"""
    for size in range(6, 24):
        blocks = [new_array((1 << size) * quarter // 16, "i4") for quarter in (4, 5, 6, 7) for _ in range(3)]
        for block in blocks:
            block[:] = 1
        del blocks, block
    libm = ctypes.CDLL("libm.so.6")
    environment = ctypes.create_string_buffer(64)
    libm.fegetenv(environment)
    environment[MXCSR] = environment[MXCSR][0] & ~DENORMAL
    libm.fesetenv(environment)
    torch.set_flush_denormal(False)         # where they count as 0 no processor tells
    try:
        work()
    finally:
        torch.set_flush_denormal(True)
    libm.fegetenv(environment)
    return bool(environment[MXCSR][0] & DENORMAL)


def normal(*shape):
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype("f4"))


def backward(function, *shapes):
    def work():
        inputs = [normal(*shape).requires_grad_() for shape in shapes]
        y = function(*inputs)
        y.backward(torch.ones_like(y))
    return work


def layer(module, *shape):
    def work():
        y = module(normal(*shape))
        (y[0] if isinstance(y, tuple) else y).sum().backward()
    return work


CASES = {
    "product": backward(torch.matmul, (200, 70), (70, 10)),
    "linear": backward(F.linear, (300, 70), (21, 70)),
    "products": backward(torch.matmul, (5, 40, 33), (5, 33, 25)),
    "gathered": backward(lambda x, w: F.conv2d(x, w, padding=1, stride=2), (4, 20, 20, 20), (19, 20, 3, 3)),
    "pointwise": backward(F.conv2d, (8, 40, 9, 9), (70, 40, 1, 1)),
    "band": backward(F.conv2d, (4, 3, 20, 20), (21, 3, 3, 3)),
    "thin": backward(F.conv2d, (4, 1, 21, 21), (6, 1, 5, 5)),
    "scattered": backward(F.conv2d, (8, 1, 28, 28), (32, 1, 5, 5)),
    "winograd, few tiles": backward(lambda x, w: F.conv2d(x, w, padding=1), (1, 40, 9, 9), (41, 40, 3, 3)),
    "winograd, many tiles": backward(lambda x, w: F.conv2d(x, w, padding=1), (4, 40, 17, 17), (41, 40, 3, 3)),
    "winograd, large weights": backward(lambda x, w: F.conv2d(x, w, padding=1), (8, 80, 17, 17), (83, 80, 3, 3)),
    "phases": backward(lambda x, w: F.conv2d(x, w, stride=2), (2, 3, 57, 57), (19, 3, 7, 7)),
    "depthwise": backward(lambda x, w: F.conv2d(x, w, groups=21), (2, 21, 14, 14), (21, 1, 3, 3)),
    "transposed": backward(lambda x, w: F.conv_transpose2d(x, w, stride=2), (4, 20, 9, 9), (20, 7, 3, 3)),
    "lstm": layer(torch.nn.LSTM(13, 21), 9, 5, 13),
    "gru": layer(torch.nn.GRU(13, 21), 9, 40, 13),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", CASES)
def test_no_kernel_computes_with_what_others_left(case):
    assert not met_denormals(CASES[case])


def test_the_test_would_see_it():
    assert met_denormals(lambda: torch.from_numpy(np.full(64, 1e-40, "f4")) + 1)
