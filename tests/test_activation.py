"""Activations against torch: values, gradients, kinks, special values, in place, messages, repr."""
import numpy as np
import pytest

import fastnn.ops  # noqa: F401 (gives tensors their methods)
from fastnn.autograd.gradcheck import gradcheck
from fastnn.core.tensor import from_array
from fastnn.nn import activation as layers
from fastnn.ops import activation as ops

torch = pytest.importorskip("torch", reason="torch is not installed")
rng = np.random.default_rng(0)

# name: arguments; the torch function has the same name and arguments
CASES = [("relu", {}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.2}), ("elu", {}), ("elu", {"alpha": 0.7}),
         ("selu", {}),
         ("celu", {}), ("celu", {"alpha": 2.0}), ("sigmoid", {}), ("tanh", {}), ("gelu", {}), ("gelu", {"approximate": "tanh"}),
         ("silu", {}), ("mish", {}), ("relu6", {}), ("hardtanh", {}), ("hardtanh", {"min_val": -2.0, "max_val": 0.5}),
         ("hardsigmoid", {}), ("hardswish", {}), ("softplus", {}), ("softplus", {"beta": 2.0, "threshold": 3.0}),
         ("softsign", {}), ("softshrink", {}), ("softshrink", {"lambd": 1.0}), ("hardshrink", {}), ("hardshrink", {"lambd": 0.0}),
         ("tanhshrink", {}), ("logsigmoid", {}), ("threshold", {"threshold": 0.1, "value": 20.0}),
         ("rrelu", {"lower": 0.1, "upper": 0.3}), ("glu", {})]
INPLACE = [(name, kw) for name, kw in CASES if name in (
    "relu", "leaky_relu", "elu", "selu", "celu", "silu", "mish", "relu6", "hardtanh", "hardsigmoid", "hardswish", "threshold")]
KINKS = [-6, -3, -2, -1, -0.5, -0.0, 0, 0.1, 0.5, 1, 3, 6]
SPECIAL = [np.nan, np.inf, -np.inf, 1e30, -1e30, 88.8, -88.8, 104, -104, 1e-40, -1e-40, 20, 20.5, -20.5]


def theirs(name):
    return getattr(torch, name) if name in ("sigmoid", "tanh") else getattr(torch.nn.functional, name)


def both(name, kw, x, g):
    """Value and gradient here and by torch."""
    a, b = from_array(x.copy()), torch.tensor(x)
    a.requires_grad = b.requires_grad = True
    y, z = getattr(ops, name)(a, **kw), theirs(name)(b, **kw)
    y.backward(from_array(g[:y.shape[0]].copy() if y.shape != g.shape else g.copy()))
    z.backward(torch.tensor(g[:y.shape[0]] if y.shape != g.shape else g))
    return y.detach().numpy(), a.grad.numpy(), z.detach().numpy(), b.grad.numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, kw", CASES)
def test_values_and_gradients(name, kw, dtype):
    x = np.concatenate([rng.standard_normal(499) * 4, KINKS, [0] * 3]).astype(dtype)
    g = rng.standard_normal(x.size).astype(dtype)
    y, dx, z, dz = both(name, kw, x, g)
    tolerance = {"rtol": 3e-6, "atol": 2e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    if name == "hardsigmoid":
        tolerance["rtol"] = 1e-7        # torch multiplies by 1/6 in float32
    np.testing.assert_allclose(y, z, **tolerance)
    np.testing.assert_allclose(dx, dz, **tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, kw", [c for c in CASES if c[0] != "glu"])
def test_special_values(name, kw, dtype):
    """NaN and infinity come out where torch has them, but for what torch does differently from itself."""
    x = np.array(SPECIAL, dtype)
    y, dx, z, dz = both(name, kw, x, np.ones_like(x))
    assert np.isnan(y[0])
    same = np.ones((2, x.size), bool)
    same[1, 0] = False                  # gradients at NaN: torch's vector and scalar code differ
    if name == "gelu":
        same[0, 1] = False              # gelu(inf) is inf in double, NaN in torch's float code
    if name == "softsign":
        same[1, 1:3] = False            # 0 at infinity; torch's composite rule gives NaN
    np.testing.assert_allclose(y[same[0]], z[same[0]], rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(dx[same[1]], dz[same[1]], rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("name, kw", CASES)
def test_gradient_by_differences(name, kw):
    x = rng.uniform(0.12, 0.4, (3, 8)) * np.where(rng.random((3, 8)) < 0.5, -1, 1) * 4 + 0.013
    assert gradcheck(lambda t: getattr(ops, name)(t, **kw), (from_array(x, requires_grad=True),))


@pytest.mark.parametrize("name, kw", CASES)
def test_layouts(name, kw):
    base = rng.standard_normal((4, 6, 8)).astype(np.float32)
    for x in (base.T, base[::2, ::-1], base.transpose(0, 2, 1), base[:0], base[:, :, :2], np.asfortranarray(base)):
        t = from_array(x, requires_grad=True)
        y = getattr(ops, name)(t, **kw)
        z = theirs(name)(torch.tensor(x.copy()), **kw)
        np.testing.assert_allclose(y.detach().numpy(), z.numpy(), rtol=3e-6, atol=1e-6)
        y.backward(from_array(np.ones(y.shape, np.float32)))
        assert t.grad.shape == x.shape


@pytest.mark.parametrize("name, kw", INPLACE)
def test_in_place(name, kw):
    x = rng.standard_normal((5, 33)).astype(np.float32)
    f = getattr(ops, name)
    plain = from_array(x.copy())
    memory = plain.numpy()
    assert f(plain, inplace=True, **kw) is plain
    np.testing.assert_array_equal(memory, f(from_array(x), **kw).numpy())

    leaf = from_array(x.copy(), requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        f(leaf, inplace=True, **kw)
    hidden = leaf * 2
    out = f(hidden, inplace=True, **kw)
    assert out is hidden
    out.sum().backward()
    other = from_array(x.copy(), requires_grad=True)
    f(other * 2, **kw).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), other.grad.numpy())


def test_in_place_change_of_what_was_saved():
    x = from_array(np.ones(3, np.float32), requires_grad=True) * 1
    y = ops.gelu(x)
    ops.relu_(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("shape, n", [((4, 3, 5, 6), 3), ((4, 3), 3), ((4, 3, 5), 1), ((7,), 1), ((), 1), ((0, 3, 2), 3),
                                      ((2, 1, 9), 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prelu(shape, n, dtype):
    x, w, g = (np.asarray(rng.standard_normal(s), dtype) for s in (shape, n, shape))
    a, b = from_array(x, requires_grad=True), from_array(w, requires_grad=True)
    p, q = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    ops.prelu(a, b).backward(from_array(g))
    torch.nn.functional.prelu(p, q).backward(torch.tensor(g))
    np.testing.assert_array_equal(a.grad.numpy(), p.grad.numpy())
    np.testing.assert_allclose(b.grad.numpy(), q.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_rrelu_in_training():
    x = from_array(rng.standard_normal(10000).astype(np.float32), requires_grad=True)
    y = ops.rrelu(x, 0.1, 0.3, training=True)
    slope = (y.detach().numpy() / x.detach().numpy())[x.detach().numpy() < 0]
    assert slope.min() >= 0.099 and slope.max() <= 0.301 and abs(slope.mean() - 0.2) < 0.005
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy()[x.detach().numpy() < 0], slope, rtol=1e-5)


@pytest.mark.parametrize("call, kind, words", [
    (lambda x: ops.hardtanh(x, 2, 1), ValueError, "min_val cannot be greater than max_val"),
    (lambda x: ops.softshrink(x, -1), RuntimeError, "lambda must be greater or equal to 0, but found to be -1"),
    (lambda x: ops.gelu(x, approximate="no"), RuntimeError, "approximate argument must be either none or tanh"),
    (lambda x: ops.glu(x, 1), RuntimeError, "Halving dimension must be even, but dimension 1 is size 3"),
    (lambda x: ops.glu(x, 2), IndexError, "Dimension out of range"),
    (lambda x: ops.prelu(x, from_array(np.ones(4, np.float32))), RuntimeError,
     "Mismatch of parameter numbers and input channel size. Found parameter numbers = 4 and channel size = 3"),
    (lambda x: ops.celu(x, 0), RuntimeError, "ZeroDivisionError"),
    (lambda x: ops.elu(from_array(np.arange(3))), NotImplementedError, "not implemented for"),
    (lambda x: ops.rrelu(x, 1, 0), RuntimeError, "Lower bound should be less than or equal to the upper bound")])
def test_messages(call, kind, words):
    with pytest.raises(kind, match=words):
        call(from_array(np.ones((2, 3), np.float32)))


MODULES = [("ReLU", ()), ("ReLU", (True,)), ("LeakyReLU", ()), ("LeakyReLU", (0.2, True)), ("RReLU", ()),
           ("RReLU", (0.1, 0.2, True)),
           ("PReLU", ()), ("PReLU", (3,)), ("Threshold", (0.1, 20)), ("Threshold", (0.1, 20, True)), ("Hardtanh", ()),
           ("Hardtanh", (-2, 2, True)), ("ReLU6", ()), ("ReLU6", (True,)), ("Hardsigmoid", (True,)), ("Hardswish", ()),
           ("Hardshrink", ()), ("Softshrink", (0.3,)), ("ELU", ()), ("ELU", (2.0, True)), ("CELU", (2.0,)), ("SELU", (True,)),
           ("GELU", ()), ("GELU", ("tanh",)), ("SiLU", ()), ("Mish", (True,)), ("Sigmoid", ()), ("Tanh", ()), ("Softplus", ()),
           ("Softplus", (2, 3)), ("Softsign", ()), ("Tanhshrink", ()), ("LogSigmoid", ()), ("GLU", ()), ("GLU", (1,))]


@pytest.mark.parametrize("name, arguments", MODULES)
def test_modules(name, arguments):
    ours, other = getattr(layers, name)(*arguments).eval(), getattr(torch.nn, name)(*arguments).eval()
    assert repr(ours) == repr(other)
    assert list(ours.state_dict()) == list(other.state_dict())
    x = rng.standard_normal((2, 4 if name == "GLU" else 3, 6)).astype(np.float32)
    np.testing.assert_allclose(ours(from_array(x.copy())).detach().numpy(), other(torch.tensor(x)).detach().numpy(), rtol=3e-6,
                               atol=1e-6)


def test_hardtanh_takes_its_older_names():
    with pytest.warns(FutureWarning, match="`max_value` is deprecated and renamed to `max_val`"):
        layer = layers.Hardtanh(0.0, max_value=2.0)
    assert repr(layer) == "Hardtanh(min_val=0.0, max_val=2.0)"
