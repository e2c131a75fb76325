"""Pooling against torch: random windows of every kind and rank, indices, NaN, gradients; errors; threads."""
import random

import numpy as np
import pytest

from fastnn.core.tensor import from_array
from fastnn.kernels import native
from fastnn.ops import pooling, unpooling

torch = pytest.importorskip("torch")


def leaf(a):
    t = from_array(a)
    t.requires_grad = True
    return t


def some_case(seed):
    """A function name, an input and arguments that torch accepts."""
    r = random.Random(seed)
    rank, dtype = r.choice([1, 2, 2, 3]), r.choice(["float32", "float64"])
    shape = (r.choice([1, 3]), r.choice([1, 3, 16, 17, 70]), *[r.choice([3, 5, 8, 12]) for _ in range(rank)])
    x = np.random.RandomState(seed).randn(*shape).astype(dtype)
    if r.random() < 0.4:
        x = np.round(x)                     # ties
    if r.random() < 0.2:
        x.flat[r.randrange(x.size)] = np.nan
    kernel, stride = [r.choice([1, 2, 3]) for _ in range(rank)], [r.choice([1, 2, 3]) for _ in range(rank)]
    padding = [r.choice([0, k // 2]) for k in kernel]
    kind = r.choice(["max", "avg", "adaptive_avg", "adaptive_max"])
    ceil_mode = r.random() < 0.5
    if kind == "max":
        options = (kernel, stride, padding, r.choice([1, 1, 2]), ceil_mode, True)
    elif kind == "avg":
        options = (kernel, stride, padding, ceil_mode, r.random() < 0.5) + ((r.choice([None, 3]),) if rank > 1 else ())
    else:
        options = ([r.choice([1, 2, 3, 5]) for _ in range(rank)],) + ((True,) if kind == "adaptive_max" else ())
    return f"{kind}_pool{rank}d", x, options


@pytest.mark.parametrize("seed", range(120))
def test_against_torch(seed):
    name, x, options = some_case(seed)
    theirs, ours = torch.tensor(x, requires_grad=True), leaf(x)
    try:
        want = getattr(torch.nn.functional, name)(theirs, *options)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            getattr(pooling, name)(ours, *options)
        return
    got = getattr(pooling, name)(ours, *options)
    if isinstance(want, tuple):
        assert np.array_equal(got[1].numpy(), want[1].numpy())
        want, got = want[0], got[0]
    tolerance = 1e-6 if x.dtype == np.float32 else 1e-14
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), 10 * tolerance, tolerance)
    g = np.random.RandomState(1).randn(*want.shape).astype(x.dtype)
    want.backward(torch.tensor(g))
    got.backward(from_array(g))
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), 10 * tolerance, 3 * tolerance)


def test_handbook_values():
    x = from_array(np.arange(5.0)[None])
    assert pooling.max_pool1d(x, 2, stride=3, padding=1, ceil_mode=True).tolist() == [[0, 3]]
    ones = from_array(np.ones((1, 6)))
    np.testing.assert_allclose(pooling.avg_pool1d(ones, 3, 2, 1, ceil_mode=True).numpy(), [[2 / 3, 1, 1, 1 / 2]])
    np.testing.assert_allclose(pooling.adaptive_avg_pool1d(x, 3).numpy(), [[0.5, 2, 3.5]])


def test_ties_give_the_gradient_to_the_first():
    x = leaf(np.ones((1, 1, 4, 4), np.float32))
    pooling.max_pool2d(x, 2).sum().backward()
    assert x.grad.numpy()[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_result_does_not_depend_on_threads():
    x = np.random.RandomState(0).randn(4, 20, 40, 41).astype("f")
    before, results = native.get_num_threads(), []
    try:
        for threads in (1, 2):
            native.set_num_threads(threads)
            one = []
            for pool in (lambda t: pooling.max_pool2d(t, 3, 2, 1), lambda t: pooling.avg_pool2d(t, 3, 2, 1)):
                t = leaf(x)
                y = pool(t)
                y.sum().backward()
                one += [y.detach().numpy(), t.grad.numpy()]
            results.append(one)
    finally:
        native.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(*results))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpool(rank):
    x = np.random.RandomState(0).randn(2, 3, *[7] * rank)
    pooled, places = getattr(torch.nn.functional, f"max_pool{rank}d")(torch.tensor(x), 3, 2, 1, return_indices=True)
    theirs, ours = pooled.clone().requires_grad_(), leaf(pooled.numpy())
    want = getattr(torch.nn.functional, f"max_unpool{rank}d")(theirs, places, 3, 2, 1)
    got = getattr(unpooling, f"max_unpool{rank}d")(ours, from_array(places.numpy()), 3, 2, 1)
    assert np.array_equal(got.detach().numpy(), want.detach().numpy())
    g = np.random.RandomState(1).randn(*want.shape)
    want.backward(torch.tensor(g))
    got.backward(from_array(g))
    assert np.array_equal(ours.grad.numpy(), theirs.grad.numpy())


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_power_mean(rank):
    x = np.random.RandomState(0).randn(2, 3, *[8] * rank)
    theirs, ours = torch.tensor(x, requires_grad=True), leaf(x)
    want = getattr(torch.nn.functional, f"lp_pool{rank}d")(theirs, 2.0, 3, 2, True)
    got = getattr(unpooling, f"lp_pool{rank}d")(ours, 2.0, 3, 2, True)
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy())
    want.sum().backward()
    got.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy())


def ones(*shape):
    return from_array(np.ones(shape, np.float32))


@pytest.mark.parametrize("call, message", [
    (lambda: pooling.max_pool2d(ones(8, 8), 2), "Expected 3D or 4D"),
    (lambda: pooling.max_pool2d(ones(1, 1, 8, 8), 2, padding=2), "pad should be at most half of effective kernel size"),
    (lambda: pooling.max_pool2d(ones(1, 1, 2, 2), 3), "Output size is too small"),
    (lambda: pooling.max_pool2d(ones(1, 1, 2, 2), 2, stride=0), "stride should not be zero"),
    (lambda: pooling.max_pool2d(ones(1, 1, 2, 2), (1, 1, 1)), "kernel_size must either be a single int, or a tuple of two ints"),
    (lambda: pooling.avg_pool2d(ones(1, 1, 2, 2), 2, divisor_override=0), "divisor must be not zero"),
    (lambda: pooling.adaptive_avg_pool2d(ones(1, 1, 8, 8), (1, 1, 1)), "output_size must be 2"),
    (lambda: pooling.adaptive_max_pool2d(ones(1, 1, 0, 8), 2), "non-zero size for non-batch dimensions"),
    (lambda: unpooling.max_unpool2d(ones(1, 1, 2, 2), from_array(np.full((1, 1, 2, 2), 99)), 2), "invalid max index: 99"),
])
def test_errors(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


def test_empty_batch():
    x = leaf(np.zeros((0, 3, 8, 8), np.float32))
    y = pooling.max_pool2d(x, 2)
    assert y.shape == (0, 3, 4, 4)
    y.sum().backward()
    assert x.grad.shape == (0, 3, 8, 8)


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [(3, 2), (2, 3), 1])
def test_large_windows(size, value):
    """Windows of eight columns and more take in row after row; NaN, and the NaN of inf - inf in the sum that looks for it."""
    x = np.random.RandomState(0).randn(2, 21, 20, 27).astype("f")
    if value is not None:
        x[0, 3, 7, 5] = x[1, 20, 19, 26] = value
        x[0, 4, 7, 5], x[0, 4, 8, 6] = value, -value
    for name in ("adaptive_max_pool2d", "adaptive_avg_pool2d"):
        want = getattr(torch.nn.functional, name)(torch.tensor(x), size).numpy()
        np.testing.assert_allclose(getattr(pooling, name)(from_array(x), size).numpy(), want, 1e-5, 1e-6)
    want = torch.nn.functional.max_pool2d(torch.tensor(x), 9, 4, 4).numpy()
    np.testing.assert_array_equal(pooling.max_pool2d(from_array(x), 9, 4, 4).numpy(), want)


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 2, 0), ((2, 3), 2, 1), (3, 1, 1), ((1, 2), (1, 3), 0)])
@pytest.mark.parametrize("channels", [3, 64, 150, 520])
def test_maxima_without_positions(channels, window, value):
    """Stretches of pixels have one sum that looks for NaN; three columns with stride two share one with the next window."""
    x = np.random.RandomState(0).randn(2, channels, 9, 23).astype("f")
    if value is not None:
        for at in range(0, x.size, 97):
            x.flat[at] = value if at % 2 else -value
    x = from_array(np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1))
    want = torch.nn.functional.max_pool2d(torch.tensor(x.numpy()), *window).numpy()
    np.testing.assert_array_equal(pooling.max_pool2d(x, *window).numpy(), want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [3, 16, 70])
def test_averages_of_shared_columns(channels, stride, dtype):
    """Windows of three columns share the sums of one or two; an infinity stays in its windows, a sum of one value is divided exactly."""
    x = np.random.RandomState(channels).randn(2, 9, 23, channels).astype(dtype)
    x[0, 4, 7] = np.inf
    map_ = from_array(x).permute(0, 3, 1, 2)
    mine = pooling.avg_pool2d(map_, 3, stride).numpy()
    theirs = torch.nn.functional.avg_pool2d(torch.from_numpy(x).permute(0, 3, 1, 2), 3, stride).numpy()
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=8 * np.finfo(dtype).eps)
    alone = np.zeros_like(x)
    alone[:, 2, 4] = x[:, 2, 4]
    mine = pooling.avg_pool2d(from_array(alone).permute(0, 3, 1, 2), 3, stride).numpy()
    assert np.array_equal(mine[:, :, 2 // stride, 2 // stride], alone[:, 2, 4] / alone.dtype.type(9))


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("kernel, stride", [(3, 1), (2, 1)])
def test_results_past_the_caches(kind, kernel, stride):
    x = np.random.RandomState(0).randn(2, 182, 184, 64).astype("float32")      # the result has more than 16 MB
    mine = getattr(pooling, f"{kind}_pool2d")(from_array(x).permute(0, 3, 1, 2), kernel, stride).numpy()
    theirs = getattr(torch.nn.functional, f"{kind}_pool2d")(torch.from_numpy(x).permute(0, 3, 1, 2), kernel, stride).numpy()
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=0 if kind == "max" else 1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpool_of_an_empty_batch(rank):
    x = leaf(np.zeros((0, 3) + (4,) * rank, np.float32))
    pooled, places = getattr(pooling, f"max_pool{rank}d")(x, 2, return_indices=True)
    y = getattr(unpooling, f"max_unpool{rank}d")(pooled, places, 2)
    y.sum().backward()
    assert y.shape == x.shape and x.grad.shape == x.shape
