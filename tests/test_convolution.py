"""Convolution against torch: all three passes, odd geometry, both dtypes, every memory order; errors; threads."""
import itertools

import numpy as np
import pytest

import fastnn
from fastnn import backends, nn
from fastnn.core.tensor import from_array
from fastnn.kernels import native
from fastnn.nn import functional as F
from fastnn.nn.utils.fusion import fuse_linear_bn_eval
from fastnn.utils import fuse_conv_bn_eval

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def leaf(a):
    t = from_array(a)
    t.requires_grad = True
    return t


def ones(*shape):
    return from_array(np.ones(shape, np.float32))


def close(got, want, tolerance):
    """Largest error relative to the scale of the result."""
    want = want.detach().numpy()
    assert got.shape == want.shape and got.dtype == want.dtype
    assert np.abs(got - want).max(initial=0) <= tolerance * max(1e-30, np.abs(want).max(initial=0))


def compare(name, shape, weight_shape, dtype="float64", bias=True, order="native", scale=1, **options):
    """One function beside torch's of the same name: value and all gradients."""
    rng = np.random.RandomState(0)
    x, w = rng.randn(*shape).astype(dtype), rng.randn(*weight_shape).astype(dtype)
    outputs = weight_shape[1] * options.get("groups", 1) if "transpose" in name else weight_shape[0]
    b = rng.randn(outputs).astype(dtype) if bias else None
    theirs = [torch.tensor(a, requires_grad=True) if a is not None else None for a in (x, w, b)]
    want = getattr(torch.nn.functional, name)(*theirs, **options)
    g = rng.randn(*want.shape).astype(dtype)
    want.backward(torch.tensor(g))
    if order == "channels_last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
        w = np.transpose(np.ascontiguousarray(np.transpose(w)))
    elif order == "strided":
        x, w = np.repeat(x, 2, -1)[..., ::2], np.repeat(w, 2, 0)[::2]
    ours = [leaf(a) if a is not None else None for a in (x, w, b)]
    got = getattr(F, name)(*ours, **options)
    close(got.detach().numpy(), want, scale * TOLERANCE[dtype])
    got.backward(from_array(g))
    for mine, other in zip(ours, theirs):
        if other is not None:
            close(mine.grad.numpy(), other.grad, scale * TOLERANCE[dtype])


GEOMETRY = [
    # spatial, channels in, out, kernel, options
    ((11,), 4, 6, (3,), dict(stride=2, padding=2, dilation=2, groups=2)),
    ((400,), 2, 3, (9,), dict(padding=4)),
    ((7, 9), 3, 5, (3, 2), dict(stride=(2, 1), padding=(0, 2))),
    ((7, 9), 17, 33, (3, 3), dict(padding=1)),
    ((9, 7), 20, 70, (3, 3), dict(stride=2, padding=1)),
    ((8, 8), 18, 19, (2, 2), dict(padding="same")),
    ((8, 9), 16, 16, (1, 1), dict()),
    ((8, 9), 20, 33, (1, 1), dict(stride=2)),
    ((31, 33), 70, 100, (1, 1), dict()),
    ((23, 25), 200, 67, (1, 1), dict()),
    ((19, 29), 270, 130, (1, 1), dict()),
    ((11, 9), 530, 270, (1, 1), dict()),
    ((5, 7), 2100, 70, (1, 1), dict()),
    ((9, 8), 800, 200, (1, 1), dict(stride=2, groups=2)),
    ((13, 12), 1, 7, (5, 5), dict()),
    ((13, 12), 3, 20, (7, 7), dict(stride=2, padding=3)),
    ((40, 12), 2, 9, (5, 4), dict(dilation=(1, 2), padding=2)),
    ((9, 9), 33, 33, (3, 3), dict(padding=1, groups=33)),
    ((9, 10), 20, 20, (3, 3), dict(stride=2, padding=1, groups=20)),
    ((9, 10), 6, 12, (3, 3), dict(dilation=2, padding=2, groups=6)),
    ((9, 10), 34, 34, (3, 3), dict(padding=1, groups=2)),
    ((5, 5), 2, 3, (5, 5), dict(padding=4, dilation=3, stride=3)),
    ((4, 5, 6), 3, 4, (2, 3, 1), dict(stride=(1, 2, 1), padding=(1, 0, 2))),
    ((5, 6, 7), 17, 18, (3, 3, 3), dict(padding=1, dilation=(1, 2, 1))),
    ((12, 13), 16, 16, (3, 3), dict(padding=(2, 0))),
    ((4, 4), 40, 24, (3, 3), dict(padding=1)),
]


@pytest.mark.parametrize("order", ["native", "channels_last", "strided"])
@pytest.mark.parametrize("case", range(len(GEOMETRY)))
def test_forward_and_gradients(case, order):
    spatial, channels, outputs, kernel, options = GEOMETRY[case]
    for dtype, batch in (("float64", 2), ("float32", 3)):
        compare(f"conv{len(spatial)}d", (batch, channels, *spatial), (outputs, channels // options.get("groups", 1), *kernel), dtype,
                order=order, scale=10, **options)


TRANSPOSED = [
    ((5,), 4, 3, (3,), dict(stride=2, padding=1, output_padding=1)),
    ((5, 6), 17, 19, (4, 4), dict(stride=2, padding=1)),
    ((5, 6), 4, 3, (3, 2), dict(stride=2, padding=1, output_padding=(1, 0), groups=2)),
    ((5, 6), 18, 1, (3, 3), dict(stride=3, groups=18, dilation=2)),
    ((6, 6), 16, 16, (3, 3), dict(padding=1)),
    ((20, 21), 16, 2, (4, 4), dict(stride=2, padding=1)),
    ((3, 4), 3, 2, (2, 2), dict(stride=4)),
    ((3, 4, 3), 4, 3, (3, 3, 3), dict(stride=2, padding=1, output_padding=1, groups=2, dilation=2)),
]


@pytest.mark.parametrize("case", range(len(TRANSPOSED)))
def test_transposed(case):
    spatial, channels, outputs, kernel, options = TRANSPOSED[case]
    for dtype in ("float64", "float32"):
        compare(f"conv_transpose{len(spatial)}d", (2, channels, *spatial), (channels, outputs, *kernel), dtype, scale=10, **options)


def test_without_batch_axis_without_bias_and_empty_batch():
    compare("conv2d", (3, 7, 8), (5, 3, 3, 3), bias=False)
    compare("conv_transpose1d", (3, 7), (3, 5, 4), stride=2)
    compare("conv2d", (0, 3, 7, 8), (5, 3, 3, 3))
    compare("conv_transpose2d", (0, 3, 7, 8), (3, 5, 3, 3))


# Winograd over the phases of a stride: tails of tiles, several units of a row, strides of one and two, every channel count.
PHASED = [
    ((1, 3, 61, 53), 64, (7, 7), dict(stride=2, padding=3)),
    ((3, 1, 42, 47), 33, (7, 8), dict(stride=2, padding=(0, 2))),
    ((3, 2, 33, 39), 16, (8, 7), dict(stride=2)),
    ((1, 5, 40, 31), 70, (6, 7), dict(stride=2, padding=5)),
    ((1, 4, 18, 290), 20, (4, 7), dict(stride=(1, 2), padding=1)),
    ((3, 6, 29, 30), 17, (4, 4), dict(padding=2)),
]


@pytest.mark.parametrize("case", range(len(PHASED)))
def test_winograd_over_phases(case):
    """Beside the sums in double, with the algorithm and without: the bits tell that both ways were taken."""
    shape, outputs, kernel, options = PHASED[case]
    rng = np.random.RandomState(case)
    x, b = np.repeat(rng.randn(*shape).astype("f"), 2, -1)[..., ::2], rng.randn(outputs).astype("f")
    w = rng.randn(outputs, shape[1], *kernel).astype("f")
    theirs = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b)]
    want = torch.nn.functional.conv2d(*theirs, **options)
    g = rng.randn(*want.shape).astype("f")
    want.backward(torch.tensor(g, dtype=torch.float64))
    results = {}
    try:
        for backends.winograd in (True, False):
            for order in ("native", "channels_last"):
                a = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if order == "channels_last" else x
                ours = [leaf(a), leaf(w), leaf(b)]
                got = F.conv2d(*ours, **options)
                got.backward(from_array(g))
                pairs = [(got.detach().numpy(), want.detach().numpy()), *((o.grad.numpy(), t.grad.numpy()) for o, t in zip(ours, theirs))]
                for mine, other in pairs:
                    assert np.abs(mine - other).max() <= (2e-5 if backends.winograd else 4e-6) * np.abs(other).max()
                results[backends.winograd] = [mine for mine, _ in pairs]
    finally:
        backends.winograd = True
    taken = not np.array_equal(results[True][0], results[False][0])
    assert taken or (native.instruction_set() == "avx2" and case not in (0, 5))     # with AVX2 the small ones are summed directly


@pytest.mark.parametrize("kernel", [(3, 3), (2, 3), (1, 3)])
@pytest.mark.parametrize("padding", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_depthwise_at_the_edges(kernel, padding):
    for height, width in ((3, 1), (1, 2), (3, 3), (4, 5), (9, 12)):
        if height + 2 * padding[0] >= kernel[0] and width + 2 * padding[1] >= kernel[1]:
            for channels in (2, 16, 35):
                compare("conv2d", (2, channels, height, width), (channels, 1, *kernel), padding=padding, groups=channels,
                        order="channels_last")


def test_padding_takes_no_part_in_the_weight_gradient():
    w = leaf(np.ones((20, 1, 3, 3), "f"))
    g = np.zeros((1, 20, 4, 4), "f")
    g[..., 0] = np.inf
    F.conv2d(ones(1, 20, 4, 4), w, padding=1, groups=20).backward(from_array(g))
    assert not np.isnan(w.grad.numpy()[..., 0]).any() and np.isinf(w.grad.numpy()[..., 1:]).all()


def test_winograd_switch():
    try:
        for backends.winograd in (True, False):
            for case in ((2, 32, 17, 14), (1, 64, 7, 7), (3, 16, 30, 9)):
                compare("conv2d", case, (32, case[1], 3, 3), "float32", padding=1, scale=20 if backends.winograd else 1)
                compare("conv2d", case, (32, case[1], 3, 3), "float64", padding=1, scale=100)
                compare("conv2d", case, (24, case[1], 3, 3), "float32", padding=0, scale=20 if backends.winograd else 1)
    finally:
        backends.winograd = True


# Groups of tiles with all weights transformed before; strips of output channels, each with its own weights, also in pieces.
FUSED = [(3, 16, 29, 14, 17), (1, 33, 30, 31, 40), (2, 24, 5, 6, 31), (1, 64, 8, 8, 64), (1, 70, 9, 7, 131),
         (1, 520, 8, 7, 64), (4, 50, 3, 4, 70)]


@pytest.mark.parametrize("padding", [0, 1, (2, 1)])
@pytest.mark.parametrize("case", range(len(FUSED)))
def test_winograd_in_cache(case, padding):
    n, channels, height, width, outputs = FUSED[case]
    compare("conv2d", (n, channels, height, width), (outputs, channels, 3, 3), "float32", padding=padding, scale=20)
    compare("conv2d", (n, channels, height, width), (outputs, channels, 3, 3), "float32", padding=padding, scale=20, bias=False,
            order="channels_last")
    compare("conv_transpose2d", (n, channels, height, width), (channels, outputs, 3, 3), "float32", padding=padding, scale=20)


def test_result_does_not_depend_on_threads():
    rng = np.random.RandomState(0)
    cases = [((4, 32, 20, 20), (40, 32, 3, 3), {}), ((2, 1, 40, 40), (9, 1, 5, 5), {}), ((2, 48, 30, 30), (48, 1, 3, 3), dict(groups=48)),
             ((8, 64, 12, 12), (96, 64, 1, 1), {}), ((3, 300, 20, 21), (150, 300, 1, 1), {}), ((3, 530, 11, 9), (270, 530, 1, 1), {}),
             ((3, 24, 31, 33), (40, 24, 3, 3), dict(stride=2)), ((3, 3, 61, 63), (40, 3, 7, 7), dict(stride=2, padding=3)),
             ((1, 64, 9, 9), (130, 64, 3, 3), dict(padding=1)), ((1, 200, 8, 8), (130, 200, 3, 3), dict(padding=1))]
    before = native.get_num_threads()
    try:
        for shape, weight_shape, options in cases:
            x, w = rng.randn(*shape).astype("f"), rng.randn(*weight_shape).astype("f")
            results = []
            for threads in (1, 2, 3):
                native.set_num_threads(threads)
                a, b = leaf(x), leaf(w)
                y = F.conv2d(a, b, None, **options)
                y.backward(from_array(np.ones(y.shape, "f")))
                results.append((y.detach().numpy(), a.grad.numpy(), b.grad.numpy()))
            for first, other in itertools.product(results[:1], results[1:]):
                assert all(np.array_equal(p, q) for p, q in zip(first, other))
    finally:
        native.set_num_threads(before)


@pytest.mark.parametrize("shape", [(3, 13, 200, 97), (2, 17, 330, 40), (5, 7, 40, 300)])
@pytest.mark.parametrize("threads", [1, 2])
def test_pointwise_sums_that_are_not_finite_or_tiny(shape, threads):
    """Where the machine multiplies parts of numbers, such sums are made without."""
    N, size, I, O = shape
    rng = np.random.RandomState(0)
    x, dy = (rng.standard_normal((N, size, size, C)).astype(np.float32) for C in (I, O))
    weight = rng.standard_normal((I, O)).astype(np.float32)
    x[0, 0, 0, 3], dy[0, 1, 1, 5], x[1, :, :, :], dy[..., 9] = np.inf, np.nan, 1e-30 * x[1], 1e-30 * dy[..., 9]
    before = native.get_num_threads()
    try:
        native.set_num_threads(threads)
        inputs = [leaf(np.moveaxis(x, -1, 1)), leaf(weight.T[:, :, None, None])]
        y = F.conv2d(*inputs)
        y.backward(from_array(np.moveaxis(dy, -1, 1)))
    finally:
        native.set_num_threads(before)
    x, dy, weight = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (x, dy, weight))
    with np.errstate(invalid="ignore"):
        pairs = [(np.moveaxis(y.detach().numpy(), 1, -1).reshape(-1, O), x @ weight),
                 (np.moveaxis(inputs[0].grad.numpy(), 1, -1).reshape(-1, I), dy @ weight.T),
                 (inputs[1].grad.numpy().reshape(O, I), dy.T @ x)]
    for got, want in pairs:
        finite = np.isfinite(want)
        assert (np.isfinite(got) == finite).all()
        for rows in (got, want):
            rows[~finite] = 0
        scale = np.abs(want).max(1, keepdims=True)              # of each row: those of the tiny image are tiny
        assert (np.abs(got - want) <= 2e-5 * scale + 1e-42).all()


def test_batch_norm_joined_to_a_pointwise_convolution():
    model = nn.Sequential(nn.Conv2d(160, 96, 1), nn.BatchNorm2d(96), nn.ReLU()).eval()
    model[1].running_mean.copy_(ones(96) * 0.3)
    x = from_array(np.random.RandomState(0).standard_normal((3, 160, 9, 9)).astype(np.float32))
    with fastnn.no_grad():
        assert (fastnn.compile(model)(x).numpy() == model(x).numpy()).all()


def test_channels_last_travels():
    y = F.conv2d(ones(2, 3, 6, 6), ones(4, 3, 3, 3))
    assert y.stride() == (4 * 4 * 4, 1, 4 * 4, 4)


ERRORS = [
    (lambda: F.conv2d(ones(2, 3, 8, 8), ones(16, 8, 3, 3)),
     r"Given groups=1, weight of size \[16, 8, 3, 3\], expected input\[2, 3, 8, 8\] to have 8 channels, but got 3 channels instead"),
    (lambda: F.conv2d(ones(3, 8), ones(16, 8, 3, 3)), r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d"),
    (lambda: F.conv2d(ones(2, 3, 2, 2), ones(4, 3, 3, 3)), r"Kernel size can't be greater than actual input size"),
    (lambda: F.conv2d(ones(2, 3, 8, 8), ones(4, 3, 3, 3), stride=0),
     r"non-positive stride is not supported, got stride=\[0, 0\] \(conv2d: input \["),
    (lambda: F.conv2d(ones(2, 3, 8, 8), ones(4, 3, 3, 3), padding=-1), "negative padding is not supported, got padding="),
    (lambda: F.conv1d(ones(2, 3, 8), ones(4, 3, 3), dilation=0), r"non-positive dilation .* dilation=\[0\] \(conv1d"),
    (lambda: F.conv3d(ones(2, 3, 4, 4, 4), ones(4, 3, 3, 3, 3), groups=0), r"non-positive groups .* groups=0 \(conv3d"),
    (lambda: F.conv_transpose1d(ones(2, 3, 8), ones(4, 3, 3)), r"expected input\[2, 3, 8\] to have 4 channels.* \(conv_transpose1d\)"),
    (lambda: nn.Conv2d(-3, 4, 3), "negative dimension: Conv2d of in_channels=-3"),
    (lambda: nn.ConvTranspose1d(3, 4, -1), r"negative dimension: ConvTranspose1d of .*kernel_size=\(-1,\)"),
    (lambda: nn.BatchNorm2d(-3), "negative dimension -3"),
    (lambda: nn.LocalResponseNorm(0)(ones(1, 3, 4)), "local_response_norm: size should be greater than zero"),
    (lambda: F.conv2d(ones(2, 3, 8, 8), ones(4, 3, 3, 3), stride=(1, 1, 1)), "expected stride to be a single integer"),
    (lambda: F.conv2d(ones(2, 3, 8, 8), ones(4, 3, 3, 3), stride=2, padding="same"), "padding='same' is not supported"),
    (lambda: F.conv2d(ones(2, 3, 8, 8), ones(4, 3, 3, 3), ones(5)), "expected bias to be 1-dimensional with 4"),
    (lambda: F.conv2d(ones(2, 4, 8, 8), ones(5, 2, 3, 3), groups=2), "expected weight to be divisible by 2"),
    (lambda: F.conv2d(ones(2, 3, 8, 8), from_array(np.ones((4, 3, 3, 3)))), "should be the same"),
    (lambda: F.conv_transpose2d(ones(2, 3, 4, 4), ones(3, 2, 3, 3), output_padding=1), "output padding must be smaller"),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors(case):
    call, message = ERRORS[case]
    with pytest.raises(RuntimeError, match=message):
        call()


def test_kernel_size_is_whole():
    with pytest.raises(TypeError, match="Conv2d: kernel_size must be an int or 2 ints"):
        nn.Conv2d(3, 4, 2.5)


def test_layers():
    assert repr(nn.Conv2d(4, 5, 3, padding="same", bias=False, dilation=2)) == (
        "Conv2d(4, 5, kernel_size=(3, 3), stride=(1, 1), padding=same, dilation=(2, 2), bias=False)")
    assert repr(nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2)) == (
        "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1), groups=2)")
    assert nn.ConvTranspose2d(4, 5, 3, stride=2)(ones(1, 4, 3, 3), output_size=(8, 7)).shape == (1, 5, 8, 7)
    for call, message in ((lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels must be divisible by groups"),
                          (lambda: nn.Conv2d(4, 4, 3, padding="x"), "Invalid padding string"),
                          (lambda: nn.ConvTranspose2d(4, 5, 3, stride=2)(ones(1, 4, 3, 3), output_size=(10, 10)),
                           "requested an output size")):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("layer, norm, shape", [
    (lambda: nn.Conv2d(3, 6, 3, padding=1), lambda: nn.BatchNorm2d(6), (2, 3, 7, 8)),
    (lambda: nn.Conv1d(4, 6, 3, groups=2, bias=False), lambda: nn.BatchNorm1d(6, affine=False), (2, 4, 9)),
    (lambda: nn.ConvTranspose2d(3, 6, 3), lambda: nn.BatchNorm2d(6), (2, 3, 4, 5)),
    (lambda: nn.ConvTranspose2d(8, 6, 3, groups=2), lambda: nn.BatchNorm2d(6), (2, 8, 4, 5)),
    (lambda: nn.Linear(5, 6), lambda: nn.BatchNorm1d(6), (7, 5)),
])
def test_fusion_with_batch_norm(layer, norm, shape):
    fastnn.manual_seed(0)
    model = nn.Sequential(layer(), norm())
    for _ in range(3):
        model(fastnn.randn(*shape))         # running statistics
    model.eval()
    x = fastnn.randn(*shape)
    if isinstance(model[0], nn.Linear):
        fused = fuse_linear_bn_eval(model[0], model[1])
    else:
        fused = fuse_conv_bn_eval(model[0], model[1], isinstance(model[0], nn.ConvTranspose2d))
    np.testing.assert_allclose(fused(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(AssertionError):
        fuse_conv_bn_eval(model[0].train(), model[1])


def test_fusion_of_other_channels_is_refused():
    for conv, transpose in ((nn.Conv2d(3, 4, 3), False), (nn.ConvTranspose2d(3, 4, 3), True)):
        with pytest.raises(RuntimeError, match="batch normalisation of 5 channels does not follow a convolution with weights"):
            fuse_conv_bn_eval(conv.eval(), nn.BatchNorm2d(5).eval(), transpose)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_and_state(mode):
    theirs = torch.nn.Conv2d(3, 5, (3, 2), padding=(1, 2), padding_mode=mode)
    ours = nn.Conv2d(3, 5, (3, 2), padding=(1, 2), padding_mode=mode)
    ours.load_state_dict({name: from_array(t.numpy()) for name, t in theirs.state_dict().items()})
    x = np.random.RandomState(0).randn(2, 3, 6, 7).astype("f")
    close(ours(from_array(x)).detach().numpy(), theirs(torch.tensor(x)), 1e-5)
    assert ours.weight.stride()[0] == 1         # the memory order (kH, kW, I, O) survives loading
