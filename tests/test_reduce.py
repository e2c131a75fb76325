"""Reductions, extremes and running sums; NumPy is the reference."""
import itertools

import numpy as np
import pytest

from fastnn.kernels import native, reduce

FLOATS = [np.float32, np.float64]
rng = np.random.default_rng(0)


def dims(x, axes):
    """Sizes of a reduction of `x` over `axes`, how many elements make one result, and the shape of the results."""
    kept = [d for d in range(x.ndim) if d not in axes]
    size = [len(kept), len(axes)]
    for group in (kept, sorted(axes)):
        size += [x.shape[d] for d in group] + [0] * (6 - len(group))
        size += [x.strides[d] // x.itemsize for d in group] + [0] * (6 - len(group))
    return size, int(np.prod([x.shape[d] for d in axes])), [x.shape[d] for d in kept]


def run(name, x, axes, scale=1.0, threads=1):
    size, _, shape = dims(x, axes)
    y = np.full(shape, np.nan, x.dtype)
    native.call("reduce", [x, y], [reduce.REDUCTIONS[name], *size], [scale], threads=threads)
    return y


REFERENCE = {"sum": np.sum, "sum_squares": lambda x, axis: np.sum(x * x, axis),
             "sum_abs": lambda x, axis: np.sum(np.abs(x), axis), "prod": np.prod, "max": np.max, "min": np.min,
             "max_abs": lambda x, axis: np.max(np.abs(x), axis)}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", REFERENCE)
def test_any_dimensions(name, dtype):
    base = rng.uniform(0.5, 1.5, (3, 7, 2, 19)).astype(dtype) * np.sign(rng.standard_normal((3, 7, 2, 19))).astype(dtype)
    views = [base, base.T, base.transpose(0, 2, 1, 3), base[:, ::-1, :, ::2], base[:1], base[..., :1], base[1, :, 0]]
    for x in views:
        for k in range(x.ndim + 1):
            for axes in itertools.combinations(range(x.ndim), k):
                want = REFERENCE[name](x.astype(np.float64), axis=axes)
                np.testing.assert_allclose(run(name, x, axes), want, rtol=3e-6 if dtype == np.float32 else 1e-13, atol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape, axes", [
    ((300001,), (0,)), ((5, 70000), (1,)), ((70000, 5), (0,)), ((2000, 700), (0,)), ((2000, 700), (1,)), ((4, 600, 500), (0, 2)),
    ((4, 600, 500), (1,)), ((1, 3), (0,)), ((40, 3, 30, 30), (0, 2, 3)), ((0, 3), (0,)), ((3, 0), (0,)), ((3, 0), (1,)),
    ((0,), (0,))])
def test_large_and_threads(shape, axes, dtype):
    x = rng.standard_normal(shape).astype(dtype) + dtype(0.5)
    y = run("sum", x, axes)
    np.testing.assert_array_equal(y, run("sum", x, axes, threads=2))
    want = x.astype(np.longdouble).sum(axes)
    bound = np.abs(x).astype(np.longdouble).sum(axes) * np.finfo(dtype).eps * 2
    assert (np.abs(y - want) <= bound).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_result_does_not_depend_on_its_neighbours(dtype):
    x = rng.standard_normal((40, 3000)).astype(dtype)
    np.testing.assert_array_equal(run("sum", x, (1,))[7:9], run("sum", x[7:9], (1,)))
    np.testing.assert_array_equal(run("sum", x, (0,))[:80], run("sum", x[:, :80], (0,)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape, axes", [((50, 33), (0,)), ((50, 33), (1,)), ((6, 5, 40), (0, 2)), ((300000,), (0,)),
                                         ((4, 1), (1,))])
def test_variance(shape, axes, dtype):
    x = (rng.standard_normal(shape) + 100).astype(dtype)
    size, count, kept = dims(x, axes)
    mean, var = np.full(kept, np.nan, dtype), np.full(kept, np.nan, dtype)
    for threads in (1, 2):
        native.call("variance", [x, mean, var], [0, *size], [1 / count, 1 / max(count - 1, 1)], threads=threads)
        rtol = 2e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(mean, x.astype(np.float64).mean(axes), rtol=rtol)
        np.testing.assert_allclose(var, x.astype(np.float64).var(axes, ddof=min(1, count - 1)), rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 64, 65, 200, 5000])
def test_nan_and_ties(n, dtype):
    for name in ("max", "min", "max_abs", "sum"):
        for at in (0, n // 2, n - 1):
            x = rng.standard_normal((3, n)).astype(dtype)
            x[1, at] = np.nan
            for view, axes in ((x, (1,)), (np.ascontiguousarray(x.T), (0,)), (x[:, ::-1], (1,))):
                np.testing.assert_array_equal(np.isnan(run(name, view, axes)), [False, True, False])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 1), (2, 200, 1), (3, 7, 70), (1, 300, 200), (2, 5000, 3)])
def test_extremes(shape, dtype):
    x = rng.integers(-20, 20, shape).astype(dtype)
    x[-1, shape[1] // 2, 0] = np.nan
    for smallest, function, index_of in ((0, np.max, np.argmax), (1, np.min, np.argmin)):
        for threads in (1, 2):
            y, index = np.full((shape[0], shape[2]), np.nan, dtype), np.full((shape[0], shape[2]), -1)
            native.call("extreme", [x, y, index], [smallest, *shape], threads=threads)
            np.testing.assert_array_equal(y, function(x, axis=1))
            np.testing.assert_array_equal(index, index_of(x, axis=1))
            native.call("extreme", [x, None, index], [smallest, *shape], threads=threads)
            np.testing.assert_array_equal(index, index_of(x, axis=1))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 50, 1), (2, 20, 70), (300, 9, 1), (1, 0, 3), (2, 5, 130)])
def test_running(shape, dtype):
    x = rng.uniform(0.9, 1.1, shape).astype(dtype)
    rtol = 2e-7 if dtype == np.float32 else 1e-14
    for product, reverse in itertools.product((0, 1), (0, 1)):
        y = np.full_like(x, np.nan)
        native.call("running", [x, y], [product, reverse, *shape], threads=2)
        wide = x.astype(np.longdouble)[:, ::-1 if reverse else 1]
        want = (np.cumprod if product else np.cumsum)(wide, axis=1)[:, ::-1 if reverse else 1]
        np.testing.assert_allclose(y, want.astype(np.float64), rtol=rtol)
