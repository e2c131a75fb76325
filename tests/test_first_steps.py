"""What programs written for torch ask for in their first lines: devices, dtypes, constants, NumPy's names, how a tensor prints."""
import copy
import math
import pickle

import numpy as np
import pytest

import fastnn as fn
from fastnn import nn


def test_device():
    device = fn.device("cuda" if fn.cuda.is_available() else "cpu")
    x = fn.ones(2).to(device)
    assert x.device == device == "cpu" == fn.device("cpu") and x.device.type == "cpu" and x.device.index is None
    assert repr(device) == "device(type='cpu')" and repr(fn.device("cpu", 0)) == repr(fn.device("cpu:0")) == "device(type='cpu', index=0)"
    assert nn.Linear(2, 3, device=device)(x.to(x.device)).device == device and fn.zeros(2, device=fn.device("cpu:0")).sum() == 0
    assert nn.Linear(2, 3).to(device).weight.device == device and {device: 1}["cpu"] == 1
    for other in (copy.deepcopy(device), pickle.loads(pickle.dumps(fn.device("cpu:0")))):
        assert isinstance(other, fn.device) and other.type == "cpu"


def test_devices_that_are_not_there():
    assert fn.device("cuda:1").index == 1
    for wrong in ("gpu", "cpu:", "cpu:x", ""):
        with pytest.raises(RuntimeError):
            fn.device(wrong)
    with pytest.raises(RuntimeError, match="cuda"):
        fn.ones(2, device=fn.device("cuda"))
    with pytest.raises(RuntimeError):
        fn.ones(2).to(fn.device("cuda"))
    assert not fn.cuda.is_available() and fn.cuda.device_count() == 0 and not fn.accelerator.is_available()
    assert fn.accelerator.current_accelerator() is None
    fn.cuda.manual_seed_all(1)


def test_dtypes_and_constants():
    x = fn.ones(2)
    for name in ("half", "float16", "short", "int16", "int8", "float32", "long"):
        assert x.to(getattr(fn, name)).dtype == getattr(fn, name) and isinstance(getattr(fn, name), fn.dtype)
    assert x.half().dtype == fn.float16 and x.half().float().dtype == fn.float32
    assert fn.finfo(fn.float32).eps == 2.0**-23 and fn.iinfo(fn.int64).max == 2**63 - 1
    assert (fn.inf, fn.pi, fn.e) == (math.inf, math.pi, math.e) and math.isnan(fn.nan) and x[:, fn.newaxis].shape == (2, 1)
    assert x.masked_fill(x > 0, fn.finfo(x.dtype).min).dtype == fn.float32 and x.masked_fill(x > 0, -fn.inf).tolist() == [-fn.inf] * 2


REDUCTIONS = ("sum mean prod std var max min amax amin argmax argmin any all nansum nanmean logsumexp median norm").split()


@pytest.mark.parametrize("name", REDUCTIONS)
def test_numpys_names(name):
    x = fn.arange(6.0).reshape(2, 3)
    def first(y):
        return y[0] if isinstance(y, tuple) else y
    want = first(getattr(x, name)(dim=1, keepdim=True))
    for got in (getattr(x, name)(axis=1, keepdims=True), getattr(fn, name)(x, axis=1, keepdims=True)):
        assert first(got).shape == (2, 1) and first(got).tolist() == want.tolist()
    if name not in ("sum", "mean"):
        with pytest.raises(TypeError, match="both"):
            getattr(x, name)(dim=1, axis=1)


def test_numpys_names_elsewhere():
    x = fn.arange(6.0).reshape(2, 3)
    assert fn.cat([x, x], axis=1).shape == fn.concatenate([x, x], axis=1).shape == (2, 6) and fn.stack([x, x], axis=1).shape == (2, 2, 3)
    assert x.cumsum(axis=1).tolist() == x.cumsum(1).tolist() and x.sort(axis=0).values.tolist() == x.tolist()
    assert [part.shape for part in x.split(1, axis=1)] == [(2, 1)] * 3


@pytest.mark.parametrize(("shape", "arguments"), [((8,), (0, 3, 2)), ((3, 7), (1, 2, 1)), ((5, 3, 2), (0, 2, 3)), ((4, 6), (-1, 6, 1)),
                                                  ((), (0, 1, 1)), ((4,), (0, 0, 1)), ((0, 3), (1, 2, 1))])
def test_unfold(shape, arguments):
    torch = pytest.importorskip("torch", reason="compares with torch, which is not installed")
    data = np.random.default_rng(0).standard_normal(shape)
    x, other = fn.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    got, want = x.unfold(*arguments), other.unfold(*arguments)
    np.testing.assert_array_equal(got.detach().numpy(), want.detach().numpy())
    weight = np.random.default_rng(1).standard_normal(got.shape)
    (got * fn.tensor(weight)).sum().backward()
    (want * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), other.grad.numpy())


def test_unfold_is_a_view_and_refuses_what_does_not_fit():
    x = fn.zeros(5)
    x.unfold(0, 2, 2)[1, 0] = 7
    assert x.tolist() == [0, 0, 7, 0, 0]
    for arguments in ((0, 6, 1), (0, -1, 1), (0, 2, 0)):
        with pytest.raises(RuntimeError):
            x.unfold(*arguments)
    with pytest.raises(IndexError):
        x.unfold(1, 2, 1)


PRINTED = [([True], "tensor([True])"), ([True, False], "tensor([ True, False])"), ([1e10, 1.0], "tensor([1.0000e+10, 1.0000e+00])"),
           (1e10, "tensor(1.0000e+10)"), ([1e5, 20.0], "tensor([1.0000e+05, 2.0000e+01])"), ([1e6], "tensor([1000000.])"),
           ([math.nan, 1e9, math.inf], "tensor([       nan, 1.0000e+09,        inf])"), ([1000.5, 1.5], "tensor([1000.5000,    1.5000])"),
           ([0.0, 1e-9], "tensor([0.0000e+00, 1.0000e-09])"), ([1.0, 2.0], "tensor([1., 2.])"),
           ([10**12, 1], None), ([[1.5, 2], [3, 4]], None),
           (list(range(2000)), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])")]


@pytest.mark.parametrize(("data", "text"), PRINTED)
def test_prints_as_torch_does(data, text):
    got = repr(fn.tensor(data))
    assert text is None or got == text
    try:
        import torch
    except ImportError:
        return
    assert got == repr(torch.tensor(data))


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda: fn.cat([]), ValueError, "non-empty"), (lambda: fn.stack([]), RuntimeError, "non-empty"),
    (lambda: fn.tensor("a"), TypeError, "invalid data type 'str'"), (lambda: fn.tensor(["a"]), ValueError, "too many dimensions 'str'"),
    (lambda: fn.tensor(None), RuntimeError, "Could not infer dtype of NoneType"),
    (lambda: fn.tensor([1.0, None]), RuntimeError, "Could not infer dtype of NoneType"),
    (lambda: fn.tensor([[object()]]), RuntimeError, "Could not infer dtype of object"),
    (lambda: nn.GRU(3, 4, proj_size=2), ValueError, "only supported for LSTM"),
    (lambda: nn.RNN(3, 4, proj_size=2), ValueError, "only supported for LSTM")])
def test_kinds_of_errors(call, kind, words):
    with pytest.raises(kind, match=words) as caught:
        call()
    assert caught.type is kind


OUT = {"add": lambda **o: fn.add(fn.ones(2, 2), 2, **o), "sub": lambda **o: fn.sub(fn.ones(2, 2), fn.ones(2), **o),
       "mul": lambda **o: fn.mul(fn.ones(2, 2), 3, **o), "div": lambda **o: fn.div(fn.ones(2, 2), 4, **o),
       "matmul": lambda **o: fn.matmul(fn.ones(2, 3), fn.ones(3, 2), **o), "ones": lambda **o: fn.ones(2, 2, **o),
       "zeros": lambda **o: fn.zeros(2, 2, **o), "full": lambda **o: fn.full((2, 2), 5.0, **o), "eye": lambda **o: fn.eye(2, **o),
       "norm": lambda **o: fn.norm(fn.ones(2, 2, 2), dim=0, **o)}


@pytest.mark.parametrize("name", OUT)
def test_out(name):
    want = OUT[name]()
    for dtype in (fn.float32, fn.float64):
        out = fn.full((2, 2), -7.0, dtype=dtype)
        assert OUT[name](out=out) is out and out.dtype == dtype and out.tolist() == want.to(dtype).tolist()
    with pytest.raises(RuntimeError, match="shape"):
        OUT[name](out=fn.empty(3))
    with pytest.raises(TypeError, match="out"):
        OUT[name](out=np.zeros((2, 2), np.float32))


def test_out_along_ranges_and_where_it_is_refused():
    out = fn.empty(3, dtype=fn.int64)
    assert fn.arange(3, out=out) is out and out.tolist() == [0, 1, 2]
    assert fn.linspace(0, 1, 3, out=fn.empty(3)).tolist() == [0, 0.5, 1]
    with pytest.raises(RuntimeError, match="can't be cast"):
        fn.add(fn.ones(3), fn.ones(3), out=out)
    x = fn.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        fn.mul(x, 2, out=fn.empty(3))
    with fn.no_grad():
        assert fn.mul(x, 2, out=fn.empty(3)).tolist() == [2, 2, 2]
