"""Linear, Bilinear, Identity, Flatten and Unflatten against torch; the call without hooks costs next to nothing."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import nn

torch = pytest.importorskip("torch", reason="torch is the reference")
random = np.random.default_rng(0)


def values(t):
    return t.detach().numpy()


def same_layer(name, *args, **kwargs):
    """The same layer on both sides under one seed."""
    fn.manual_seed(3)
    torch.manual_seed(3)
    return getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)


@pytest.mark.parametrize("name, args", [("Linear", (5, 3)), ("Linear", (1, 1)), ("Linear", (67, 45)), ("Bilinear", (4, 5, 3))])
@pytest.mark.parametrize("bias", [True, False])
def test_same_initial_values_and_text(name, args, bias):
    ours, theirs = same_layer(name, *args, bias=bias)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    for p, q in zip(ours.parameters(), theirs.parameters()):
        np.testing.assert_array_equal(values(p), values(q))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (7, 5), (0, 5), (2, 3, 5), (2, 0, 5)])
def test_linear(shape, dtype):
    ours, theirs = same_layer("Linear", 5, 3)
    ours, theirs = (ours.double(), theirs.double()) if dtype == "float64" else (ours, theirs)
    a = random.standard_normal(shape).astype(dtype)
    x, t = fn.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    y, u = ours(x), theirs(t)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(values(y), values(u), **tolerance)
    weights = random.standard_normal(u.shape).astype(dtype)
    (y * fn.tensor(weights)).sum().backward()
    (u * torch.tensor(weights)).sum().backward()
    for p, q in [(x, t), (ours.weight, theirs.weight), (ours.bias, theirs.bias)]:
        assert p.grad.shape == tuple(q.grad.shape)
        np.testing.assert_allclose(values(p.grad), values(q.grad), **tolerance)


def test_bilinear():
    ours, theirs = same_layer("Bilinear", 4, 5, 3)
    ours, theirs = ours.double(), theirs.double()
    for shape in ((), (7,), (2, 3)):
        a, b = random.standard_normal((*shape, 4)), random.standard_normal((*shape, 5))
        pairs = [(fn.tensor(v, requires_grad=True), torch.tensor(v, requires_grad=True)) for v in (a, b)]
        y, u = ours(*(p for p, _ in pairs)), theirs(*(q for _, q in pairs))
        np.testing.assert_allclose(values(y), values(u), rtol=1e-12, atol=1e-13)
        y.pow(2).sum().backward()
        u.pow(2).sum().backward()
        for p, q in [*pairs, (ours.weight, theirs.weight), (ours.bias, theirs.bias)]:
            np.testing.assert_allclose(values(p.grad), values(q.grad), rtol=1e-10, atol=1e-11)


def test_flatten_and_identity():
    a = random.standard_normal((2, 3, 4, 5))
    for start, end in ((1, -1), (0, -1), (2, 3), (-3, -2)):
        np.testing.assert_array_equal(nn.Flatten(start, end)(fn.tensor(a)).numpy(),
                                      torch.nn.Flatten(start, end)(torch.tensor(a)).numpy())
    np.testing.assert_array_equal(nn.Unflatten(1, (3, 1))(fn.tensor(a)).numpy(),
                                  torch.nn.Unflatten(1, (3, 1))(torch.tensor(a)).numpy())
    x = fn.ones(2)
    assert nn.Identity(1, anything=2)(x) is x
    for make in (lambda n: n.Flatten(), lambda n: n.Unflatten(1, (2, 3)), lambda n: n.Identity()):
        assert repr(make(nn)) == repr(make(torch.nn))
    for bad in (lambda n: n.Unflatten(1, 3), lambda n: n.Unflatten(1, (1.5,))):
        for library in (torch.nn, nn):
            with pytest.raises(TypeError):
                bad(library)


@pytest.mark.parametrize("call, error, words", [
    (lambda: nn.Linear(5, 3)(fn.ones(2, 4)), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x4 and 5x3\)"),
    (lambda: nn.Linear(5, 3)(fn.ones(2, 5).double()), RuntimeError,
     "mat1 and mat2 must have the same dtype, but got Double and Float"),
    (lambda: nn.Linear(5, 3, device="cuda"), RuntimeError, "CPU only"),
    (lambda: nn.Linear(5, 3, dtype=np.int64), TypeError, "float32 or float64"),
    (lambda: nn.Bilinear(0, 3, 2), ValueError, "in1_features must be > 0, but got 0"),
    (lambda: nn.Bilinear(2, 3, 2)(fn.ones(1, 3), fn.ones(1, 3)), RuntimeError, "input1 size does not match weight size"),
])
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
