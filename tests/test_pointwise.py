"""Elementwise kernels: functions of one and two variables, selection, copies, conversions; NumPy is the reference."""
import itertools

import numpy as np
import pytest

from fastnn.kernels import native, pointwise

FLOATS = [np.float32, np.float64]
SIZES = [0, 1, 3, 15, 16, 17, 33, 1000, 40001]
rng = np.random.default_rng(0)


def grid(shape, *operands, dims=6):
    """size[1:] of a kernel over a common shape."""
    size = [len(shape), *shape, *[0] * (dims - len(shape))]
    for a in operands:
        strides = np.broadcast_to(a, shape).strides
        size += [s // a.itemsize for s in strides] + [0] * (dims - len(shape))
    return size


def unary(name, x, *scalars, threads=1):
    y = np.full_like(x, np.nan)
    native.call("unary", [x, y], [pointwise.UNARIES[name].code, x.size], scalars, threads=threads)
    return y


def gradient(name, saved, g, *scalars, threads=1):
    dx = np.full_like(g, np.nan)
    native.call("unary_gradient", [saved, g, dx], [pointwise.UNARIES[name].code, g.size], scalars, threads=threads)
    return dx


def binary(name, x, y, threads=1):
    shape = np.broadcast_shapes(x.shape, y.shape)
    z = np.full(shape, np.nan, x.dtype)
    native.call("binary", [x, y, z], [pointwise.BINARIES[name], *grid(shape, x, y)], threads=threads)
    return z


# Points on both sides of, and never at, the kinks; parameters a, b, c.
PARAMETERS = {"leaky_relu": (0.1,), "elu": (1.3, 1.1, 0.7), "hardtanh": (-1, 1.5), "softplus": (1.5, 20),
              "softshrink": (0.4,), "hardshrink": (0.4,), "threshold": (0.1, -2), "clamp": (-0.7, 0.9), "affine": (2.5, -1),
              "divide_by": (3,), "divide_into": (3,), "power": (2.5,), "power_of": (3, np.log(3))}
DOMAINS = {"log": (0.1, 4), "log2": (0.1, 4), "log10": (0.1, 4), "log1p": (-0.9, 4), "sqrt": (0.1, 4), "rsqrt": (0.1, 4),
           "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "atanh": (-0.9, 0.9), "acosh": (1.1, 4), "power": (0.1, 4),
           "lgamma": (0.1, 4), "tan": (-1.4, 1.4)}


@pytest.mark.parametrize("name", [n for n in pointwise.UNARIES if n != "lgamma"])
def test_gradient_formula(name):
    """The derivative formula is the derivative of the formula: central differences in float64."""
    p = PARAMETERS.get(name, ())
    x = rng.uniform(*DOMAINS.get(name, (-5, 5)), 501)
    kinks = np.array([-3, -1, -0.7, -0.4, 0, 0.1, 0.4, 0.9, 1.5, 3, *(np.arange(-10, 11) / 2)])
    h = 1e-6
    x = x[np.abs(x[:, None] - kinks).min(1) > 10 * h]
    g = rng.standard_normal(x.size)
    y = unary(name, x, *p)
    want = g * (unary(name, x + h, *p) - unary(name, x - h, *p)) / (2 * h)
    saved = y if pointwise.UNARIES[name].saves_output else x
    np.testing.assert_allclose(gradient(name, saved, g, *p), want, rtol=3e-6, atol=3e-8)


@pytest.mark.parametrize("name", pointwise.UNARIES)
def test_float32_agrees_with_float64(name):
    p = PARAMETERS.get(name, ())
    x = rng.uniform(*DOMAINS.get(name, (-5, 5)), 1003)
    x = x.astype(np.float32).astype(np.float64)
    g = rng.standard_normal(x.size).astype(np.float32)
    narrow, wide = unary(name, x.astype(np.float32), *p), unary(name, x, *p)
    scale = np.maximum(1, np.abs(x))
    assert (np.abs(narrow - wide) / np.maximum(np.abs(wide), scale)).max() < 1e-6
    if pointwise.UNARIES[name].saves_output:
        x = narrow.astype(np.float64)
    got, want = gradient(name, x.astype(np.float32), g, *p), gradient(name, x, g.astype(np.float64), *p)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", SIZES)
def test_sizes_and_threads(n, dtype):
    x, y = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
    np.testing.assert_array_equal(unary("tanh", x), unary("tanh", x, threads=2))
    np.testing.assert_array_equal(gradient("gelu", x, y), gradient("gelu", x, y, threads=2))
    for name in ("add", "mul", "maximum"):
        function = {"mul": np.multiply}.get(name, getattr(np, name, None))
        np.testing.assert_array_equal(binary(name, x, y), function(x, y))
        np.testing.assert_array_equal(binary(name, x, y, threads=2), function(x, y))


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_goes_through(dtype):
    x = np.array([np.nan, 1, -1], dtype)
    for name in pointwise.UNARIES:
        y = unary(name, x, *PARAMETERS.get(name, ()))
        assert np.isnan(y[0]) or name == "sign", name
    for name in ("maximum", "minimum", "add", "div"):
        assert np.isnan(binary(name, x, x[::-1].copy())[[0, 2]]).all(), name


SHAPES = [((4, 5), (4, 5)), ((4, 5), (5,)), ((4, 1), (4, 5)), ((4, 5), ()), ((), (4, 5)), ((4, 1), (1, 5)), ((2, 3, 4), (3, 1)),
          ((2, 1, 4, 1), (3, 1, 5)), ((1, 1), (1,)), ((0, 3), (3,)), ((2, 3, 1, 2, 1, 2), (3, 2, 1, 2, 1)),
          ((3, 40000), (40000,)), ((40000, 3), (3,)), ((2, 7), (2, 1))]
REFERENCE = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
             "minimum": np.minimum, "pow": np.power, "atan2": np.arctan2, "fmod": np.fmod, "remainder": np.remainder,
             "floor_divide": np.floor_divide, "hypot": np.hypot, "prelu": lambda x, y: np.where(x > 0, x, y * x),
             "share": lambda x, y: np.where(x > y, 1, np.where(x == y, 0.5, 0))}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", pointwise.BINARIES)
def test_binary(name, dtype):
    for sx, sy in SHAPES:
        x, y = (np.asarray(rng.integers(-8, 8, s) / 2 + 0.25, dtype) for s in (sx, sy))
        if name == "pow":
            x = np.asarray(np.abs(x))
        np.testing.assert_allclose(binary(name, x, y), REFERENCE[name](x, y), rtol=4 * np.finfo(dtype).eps, err_msg=f"{sx} {sy}")


def test_strided_inputs():
    base = rng.standard_normal((6, 8, 10)).astype(np.float32)
    views = [base, base[::-1], base[:, ::2], base[..., ::-3], base.transpose(2, 0, 1), base[1:2], base[:, :, :1]]
    for x, y in itertools.product(views, views):
        try:
            shape = np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            continue
        np.testing.assert_array_equal(binary("sub", x, y), x - y)
        z = np.empty(shape, bool)
        for name in pointwise.COMPARISONS:
            native.call("compare", [x, y, z], [pointwise.COMPARISONS[name], *grid(shape, x, y)])
            compare = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
                       "ge": np.greater_equal}[name]
            np.testing.assert_array_equal(z, compare(x, y))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", FLOATS)
def test_where_and_prelu_gradient(dtype, threads):
    for shapes in [((4, 5), (4, 5), (4, 5)), ((4, 1), (5,), ()), ((5,), (4, 5), (1,)), ((300, 200), (200,), (300, 1))]:
        c, x, y = (np.asarray(rng.standard_normal(s), dtype) for s in shapes)
        shape = np.broadcast_shapes(*shapes)
        z = np.full(shape, np.nan, dtype)
        native.call("where", [c > 0, x, y, z], [0, *grid(shape, c > 0, x, y)], dtype=np.dtype(dtype).name, threads=threads)
        np.testing.assert_array_equal(z, np.where(c > 0, x, y))
        dx, dw = np.full(shape, np.nan, dtype), np.full(shape, np.nan, dtype)
        native.call("prelu_gradient", [c, x, y, dx, dw], [0, *grid(shape, c, x, y)], threads=threads)
        np.testing.assert_array_equal(dx, np.where(c > 0, y, y * x))
        np.testing.assert_array_equal(dw, np.broadcast_to(np.where(c > 0, 0, y * c), shape))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", SIZES)
def test_accumulate_and_fill(n, dtype):
    x, y = rng.integers(-9, 9, n).astype(dtype), rng.integers(-9, 9, n).astype(dtype)
    want = y - 2 * x
    native.call("accumulate", [x, y], [n], [-2.0], threads=2)
    np.testing.assert_array_equal(y, want)
    native.call("fill", [y], [n], [2.5], threads=2)
    assert (y == 2.5).all()


NAMES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_convert(source, target):
    for n in (0, 1, 17, 40001):
        x = rng.integers(0, 3, n).astype(source)
        y = np.zeros(n, target)
        native.call("convert", [x, y], [n, native.DTYPES[source], native.DTYPES[target]], threads=2)
        np.testing.assert_array_equal(y, x.astype(target))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_copy_strided(dtype, threads):
    base = rng.integers(0, 100, (3, 70, 5, 130)).astype(dtype)
    views = [base, base.transpose(0, 3, 1, 2), base.T, base[::-1, :, ::2], base[..., ::3], base[:, :1], base[:, :0],
             base[0, 0, 0], base[0, :, 0], base[0, :, 0].T, base[0, :, :, 0].T, base[:, :, 1, 2],
             np.broadcast_to(base[0, 0, :, :1], (7, 5, 9)),
             base[0, 0, 0, 0, ...], base[:2, ::-1].transpose(1, 3, 0, 2), base.transpose(3, 0, 1, 2)[::-1]]
    for x in views:
        for order in ("C", "F"):
            y = np.zeros(x.shape, dtype, order=order)
            size = [x.itemsize, x.ndim]
            for a in (x.shape, [s // x.itemsize for s in x.strides], [s // x.itemsize for s in y.strides]):
                size += [*a, *[0] * (8 - x.ndim)]
            native.call("copy_strided", [x, y], size, dtype="float32", threads=threads)
            np.testing.assert_array_equal(y, x)
