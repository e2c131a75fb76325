"""Softmax family against torch: values, gradients, special rows, threads."""
import numpy as np
import pytest

import fastnn
import fastnn.nn.functional as F
from fastnn.kernels import native

torch = pytest.importorskip("torch", reason="torch is the reference")

DTYPES = [np.float32, np.float64]
SHAPES = [((7, 1003), 1), ((5, 3, 4), 1), ((3, 70, 130), 1), ((4,), 0), ((10, 17), 0), ((300, 10), 1), ((2, 33), -1), ((0, 5), 1)]


def tolerance(dtype):
    return {"rtol": 1e-5, "atol": 2e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, dim", SHAPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_values_and_gradients(name, shape, dim, dtype):
    rng = np.random.RandomState(0)
    a = (5 * rng.standard_normal(shape)).astype(dtype)
    x, t = fastnn.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    y, want = getattr(fastnn, name)(x, dim), getattr(torch, name)(t, dim)
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), **tolerance(dtype))
    g = np.asarray(rng.standard_normal(tuple(y.shape))).astype(dtype)
    y.backward(fastnn.tensor(g))
    want.backward(torch.tensor(g))
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), **tolerance(dtype))


def test_special_rows():
    inf = np.inf
    a = np.array([[-inf] * 3, [1e4, -1e4, 0], [1, -inf, 2], [np.nan, 0, 1], [inf, 0, 1]], np.float32)
    for name in ("softmax", "log_softmax", "logsumexp"):
        np.testing.assert_allclose(getattr(fastnn, name)(fastnn.tensor(a), 1).numpy(),
                                   getattr(torch, name)(torch.tensor(a), 1).numpy(), rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize("n", [3, 17, 40, 130, 3000])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_rows_do_not_disturb_each_other(name, n):
    """Two rows are worked on side by side: infinities and NaN stay in theirs, and a row has the same bits alone."""
    inf = np.inf
    a = 20 * np.random.RandomState(3).standard_normal((9, n)).astype(np.float32)
    a[1], a[2, 0], a[3, 1], a[4, :n // 2] = -inf, inf, np.nan, -inf
    a[5, :2], a[6, :2], a[7], a[7, 2] = (inf, -inf), (np.nan, inf), -inf, np.nan
    y = getattr(fastnn, name)(fastnn.tensor(a), 1).numpy()
    np.testing.assert_allclose(y, getattr(torch, name)(torch.tensor(a), 1).numpy(), rtol=3e-6, atol=1e-37 if name == "softmax" else 2e-6)
    for i in range(9):
        np.testing.assert_array_equal(getattr(fastnn, name)(fastnn.tensor(a[i:i + 1]), 1).numpy(), y[i:i + 1])


def test_strided_input_and_several_axes():
    a = np.random.RandomState(1).standard_normal((4, 6, 8))
    view = fastnn.from_numpy(a).transpose(0, 2)
    np.testing.assert_allclose(F.softmax(view, 0).numpy(), torch.softmax(torch.tensor(a).transpose(0, 2), 0).numpy(), rtol=1e-12)
    np.testing.assert_allclose(fastnn.logsumexp(fastnn.tensor(a), (0, 2), keepdim=True).numpy(),
                               torch.logsumexp(torch.tensor(a), (0, 2), keepdim=True).numpy(), rtol=1e-12)


def test_errors_and_warning():
    x = fastnn.tensor(np.ones((2, 3), np.float32))
    with pytest.raises(IndexError, match=r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"):
        F.softmax(x, 2)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        F.softmax(x)


@pytest.mark.parametrize("sizes", [(0, 500, 133, 1), (1, 500, 133, 1), (0, 3, 20, 4001), (1, 3, 20, 4001)])
def test_threads_give_the_same_bits(sizes):
    x = np.random.RandomState(2).standard_normal(sizes[1] * sizes[2] * sizes[3]).astype(np.float32)
    results = []
    for threads in (1, 2):
        y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
        native.call("softmax_fwd", [x, y], sizes, threads=threads)
        native.call("softmax_bwd", [y, x, dx], sizes, threads=threads)
        results.append((y, dx))
    assert np.array_equal(results[0][0], results[1][0]) and np.array_equal(results[0][1], results[1][1])
