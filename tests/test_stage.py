"""Results too large for the caches: made piece by piece and stored past them, with the bits of small results."""
import numpy as np
import pytest

import fastnn as nn
from fastnn import from_numpy
from fastnn.kernels import native, pointwise

F = nn.nn.functional
LARGE = (1 << 22) + 37          # floats: a little over what counts as large
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def x():
    return rng.standard_normal(LARGE, np.float32)


def assert_same_bits(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("start", [0, 1, 15])
def test_function_of_one_variable(x, threads, start):
    room = np.full(LARGE + 16, np.nan, np.float32)
    y = room[start:start + LARGE]       # results at any address
    code = pointwise.UNARIES["tanh"].code
    native.call("unary", [x, y], [code, LARGE], threads=threads)
    small = np.empty(1000, np.float32)
    for first in (0, 511, LARGE - 1000):
        native.call("unary", [x[first:first + 1000].copy(), small], [code, 1000])
        assert_same_bits(y[first:first + 1000], small)
    assert np.abs(y - np.tanh(x)).max() < 1e-6
    assert np.isnan(room[:start]).all() and np.isnan(room[start + LARGE:]).all()


def test_gradient(x):
    g = rng.standard_normal(LARGE, np.float32)
    dx, code = np.full(LARGE, np.nan, np.float32), pointwise.UNARIES["relu"].code
    native.call("unary_gradient", [np.maximum(x, 0), g, dx], [code, LARGE], threads=2)
    assert_same_bits(dx, np.where(x > 0, g, np.float32(0)))


def test_in_place(x):
    a = from_numpy(x.copy())
    a.relu_()
    assert_same_bits(a.numpy(), np.maximum(x, 0))
    a += a
    assert_same_bits(a.numpy(), 2 * np.maximum(x, 0))


@pytest.mark.parametrize("shape", [(LARGE,), (2049, 2048), (5_000_000, 1), (4, 3, 400_001)])
def test_functions_of_two_variables(shape):
    a = rng.standard_normal(shape, np.float32)
    b = rng.standard_normal(shape[-1], np.float32)
    assert_same_bits((from_numpy(a) * from_numpy(b)).numpy(), a * b)
    assert_same_bits((from_numpy(a) - 2).numpy(), a - np.float32(2))


@pytest.mark.parametrize("n", [1, 7, 100, 1000, 2500, 4097, 1 << 20])
@pytest.mark.parametrize("function", [lambda x: F.softmax(x, 1), lambda x: F.log_softmax(x, 1), lambda x: F.layer_norm(x, x.shape[1:])])
def test_rows(n, function):
    rows = LARGE // n + 1
    x = rng.standard_normal((rows, n), np.float32)
    y = function(from_numpy(x)).numpy()
    for first in {0, rows // 2, max(rows - 3, 0)}:
        assert_same_bits(y[first:first + 3], function(from_numpy(x[first:first + 3].copy())).numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize("shape", [(3, (1 << 23) + 5), (5000, 5001)])
def test_copies(dtype, shape):
    a = (100 * rng.random(shape, np.float32)).astype(dtype)
    assert_same_bits(from_numpy(a).clone().numpy(), a)
    part = a[:, 1:]
    assert_same_bits(from_numpy(a)[:, 1:].contiguous().numpy(), np.ascontiguousarray(part))
