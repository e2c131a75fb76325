"""Dropout in all its kinds, and Bernoulli samples."""
import numpy as np
import pytest

import fastnn.ops.arithmetic  # noqa: F401 (installs the operators of Tensor)
from fastnn.autograd import no_grad
from fastnn.core.random import Generator, default_generator, manual_seed
from fastnn.core.tensor import from_array
from fastnn.kernels import native
from fastnn.nn import dropout as layers
from fastnn.ops import dropout as ops
from fastnn.ops import shape  # noqa: F401 (squeeze and unsqueeze)

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="torch is the reference")

FLOATS = ["float32", "float64"]
KINDS = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"]
SHAPES = {"Dropout": (4, 6, 5, 3), "Dropout1d": (4, 6, 5), "Dropout2d": (4, 6, 5, 3), "Dropout3d": (4, 6, 5, 3, 2),
          "AlphaDropout": (40, 7), "FeatureAlphaDropout": (4, 6, 5)}


def tensor(a, requires_grad=False):
    return from_array(np.ascontiguousarray(a), requires_grad)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_that_of_the_mask_drawn(kind, dtype):
    layer = getattr(layers, kind)(0.3)
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(SHAPES[kind]).astype(dtype) for _ in range(2))
    manual_seed(5)
    t = tensor(x, True)
    y = layer(t)
    y.backward(tensor(g))
    # y is affine in x with the mask fixed: the slope by a second input under the same draw
    manual_seed(5)
    y0 = layer(tensor(np.zeros_like(x))).numpy()
    manual_seed(5)
    slope = layer(tensor(np.ones_like(x))).numpy() - y0
    np.testing.assert_allclose(y.detach().numpy(), slope * x + y0, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(t.grad.numpy(), slope * g, rtol=1e-5, atol=1e-5)
    if "1d" in kind or "2d" in kind or "3d" in kind or "Feature" in kind:
        flat = slope.reshape(*x.shape[:2], -1)
        assert (flat == flat[..., :1]).all()
    assert 0 < (np.abs(slope) < 1e-6).mean() < 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_and_extremes(kind):
    x = tensor(np.random.default_rng(1).standard_normal(SHAPES[kind]).astype("float32"))
    layer = getattr(layers, kind)(0.4)
    assert layer.eval()(x) is x
    assert getattr(layers, kind)(0.0)(x).numpy() is not None and np.array_equal(getattr(layers, kind)(0.0)(x).numpy(), x.numpy())
    assert (getattr(layers, kind)(1.0)(x).numpy() == 0).all()
    empty = tensor(np.zeros((0, *SHAPES[kind][1:]), "float32"))
    assert layer.train()(empty).shape == empty.shape


@needs_torch
@pytest.mark.parametrize("kind", KINDS)
def test_text_and_errors_are_torchs(kind):
    for args in [(), (0.2, True)]:
        assert repr(getattr(layers, kind)(*args)) == repr(getattr(torch.nn, kind)(*args))
    messages = []
    for module in (layers, torch.nn):
        with pytest.raises(ValueError) as raised:
            getattr(module, kind)(1.5)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert getattr(torch.nn, kind)(0.2).extra_repr() == getattr(layers, kind)(0.2).extra_repr()


def test_wrong_shapes():
    with pytest.raises(RuntimeError, match="dropout1d: Expected 2D or 3D input, but received a 4D input"):
        ops.dropout1d(tensor(np.ones((1, 2, 3, 4), "float32")))
    with pytest.raises(RuntimeError, match="Feature dropout requires at least 2 dimensions"):
        ops.feature_alpha_dropout(tensor(np.ones(3, "float32")), training=True)
    with pytest.warns(UserWarning, match="dropout2d: Received a 2-D input"):
        ops.dropout2d(tensor(np.ones((3, 4), "float32")))
    with pytest.warns(UserWarning, match="dropout2d: Received a 3D input"):
        ops.dropout2d(tensor(np.ones((3, 4, 5), "float32")))
    with pytest.warns(UserWarning, match="dropout3d: Received a 3-D input"):
        ops.dropout3d(tensor(np.ones((3, 4, 5), "float32")))
    with pytest.raises(ValueError, match="has to be between 0 and 1, but got -0.1"):
        ops.dropout2d(tensor(np.ones((3, 4, 5, 5), "float32")), -0.1)
    with pytest.raises(RuntimeError, match="not implemented for"):
        ops.dropout(tensor(np.ones(4, "int64")))


def test_unbatched_channels():
    manual_seed(0)
    y = ops.dropout1d(tensor(np.ones((200, 5), "float32"))).numpy()
    assert (y == y[:, :1]).all() and 0 < (y == 0).mean() < 1
    y = ops.dropout3d(tensor(np.ones((200, 2, 2, 2), "float32"))).numpy()
    assert (y == y[:, :1, :1, :1]).all() and 0 < (y == 0).mean() < 1


def test_functions_default_to_torchs_training_flag():
    x = tensor(np.ones(100, "float32"))
    assert (ops.dropout(x).numpy() == 0).any()
    assert ops.alpha_dropout(x) is x and ops.feature_alpha_dropout(x) is x


@pytest.mark.parametrize("kind", ["dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"])
def test_in_place(kind):
    a = np.random.default_rng(3).standard_normal((30, 20)).astype("float32")
    manual_seed(1)
    want = getattr(ops, kind)(tensor(a.copy()), 0.3, True).numpy()
    for call in (lambda x: getattr(ops, kind)(x, 0.3, True, True), lambda x: getattr(ops, kind + "_")(x, 0.3, True)):
        manual_seed(1)
        x = tensor(a.copy())
        assert call(x) is x and np.array_equal(x.numpy(), want)
    leaf = tensor(a.copy(), True)
    x = leaf * 1
    manual_seed(1)
    ops.dropout(x, 0.3, True, True)
    x.backward(tensor(np.ones_like(a)))
    manual_seed(1)
    assert np.array_equal(leaf.grad.numpy(), ops.dropout(tensor(np.ones_like(a)), 0.3).numpy())


def test_alpha_dropout_keeps_moments():
    z = np.random.default_rng(0).standard_normal(300_000)
    manual_seed(0)
    for p in (0.1, 0.5, 0.8):
        y = ops.alpha_dropout(tensor(z), p, True).numpy()
        assert abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02
    manual_seed(0)
    for p in (0.1, 0.5, 0.9):
        y = ops.dropout(tensor(z), p).numpy()
        assert abs((y == 0).mean() - p) < 0.005
        np.testing.assert_allclose(y[y != 0], z[y != 0] / (1 - p))


def test_views_and_special_values():
    a = np.random.default_rng(0).standard_normal((31, 17)).astype("float32")
    a[3, 4] = np.nan
    manual_seed(2)
    x = from_array(a.T, True)
    y = ops.dropout(x, 0.5)
    assert y.shape == (17, 31) and np.isnan(y.detach().numpy()[4, 3])
    y.backward(from_array(np.ones((31, 17), "float32").T))
    manual_seed(2)
    assert np.array_equal(x.grad.numpy(), ops.dropout(tensor(np.ones((17, 31), "float32")), 0.5).numpy())


@pytest.mark.parametrize("dtype", FLOATS)
def test_thread_count_does_not_matter(dtype):
    x = tensor(np.ones(200_001, dtype))
    before = native.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            native.set_num_threads(threads)
            manual_seed(9)
            found.append([ops.dropout(x, 0.3).numpy(), ops.bernoulli(x * 0.5).numpy(), default_generator.rng.copy()])
    finally:
        native.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert np.array_equal(a, b)


def test_bernoulli():
    manual_seed(0)
    p = np.linspace(0, 1, 100_001)
    y = ops.bernoulli(tensor(p)).numpy()
    assert set(np.unique(y)) == {0, 1} and abs((y - p).mean()) < 0.005
    assert ops.bernoulli(tensor(np.zeros(5, "int64")), 1.0).numpy().tolist() == [1] * 5
    g = Generator().manual_seed(3)
    again = Generator().manual_seed(3)
    assert np.array_equal(ops.bernoulli(tensor(p), generator=g).numpy(), ops.bernoulli(tensor(p), generator=again).numpy())
    for bad in (1.5, -0.5, np.nan):
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            ops.bernoulli(tensor(np.array([0.5, bad])))
    with pytest.raises(RuntimeError, match=r"expects p to be in \[0, 1\], but got p=2"):
        ops.bernoulli(tensor(p), 2)
    out = tensor(np.zeros(3))
    assert ops.bernoulli(tensor(np.ones(3)), out=out) is out and out.numpy().all()
    with no_grad():
        assert ops.bernoulli(tensor(np.zeros((0, 3)))).shape == (0, 3)


def test_replayed_steps_draw_new_masks_and_equal_eager():
    from fastnn import compile
    layer = layers.Dropout(0.4)
    x = tensor(np.ones((50, 40), "float32"))
    compiled = compile(layer, fullgraph=True)
    manual_seed(6)
    eager = [layer(x).numpy().copy() for _ in range(8)]
    manual_seed(6)
    replayed = [compiled(x).numpy().copy() for _ in range(8)]
    for a, b in zip(eager, replayed, strict=True):
        assert np.array_equal(a, b)
    assert len({a.tobytes() for a in replayed}) == 8
    manual_seed(6)
    assert np.array_equal(compiled(x).numpy(), eager[0])


@pytest.mark.parametrize("call", [lambda x: ops.dropout(x, 0.4), lambda x: ops.alpha_dropout(x, 0.4, True)])
def test_channels_last_stays(call):
    """Images keep their memory order through dropout, and the gradient is of the elements that were kept."""
    values = np.moveaxis(np.random.default_rng(0).standard_normal((3, 5, 7, 16), np.float32), -1, 1)
    for order in (np.ascontiguousarray, lambda g: g):
        x = from_array(values, True)
        y = call(x)
        assert y.stride() == x.stride()
        y.backward(from_array(order(2 * values)))
        assert x.grad.stride() == x.stride()
        kept = x.grad.numpy() != 0
        assert 0.5 < kept.mean() < 0.7
        scale = x.grad.numpy()[kept] / values[kept] / 2
        np.testing.assert_allclose(scale, scale[0], 1e-5)
        assert len(np.unique(y.detach().numpy()[~kept])) == 1       # dropped: all zero, or all saturated
