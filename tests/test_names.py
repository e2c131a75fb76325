"""Names, arguments and answers that torch programs expect: `out=`, NumPy's names of arguments, typed constructors, printing, switches."""
import re

import numpy as np
import pytest

import fastnn

T, I = np.array([[1.0, 2.0], [3.0, 4.0]], "f"), np.array([[1, 2], [3, 4]])

# an expression in m (torch or fastnn), t, i (a float and an integer matrix); the values must agree
SAME = """m.softmax(t, axis=1) | t.softmax(axis=0) | t.log_softmax(axis=1) | t[None].squeeze(axis=0) | t.unsqueeze(axis=-1)
m.unsqueeze(t, axis=0) | m.flip(t, dims=(0,)) | t.flip(dims=[0, 1]) | t.flip(0, 1) | t.flip((0,)) | t.sum(axis=0, keepdims=True)
m.greater(t, 2) | t.greater_equal(2) | m.less(i, 2) | t.less_equal(i) | m.not_equal(i, 2)
m.atleast_1d(t[0, 0]) | m.atleast_2d(t[0]) | m.atleast_3d(t) | m.atleast_3d(t[0]) | m.atleast_2d(t[0], t[0, 0])[1] | m.atleast_1d([t, i])[1]
m.cov(t) | m.cov(t[0]) | t.cov(correction=0) | m.cov(t, fweights=i[0]) | m.cov(t, aweights=t[0]) | m.cov(t, fweights=i[1], aweights=t[0])
t.corrcoef() | m.corrcoef(t[0]) | m.trapezoid(t) | m.trapezoid(t, dx=0.5, dim=0) | m.trapz(t, t[0]) | m.trapezoid(t, t, dim=0)
m.FloatTensor([1, 2]) | m.LongTensor([[1, 2]]) | m.ByteTensor([1]) | m.BoolTensor([True]) | m.DoubleTensor([1.5]) | t.new([1, 2])
m.zeros(3, 3).fill_diagonal_(2) | m.zeros(5, 2).fill_diagonal_(1, wrap=True) | t.clone().apply_(lambda v: v + 1) | m.Tensor([1, 2])"""

# a function and the shape of its result
OUT = """m.exp(t, out=o) | m.abs(t, out=o) | m.sigmoid(t, out=o) | m.tanh(t, out=o) | m.clamp(t, 2, 3, out=o) | m.pow(t, 2, out=o)
m.maximum(t, t.T, out=o) | m.minimum(t, t.T, out=o) | m.where(t > 2, t, t * 0, out=o) | m.mm(t, t, out=o) | m.matmul(t, t, out=o)"""


def values(m, text, **more):
    found = eval(text, {"m": m, "t": m.tensor(T), "i": m.tensor(I), **more})
    return found, np.asarray(found)


def split(text):
    return [part.strip() for line in text.splitlines() for part in line.split(" | ")]


@pytest.mark.parametrize("text", split(SAME))
def test_what_torch_says(text):
    torch = pytest.importorskip("torch")
    (_, w), (_, f) = values(torch, text), values(fastnn, text)
    assert w.dtype == f.dtype and w.shape == f.shape
    np.testing.assert_allclose(f, w, rtol=1e-6)


@pytest.mark.parametrize("text", split(OUT))
def test_results_into_out(text):
    o = fastnn.zeros(2, 2)
    found, f = values(fastnn, text, o=o)
    assert found is o
    plain = values(fastnn, text.replace(", out=o", ""))[1]
    np.testing.assert_array_equal(f, plain)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        values(fastnn, text, o=fastnn.zeros(2, 2, requires_grad=True))
    with pytest.raises(RuntimeError, match="expected shape"):
        values(fastnn, text, o=fastnn.zeros(3))


def test_results_of_other_shapes_into_out():
    t = fastnn.tensor(T)
    for function, shape in ((lambda o: fastnn.sum(t, 0, out=o), (2,)), (lambda o: fastnn.mean(t, dim=0, keepdim=True, out=o), (1, 2)),
                            (lambda o: fastnn.cat([t, t], 1, out=o), (2, 4)), (lambda o: fastnn.stack([t, t], out=o), (2, 2, 2)),
                            (lambda o: fastnn.bmm(t[None], t[None], out=o), (1, 2, 2)), (lambda o: fastnn.max(t, out=o), ())):
        o = fastnn.zeros(shape)
        assert function(o) is o and bool((o == function(None)).all()) and bool((o != 0).all())
    o = fastnn.zeros(2), fastnn.zeros(2, dtype=fastnn.int64)
    found = fastnn.max(t, 1, out=o)
    assert found.values is o[0] and o[1].tolist() == [1, 1]
    assert fastnn.min(t, 1, keepdim=True, out=(fastnn.zeros(2, 1), fastnn.zeros(2, 1).long())).indices.tolist() == [[0], [0]]


def test_typed_constructors_are_classes_of_tensors():
    assert isinstance(fastnn.zeros(2), fastnn.FloatTensor) and not isinstance(fastnn.zeros(2), fastnn.LongTensor)
    assert fastnn.LongTensor(2, 3).shape == (2, 3) and fastnn.IntTensor().shape == (0,) and fastnn.HalfTensor(1).dtype == fastnn.float16
    assert fastnn.Tensor(2, 3).shape == (2, 3) and fastnn.Tensor(3).shape == (3,) and fastnn.Tensor().shape == (0,)
    assert fastnn.Tensor(3).dtype == fastnn.float32
    assert fastnn.zeros(1, dtype=fastnn.int32).new(2, 3).dtype == fastnn.int32


def test_answers_of_a_cpu():
    t = fastnn.zeros(2)
    assert not (t.is_cuda or t.is_mps or t.is_sparse or t.is_quantized or t.is_meta or t.is_pinned() or t.is_complex()) and t.is_cpu
    assert t.pin_memory() is t and t.share_memory_() is t and t.get_device() == -1
    assert t.is_signed() and not t.byte().is_signed()
    with pytest.raises(NotImplementedError, match="float32 and float64"):
        t.bfloat16()
    for part in (fastnn.cuda, fastnn.mps, fastnn.backends.cudnn, fastnn.backends.mps, fastnn.backends.cuda):
        assert part.is_available() is False
    fastnn.backends.cudnn.benchmark = True
    fastnn.backends.cudnn.deterministic = True
    assert not fastnn.cuda.is_bf16_supported() and fastnn.cuda.memory_allocated() == 0
    with pytest.raises(AssertionError, match="CPU only"):
        fastnn.cuda.get_device_name(0)


def test_orders_of_memory_are_accepted():
    t = fastnn.rand(2, 3, 4, 4)
    assert t.to(memory_format=fastnn.channels_last) is t and t.is_contiguous(memory_format=fastnn.contiguous_format)
    assert repr(fastnn.channels_last) == "torch.channels_last" and isinstance(fastnn.preserve_format, fastnn.memory_format)
    assert fastnn.nn.Conv2d(3, 4, 3).to(memory_format=fastnn.channels_last)(t.contiguous(memory_format=fastnn.channels_last)).shape[1] == 4


def test_size_by_name():
    for function in (fastnn.zeros, fastnn.ones, fastnn.empty, fastnn.rand, fastnn.randn):
        assert function(size=(2, 3)).shape == (2, 3) and function(size=[2]).shape == (2,)


def test_older_places_of_names():
    import fastnn.backends.cudnn as cudnn
    cudnn.benchmark = False
    assert cudnn is fastnn.backends.cudnn and not cudnn.is_available() and cudnn.version() is None
    from fastnn.optim.lr_scheduler import LRScheduler, _LRScheduler
    from fastnn.utils.data import (
        DataLoader,
        Dataset,
        DistributedSampler,
        SubsetRandomSampler,
        dataloader,
        dataset,
        distributed,
        sampler,
    )
    assert dataset.Dataset is Dataset and dataloader.DataLoader is DataLoader and sampler.SubsetRandomSampler is SubsetRandomSampler
    assert distributed.DistributedSampler is DistributedSampler and _LRScheduler is LRScheduler


def test_switches():
    fastnn.use_deterministic_algorithms(True)
    assert fastnn.are_deterministic_algorithms_enabled()
    fastnn.use_deterministic_algorithms(False)
    assert not fastnn.are_deterministic_algorithms_enabled()
    fastnn.set_float32_matmul_precision("high")
    assert fastnn.get_float32_matmul_precision() == "high"
    fastnn.set_float32_matmul_precision("highest")
    with pytest.raises(RuntimeError, match="low"):
        fastnn.set_float32_matmul_precision("low")
    fastnn.set_default_device("cpu")
    with pytest.raises(RuntimeError, match="CPU only"):
        fastnn.set_default_device("cuda")
    assert fastnn.get_default_device().type == "cpu" and fastnn.get_num_interop_threads() == 1


@pytest.mark.parametrize("text", ["s[1:]", "s[::-1]", "s[-1]", "s + (5,)", "(5,) + s", "s * 2", "2 * s", "s[:2].numel()", "s[:0].numel()"])
def test_shapes_are_sizes(text):
    torch = pytest.importorskip("torch")
    wanted, found = (eval(text, {"s": m.zeros(2, 3, 4).shape}) for m in (torch, fastnn))
    assert repr(found) == repr(wanted) and type(found).__name__ == type(wanted).__name__
    with pytest.raises(TypeError):
        [5] + fastnn.zeros(2).shape


def test_places_of_names_that_programs_import():
    import fastnn.backends.cudnn as cudnn
    import fastnn.cuda.amp as amp
    from fastnn.cuda.amp import GradScaler, autocast
    with autocast(True, dtype=fastnn.float16), amp.autocast():
        assert fastnn.ones(2).dtype == fastnn.float32
    assert GradScaler(1024.0).scale(3) == 3 and isinstance(GradScaler(), fastnn.amp.GradScaler) and fastnn.cuda.amp is amp
    cudnn.benchmark = True
    assert fastnn.backends.cudnn.benchmark and not cudnn.is_available()
    cudnn.benchmark = False


def test_names_of_arguments_that_do_not_exist_are_refused():
    x = fastnn.ones(2, 3)
    for call in (lambda: x.argmax(axs=1), lambda: fastnn.cat([x], axes=0), lambda: x.var(names=1), lambda: x.sort(keepdims=True)):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            call()
    with pytest.raises(TypeError, match="both 'dim' and its other name 'axis'"):
        x.amax(dim=0, axis=0)


def test_mixed_precision_changes_nothing():
    layer, x = fastnn.nn.Linear(2, 1), fastnn.ones(3, 2)
    plain, scaler = layer(x), fastnn.cuda.amp.GradScaler()
    optimizer, before = fastnn.optim.SGD(layer.parameters(), lr=0.5), layer.bias.item()
    with fastnn.autocast("cuda", dtype=fastnn.float16):
        y = layer(x)
    assert y.dtype == fastnn.float32 and bool((y == plain).all())
    scaler.scale(y.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert layer.bias.item() == pytest.approx(before - 1.5)
    assert fastnn.amp.autocast("cpu")(lambda: 3)() == 3


@pytest.fixture
def printing():
    yield
    fastnn.set_printoptions(profile="default")


@pytest.mark.parametrize("options, data", [
    ({"precision": 2}, [3.14159, 100.0]), ({"sci_mode": False}, [1e-8, 1.0]), ({"sci_mode": True}, [0.25, -100.0]),
    ({"threshold": 5, "edgeitems": 2}, list(range(20))), ({"profile": "short"}, [0.123456, 1.0]), ({"sci_mode": False}, [1, 2]),
    ({"threshold": 5, "edgeitems": 1}, [[1.5, 2.5, 3.5]] * 4)])
def test_printing(options, data, printing):
    torch = pytest.importorskip("torch")
    try:
        torch.set_printoptions(**options)
        wanted = repr(torch.tensor(data))
    finally:
        torch.set_printoptions(profile="default")
    fastnn.set_printoptions(**options)
    assert "".join(repr(fastnn.tensor(data)).split()) == "".join(wanted.split())


@pytest.mark.parametrize("shape", [(1,), (27,), (2, 30), (2, 3, 19), (1, 2, 1, 13)])
@pytest.mark.parametrize("kind", ["normal", "double", "small", "large", "bool"])
def test_lines_break_where_torchs_do(shape, kind):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    data = {"normal": rng.standard_normal(shape, np.float32), "double": rng.standard_normal(shape), "small": rng.integers(0, 9, shape),
            "large": rng.integers(-10**6, 10**6, shape).astype("int32"), "bool": rng.random(shape) < 0.5}[kind]
    ours, theirs = (re.sub(r",\s+dtype=.*", "", repr(m.tensor(data))) for m in (fastnn, torch))      # our dtypes' names are shorter
    assert ours == theirs
    if kind == "normal":
        assert repr(fastnn.tensor(data, requires_grad=True)) == repr(torch.tensor(data, requires_grad=True))


def test_a_number_in_an_f_string():
    t = fastnn.tensor(2.5)
    assert f"{t}" == "2.5" and f"{t:.2f}" == "2.50" and f"{t * 2}" == "5.0" and f"{fastnn.tensor([1])}" == "tensor([1])"
    assert f"{fastnn.nn.Parameter(t)}".startswith("Parameter containing:")


def test_fill_diagonal_takes_the_gradient_away():
    x = fastnn.ones(2, 2, requires_grad=True)
    (x * 3).fill_diagonal_(7).sum().backward()
    assert x.grad.tolist() == [[0.0, 3.0], [3.0, 0.0]]


def test_linear_in_half_says_what_it_needs():
    x = fastnn.ones(2, 2).half()
    with pytest.raises(NotImplementedError, match="'Half' .needs float32 or float64"):
        fastnn.nn.functional.linear(x, x)
    with pytest.raises(RuntimeError, match="Half and Float"):
        fastnn.nn.functional.linear(x, fastnn.ones(2, 2))
