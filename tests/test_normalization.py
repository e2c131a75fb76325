"""Normalisation against torch: values, gradients, running statistics, memory orders, threads."""
import numpy as np
import pytest

import fastnn
import fastnn.nn.functional as F
from fastnn import nn
from fastnn.kernels import native

torch = pytest.importorskip("torch", reason="torch is the reference")
TF = torch.nn.functional

rng = np.random.RandomState(0)


def positive(*shape):
    return rng.uniform(0.5, 2, shape)


def last_in_memory(a):
    """Channels last, seen as (N, C, ...)."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def compare(ours, theirs, arrays, state=(), **options):
    """Values, state after the call and gradients in both dtypes; arrays may hold None."""
    for dtype in (np.float64, np.float32):
        tol = 1e-9 if dtype == np.float64 else 1e-4
        cast = [None if a is None else a.astype(dtype) for a in arrays]
        x = [None if a is None else fastnn.from_numpy(a.copy(order="K")) for a in cast]
        t = [None if a is None else torch.tensor(a) for a in cast]
        for i in range(len(x)):
            if x[i] is not None and i not in state:
                x[i].requires_grad_()
                t[i].requires_grad_()
        y, want = ours(*x, **options), theirs(*t, **options)
        np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=tol, atol=tol)
        g = rng.standard_normal(tuple(want.shape)).astype(dtype)
        y.backward(fastnn.tensor(g))
        want.backward(torch.tensor(g))
        for i, (a, b) in enumerate(zip(x, t)):
            if a is not None:
                got, ref = (a, b) if i in state else (a.grad, b.grad)
                largest = max(1, float(ref.abs().max()))
                np.testing.assert_allclose(got.numpy(), ref.numpy(), rtol=10 * tol, atol=10 * tol * largest)


BATCHES = [(5, 3), (300, 70), (4, 3, 7), (5, 19, 13, 11), (2, 3, 4, 5, 6), (2, 3, 5000)]


@pytest.mark.parametrize("shape", BATCHES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(shape, training, affine):
    C = shape[1]
    wb = [positive(C), rng.standard_normal(C)] if affine else [None, None]
    compare(F.batch_norm, TF.batch_norm, [10 + rng.standard_normal(shape), rng.standard_normal(C), positive(C), *wb], (1, 2),
            training=training, momentum=0.3, eps=0.01)


@pytest.mark.parametrize("shape", BATCHES[3:5])
def test_batch_norm_channels_last(shape):
    C = shape[1]
    x = last_in_memory(10 + rng.standard_normal(shape))
    compare(F.batch_norm, TF.batch_norm, [x, rng.standard_normal(C), positive(C), positive(C), positive(C)], (1, 2),
            training=True)
    y = F.batch_norm(fastnn.from_numpy(x), None, None, training=True)
    assert np.moveaxis(y.numpy(), 1, -1).flags.c_contiguous     # the memory order travels on


@pytest.mark.parametrize("shape", [(3000, 33), (40, 3, 33, 31)])
def test_batch_statistics_far_from_zero(shape):
    """Mean 100, unit variance: float32 keeps its digits (reference in float64)."""
    x = (100 + rng.standard_normal(shape)).astype(np.float32)
    axes = (0, *range(2, len(shape)))
    wide = x.astype(np.float64)
    want = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.batch_norm(fastnn.tensor(x), None, None, training=True).numpy(), want, atol=2e-5)
    rows = x.reshape(shape[0], -1)
    wide = rows.astype(np.float64)
    want = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.layer_norm(fastnn.tensor(rows), rows.shape[1]).numpy(), want, atol=2e-5)


def test_running_statistics():
    m = nn.BatchNorm1d(1)
    m(fastnn.tensor(np.array([[1.0], [2], [6]], np.float32)))
    assert m.running_mean.item() == pytest.approx(0.3) and m.running_var.item() == pytest.approx(1.6)
    assert m.num_batches_tracked.item() == 1 and m.num_batches_tracked.dtype == np.int64
    m, t = nn.BatchNorm1d(3, momentum=None), torch.nn.BatchNorm1d(3, momentum=None)
    for _ in range(3):
        x = rng.standard_normal((5, 3)).astype(np.float32)
        m(fastnn.tensor(x))
        t(torch.tensor(x))
    np.testing.assert_allclose(m.running_var.numpy(), t.running_var.numpy(), rtol=1e-5)
    assert list(m.state_dict()) == list(t.state_dict())
    assert m.state_dict()._metadata[""]["version"] == 2


@pytest.mark.parametrize("n", [5, 100, 512, 700, 1024, 1500, 5000])
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_rows_have_the_same_bits_alone(name, n):
    """Up to four short rows take each step together; a NaN stays in its row."""
    x = rng.standard_normal((7, n)).astype(np.float32)
    x[2, 1] = np.nan
    y = getattr(F, name)(fastnn.tensor(x), (n,)).numpy()
    assert np.isnan(y[2]).all() and np.isfinite(np.delete(y, 2, 0)).all()
    for i in range(7):
        np.testing.assert_array_equal(getattr(F, name)(fastnn.tensor(x[i:i + 1]), (n,)).numpy(), y[i:i + 1])


def test_batches_tracked_may_be_missing_without_metadata():
    m = nn.BatchNorm1d(2)
    m.load_state_dict({k: v for k, v in m.state_dict().items() if k != "num_batches_tracked"})
    state = m.state_dict()
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="Missing key"):
        m.load_state_dict(state)


def test_errors():
    one = fastnn.tensor(np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match=r"more than 1 value per channel when training, got input size torch.Size\(\[1, 3\]\)"):
        F.batch_norm(one, None, None, training=True)
    assert nn.BatchNorm1d(3).eval()(one).shape == (1, 3)
    with pytest.raises(ValueError, match="expected 4D input"):
        nn.BatchNorm2d(3)(one)
    with pytest.raises(RuntimeError, match="running_mean should contain 3 elements not 2"):
        nn.BatchNorm1d(2).eval()(one)
    with pytest.raises(RuntimeError, match=r"Given normalized_shape=\[4\]"):
        nn.LayerNorm(4)(one)


def test_empty_batch():
    for m, shape in ((nn.BatchNorm1d(3), (0, 3)), (nn.LayerNorm(3), (0, 3)), (nn.GroupNorm(3, 3), (0, 3, 4))):
        x = fastnn.tensor(np.ones(shape, np.float32), requires_grad=True)
        m(x).sum().backward()
        assert x.grad.shape == shape and not m.weight.grad.numpy().any()


@pytest.mark.parametrize("shape, axes", [((9, 131), 1), ((4, 5, 6), 2), ((300, 10), 1), ((2, 5000), 1), ((7,), 1)])
def test_layer_and_rms_norm(shape, axes):
    last = shape[-axes:]
    x = 10 + rng.standard_normal(shape)
    for w, b in ((positive(*last), positive(*last)), (positive(*last), None), (None, positive(*last)), (None, None)):
        compare(lambda x, w, b: F.layer_norm(x, last, w, b, 0.01), lambda x, w, b: TF.layer_norm(x, last, w, b, 0.01), [x, w, b])
    for w in (positive(*last), None):
        compare(lambda x, w: F.rms_norm(x, last, w), lambda x, w: TF.rms_norm(x, last, w), [x, w])


@pytest.mark.parametrize("shape, groups", [((5, 21, 13), 3), ((4, 6), 2), ((2, 6, 5, 5), 6), ((2, 4, 90, 70), 2)])
def test_group_norm(shape, groups):
    C = shape[1]
    for w, b in ((positive(C), positive(C)), (None, None)):
        compare(lambda x, w, b: F.group_norm(x, groups, w, b), lambda x, w, b: TF.group_norm(x, groups, w, b),
                [10 + rng.standard_normal(shape), w, b])


# several blocks of a few samples, many samples, one block, a group per channel; channels that differ in their means
@pytest.mark.parametrize("shape, groups", [((2, 66, 41, 31), 3), ((9, 64, 37, 31), 8), ((3, 6, 5, 5), 2), ((2, 5, 6, 7, 3), 5)])
def test_group_norm_channels_last(shape, groups):
    C = shape[1]
    x = last_in_memory(10 + rng.standard_normal(shape) + rng.standard_normal((C,) + (1,) * (len(shape) - 2)))
    for w, b in ((positive(C), positive(C)), (positive(C), None), (None, None)):
        compare(lambda x, w, b: F.group_norm(x, groups, w, b), lambda x, w, b: TF.group_norm(x, groups, w, b), [x, w, b])
    leaf = fastnn.from_numpy(x.astype(np.float32)).requires_grad_()
    y = F.group_norm(leaf, groups)
    y.backward(fastnn.tensor(x.astype(np.float32)))
    assert all(np.moveaxis(a.numpy(), 1, -1).flags.c_contiguous for a in (y.detach(), leaf.grad))    # the memory order travels on


@pytest.mark.parametrize("shape", [(4, 3, 7), (2, 5, 6, 4), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("batch", [True, False])
def test_instance_norm(shape, batch):
    C = shape[1]
    for order in (np.asarray, last_in_memory):
        compare(F.instance_norm, TF.instance_norm, [order(10 + rng.standard_normal(shape)), rng.standard_normal(C), positive(C),
                                                    positive(C), positive(C)], (1, 2), use_input_stats=batch, momentum=0.3)


@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_local_response_norm(size):
    compare(lambda x: F.local_response_norm(x, size, 0.3, 0.7, 2.0), lambda x: TF.local_response_norm(x, size, 0.3, 0.7, 2.0),
            [rng.standard_normal((2, 7, 5, 5))])


@pytest.mark.parametrize("N, C, inner", [(5000, 33, 1), (6, 9, 3000)])
def test_threads_give_the_same_bits(N, C, inner):
    x, g = (rng.standard_normal(N * C * inner).astype(np.float32) for _ in range(2))
    results = []
    for threads in (1, 2):
        y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
        mean, rstd, dw, db = (np.full(C, np.nan, np.float32) for _ in range(4))
        native.call("batch_norm_fwd", [x, *[None] * 5, mean, rstd, y, None, None], (N, C, inner), (1e-5,), threads=threads)
        native.call("batch_norm_bwd", [x, None, mean, rstd, g, dx, dw, db, None, None], (N, C, inner), threads=threads)
        rows, n = N * inner, C
        ly, ldx = np.full_like(x, np.nan), np.full_like(x, np.nan)
        lm, ls = (np.full(rows, np.nan, np.float32) for _ in range(2))
        lw, lb, ones = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32), np.ones(n, np.float32)
        native.call("layer_norm_fwd", [x, ones, None, lm, ls, ly], (rows, n), (1e-5,), threads=threads)
        native.call("layer_norm_bwd", [x, ones, lm, ls, g, ldx, lw, lb], (rows, n), threads=threads)
        results.append((y, dx, mean, rstd, dw, db, ly, ldx, lw, lb))
    for a, b in zip(*results):
        assert np.array_equal(a, b) and not np.isnan(a).any()


@pytest.mark.parametrize("N, inner, C, groups", [(2, 2500, 66, 3), (9, 1200, 64, 8), (1, 70000, 64, 4)])
@pytest.mark.parametrize("last", [0, 1])
def test_group_norm_threads_give_the_same_bits(N, inner, C, groups, last):
    x, g = (rng.standard_normal(N * C * inner).astype(np.float32) for _ in range(2))
    w, results = positive(C).astype(np.float32), []
    for threads in (1, 2):
        y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
        mean, rstd = (np.full(N * groups, np.nan, np.float32) for _ in range(2))
        dw, db = (np.full(C, np.nan, np.float32) for _ in range(2))
        sizes = N, C, inner, groups, last
        native.call("group_norm_fwd", [x, w, w, mean, rstd, None, y], sizes, (1e-5,), threads=threads)
        native.call("group_norm_bwd", [x, w, mean, rstd, g, dx, dw, db], sizes, threads=threads)
        results.append((y, dx, mean, rstd, dw, db))
    for a, b in zip(*results):
        assert np.array_equal(a, b) and not np.isnan(a).any()


def test_eval_gradient_refuses_changed_statistics():
    layer, x = fastnn.nn.BatchNorm1d(3).eval(), fastnn.ones(4, 3, requires_grad=True)
    y = layer(x)
    layer.train()(fastnn.ones(4, 3))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
