"""nn.init against torch: the same values under the same seed."""
import inspect
import math
import warnings

import numpy as np
import pytest

from fastnn.core.random import Generator, get_rng_state, manual_seed
from fastnn.core.tensor import Parameter, from_array
from fastnn.nn import init
from fastnn.nn.linear import Bilinear, Linear

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="torch is the reference")

FLOATS = ["float32", "float64"]


def pair(name, shape, dtype, *args, seed=3, **kwargs):
    """What ours and torch's function of that name give."""
    manual_seed(seed)
    torch.manual_seed(seed)
    ours = Parameter(from_array(np.zeros(shape, dtype)))
    theirs = torch.nn.Parameter(torch.zeros(shape, dtype=getattr(torch, dtype)))
    assert getattr(init, name)(ours, *args, **kwargs) is ours
    getattr(torch.nn.init, name)(theirs, *args, **kwargs)
    assert np.array_equal(get_rng_state().numpy()[24:5016], torch.get_rng_state()[24:5016]), "draws taken differ"
    return ours.detach().numpy(), theirs.detach().numpy()


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(3, 5), (64, 17), (4, 3, 5, 5), (1, 1), (8, 2, 3)])
def test_uniform_kinds_are_equal(shape, dtype):
    for name, args in [("uniform_", (-0.3, 0.7)), ("xavier_uniform_", (1.5,)), ("kaiming_uniform_", (math.sqrt(5),)),
                       ("kaiming_uniform_", (0, "fan_out", "relu")), ("constant_", (0.25,)), ("ones_", ()), ("zeros_", ())]:
        assert np.array_equal(*pair(name, shape, dtype, *args)), name


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(3, 5), (64, 17), (4, 3, 5, 5), (2, 2)])
def test_normal_kinds(shape, dtype):
    exact = dtype == "float64" or math.prod(shape) < 16
    for name, args in [("normal_", (1.0, 2.0)), ("xavier_normal_", (1.5,)), ("kaiming_normal_", (0, "fan_out", "relu"))]:
        a, b = pair(name, shape, dtype, *args)
        np.testing.assert_allclose(a, b, rtol=3e-16 if exact else 0, atol=3e-16 if exact else 5e-6, err_msg=name)


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("args", [(), (0.0, 1.0, -0.5, 3.0), (0.0, 1.0, 1.5, 3.0), (1.0, 0.1, 0.0, 0.85)])
def test_trunc_normal(args, dtype):
    a, b = pair("trunc_normal_", (20, 30), dtype, *args)
    low, high = args[2:] if args else (-2, 2)
    assert low <= a.min() and a.max() <= high
    np.testing.assert_allclose(a, b, rtol=0, atol=5e-6 if dtype == "float32" else 1e-14)


def test_trunc_normal_warns():
    with pytest.warns(UserWarning, match="mean is more than 2 std from"):
        init.trunc_normal_(from_array(np.zeros((5, 5), np.float32)), 0.0, 1.0, 3.0, 4.0)


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (9, 4), (4, 2, 3, 3), (1, 6)])
def test_orthogonal(shape, dtype):
    a, b = pair("orthogonal_", shape, dtype, 1.5)
    tolerance = 2e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    m = a.reshape(shape[0], -1)
    gram = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(gram, 2.25 * np.eye(len(gram)), atol=tolerance)


@needs_torch
@pytest.mark.parametrize("dtype", FLOATS)
def test_matrices_of_a_kind(dtype):
    assert np.array_equal(*pair("eye_", (3, 5), dtype))
    for shape, groups in [((6, 3, 3), 1), ((6, 2, 3, 4), 3), ((4, 8, 3, 3, 2), 2)]:
        assert np.array_equal(*pair("dirac_", shape, dtype, groups))
    a, b = pair("sparse_", (13, 9), dtype, 0.4, std=0.1)
    assert np.array_equal(a == 0, b == 0) and ((a == 0).sum(0) == 6).all()
    np.testing.assert_allclose(a, b, atol=1e-6)


@needs_torch
def test_gains():
    for name in [*init.LINEAR, "tanh", "relu", "leaky_relu", "selu"]:
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)
    for args in [("nothing",), ("leaky_relu", "a"), ("leaky_relu", True)]:
        with pytest.raises(ValueError) as ours:
            init.calculate_gain(*args)
        with pytest.raises(ValueError) as theirs:
            torch.nn.init.calculate_gain(*args)
        assert str(ours.value) == str(theirs.value)


@needs_torch
@pytest.mark.parametrize("name, shape, args", [
    ("xavier_uniform_", (3,), ()), ("kaiming_normal_", (3,), ()), ("kaiming_uniform_", (3, 3), (0, "fan")),
    ("eye_", (3,), ()), ("dirac_", (3, 3), ()), ("dirac_", (3, 3, 3), (2,)), ("orthogonal_", (3,), ()),
    ("sparse_", (3, 3, 3), (0.5,))])
def test_errors(name, shape, args):
    messages = []
    for module, tensor in [(init, from_array(np.zeros(shape, np.float32))), (torch.nn.init, torch.zeros(shape))]:
        with pytest.raises(ValueError) as raised:
            getattr(module, name)(tensor, *args)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


def test_empty_and_old_names():
    empty = from_array(np.zeros((0, 3), np.float32))
    for function in (init.kaiming_uniform_, init.kaiming_normal_):
        with pytest.warns(UserWarning, match="zero-element"):
            assert function(empty) is empty
    assert init.orthogonal_(empty) is empty
    with pytest.warns(FutureWarning, match=r"nn.init.eye` is now deprecated"):
        init.eye(from_array(np.zeros((2, 2), np.float32)))


@needs_torch
def test_signatures():
    for name in init.__all__:
        ours = list(inspect.signature(getattr(init, name)).parameters.values())
        theirs = list(inspect.signature(getattr(torch.nn.init, name)).parameters.values())
        assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs], name


def test_generator_argument():
    a, b = (init.uniform_(from_array(np.zeros(20, np.float32)), generator=Generator().manual_seed(2)) for _ in range(2))
    assert np.array_equal(a.numpy(), b.numpy())


@needs_torch
@pytest.mark.parametrize("seed", [0, 42])
def test_default_weights_equal_torch(seed):
    manual_seed(seed)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shape in [(784, 256), (1, 1), (7, 3), (16, 1)]:
            for dtype in FLOATS:
                ours, theirs = Linear(*shape, dtype=dtype), torch.nn.Linear(*shape, dtype=getattr(torch, dtype))
                assert np.array_equal(ours.weight.detach().numpy(), theirs.weight.detach())
                assert np.array_equal(ours.bias.detach().numpy(), theirs.bias.detach())
        ours, theirs = Bilinear(3, 4, 5), torch.nn.Bilinear(3, 4, 5)
        assert np.array_equal(ours.weight.detach().numpy(), theirs.weight.detach())
        assert np.array_equal(ours.bias.detach().numpy(), theirs.bias.detach())
