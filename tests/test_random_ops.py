"""Random tensors and in-place fillings: torch's values under one seed, or the right distribution."""
import copy

import numpy as np
import pytest

import fastnn
from fastnn.core.tensor import from_array
from fastnn.ops import random as R

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="torch is the reference")

FLOATS = ["float32", "float64"]
DTYPES = [*FLOATS, "int64", "int32", "uint8", "bool"]


def filled(method, dtype, shape, *args, order=None, seed=4, **kwargs):
    """What the method leaves in a tensor of ours and of torch's; `order` permutes the axes of a dense tensor."""
    R.manual_seed(seed)
    torch.manual_seed(seed)
    ours, theirs = np.zeros(shape, dtype), torch.zeros(shape, dtype=getattr(torch, dtype))
    if order:
        ours, theirs = ours.transpose(order), theirs.permute(order)
    t = from_array(ours)
    assert getattr(t, method)(*args, **kwargs) is t
    getattr(theirs, method)(*args, **kwargs)
    return t.numpy(), theirs.numpy()


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("order", [None, (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("shape", [(2, 3, 2), (5, 7, 3), (1, 64, 1), (0, 3, 4)])
def test_fillings_equal_torchs(shape, order, dtype):
    assert np.array_equal(*filled("uniform_", dtype, shape, -0.3, 1.7, order=order))
    assert np.array_equal(*filled("random_", dtype, shape, order=order))
    assert np.array_equal(*filled("random_", dtype, shape, 10, order=order))
    assert np.array_equal(*filled("random_", dtype, shape, -5, 1000, order=order))
    for method, args in [("normal_", (1.0, 2.0)), ("exponential_", (1.5,)), ("geometric_", (0.3,)), ("cauchy_", (1.0, 2.0)),
                         ("log_normal_", (0.5, 0.4))]:
        a, b = filled(method, dtype, shape, *args, order=order)
        np.testing.assert_allclose(a, b, rtol=2e-6 if dtype == "float32" else 1e-13, atol=5e-6 if dtype == "float32" else 1e-14,
                                   err_msg=method)


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_integers_of_every_dtype(dtype):
    assert np.array_equal(*filled("random_", dtype, (50,)))
    assert np.array_equal(*filled("random_", dtype, (50,), 2))


@needs_torch
def test_strided_memory():
    R.manual_seed(1)
    torch.manual_seed(1)
    ours, theirs = np.zeros((6, 8), np.float32), torch.zeros(6, 8)
    for _ in range(2):
        from_array(ours[::2, 1::3]).uniform_()
        theirs[::2, 1::3].uniform_()
        from_array(ours[1:, ::4]).normal_()
        theirs[1:, ::4].normal_()
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


@needs_torch
@pytest.mark.parametrize("method, args", [("uniform_", (-0.1, 0.1)), ("normal_", (0.0, 0.02)), ("random_", (99,)), ("exponential_", ()),
                                          ("log_normal_", (0.0, 0.5))])
def test_weights_are_filled_as_torchs_that_lie_in_c_order(method, args):
    def weights(module):
        lazy = module.nn.LazyLinear(6)
        lazy(module.zeros(2, 9))
        layers = [module.nn.Linear(8, 5), lazy, module.nn.Conv2d(3, 4, 3), module.nn.ConvTranspose1d(2, 3, 4), module.nn.LSTM(3, 5)]
        layers.append(copy.deepcopy(layers[2]))
        found = [p.data for layer in layers for p in layer.parameters() if p.ndim > 1]
        found += [module.empty_like(p) for p in found] + [layers[2](module.zeros(2, 3, 8, 8)).detach()]
        module.manual_seed(6)
        return [getattr(p, method)(*args).numpy() for p in found]
    for ours, theirs in zip(weights(fastnn), weights(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(5,), (3, 40)])
def test_multinomial(shape, dtype):
    w = np.random.default_rng(0).random(shape).astype(dtype)
    w[..., 2] = 0
    for count, replacement in [(1, False), (3, False), (4, False), (1, True), (20, True)]:
        R.manual_seed(8)
        torch.manual_seed(8)
        ours = R.multinomial(from_array(w), count, replacement).numpy()
        theirs = torch.multinomial(torch.from_numpy(w), count, replacement).numpy()
        assert ours.dtype == np.int64 and ours.shape == theirs.shape and (ours != 2).all()
        assert np.array_equal(ours, theirs), (count, replacement)


@needs_torch
def test_normal_of_tensors():
    mean, std = np.arange(24.0).reshape(4, 6), np.linspace(0.1, 3, 6)
    for args in [(mean, std), (mean, 2.0), (1.5, std), (mean[0, :3], 1.0)]:
        R.manual_seed(2)
        torch.manual_seed(2)
        ours = R.normal(*(from_array(a) if isinstance(a, np.ndarray) else a for a in args))
        theirs = torch.normal(*(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-13)
    R.manual_seed(2)
    torch.manual_seed(2)
    np.testing.assert_allclose(R.normal(1.0, 2.0, (3, 2)).numpy(), torch.normal(1.0, 2.0, (3, 2)).numpy(), rtol=1e-6)
    assert R.normal(1.0, 2.0, (3, 2), requires_grad=True).requires_grad


def test_like():
    x = from_array(np.zeros((3, 4), np.float64))
    for y in (R.rand_like(x), R.randn_like(x), R.randint_like(x, 5)):
        assert y.shape == (3, 4) and y.dtype == np.float64
    assert R.rand_like(x, dtype="float32", requires_grad=True).requires_grad
    assert (R.randint_like(x, 3, 5).numpy() >= 3).all()


def test_own_draws():
    R.manual_seed(0)
    x = from_array(np.zeros(100_000, np.float32))
    assert abs(x.bernoulli_(0.3).numpy().mean() - 0.3) < 0.01
    x.bernoulli_(from_array(np.linspace(0, 1, 100_000)))
    assert abs(x.numpy().mean() - 0.5) < 0.01 and x.numpy()[-1000:].mean() > 0.95
    ints = from_array(np.zeros(1000, np.int64)).bernoulli_()
    assert set(np.unique(ints.numpy())) == {0, 1}
    rates = from_array(np.full(50_000, 3.5, np.float32))
    y = R.poisson(rates).numpy()
    assert y.dtype == np.float32 and abs(y.mean() - 3.5) < 0.05 and abs(y.var() - 3.5) < 0.2


def test_gradient_stops_at_a_filling():
    leaf = from_array(np.ones(5, np.float32), True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        leaf.uniform_()
    x = leaf * 2
    x.normal_()
    x.backward(from_array(np.ones(5, np.float32)))
    assert (leaf.grad.numpy() == 0).all()


@needs_torch
@pytest.mark.parametrize("call", [
    lambda m, t: t.uniform_(1, 0), lambda m, t: t.normal_(0, -1), lambda m, t: t.random_(3, 3), lambda m, t: t.exponential_(0),
    lambda m, t: t.geometric_(1.5), lambda m, t: t.cauchy_(0, 0), lambda m, t: t.log_normal_(0, 0),
    lambda m, t: t.bernoulli_(1.5), lambda m, t: m.multinomial(t, 9), lambda m, t: m.multinomial(t, 0),
    lambda m, t: m.multinomial(t * 0, 1), lambda m, t: m.multinomial(t - 5, 1)])
def test_errors(call):
    raised = []
    for module, t in [(R, from_array(np.ones(4, np.float32))), (torch, torch.ones(4))]:
        with pytest.raises((RuntimeError, ValueError)) as e:
            call(module, t)
        raised.append(e)
    assert raised[0].type is raised[1].type
    assert str(raised[0].value).split("(")[0].split("=")[0] == str(raised[1].value).split("(")[0].split("=")[0]
