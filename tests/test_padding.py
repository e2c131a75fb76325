"""Padding, interpolation, shuffles, folding: values and gradients against torch, errors."""
import numpy as np
import pytest

from fastnn.core.tensor import from_array
from fastnn.ops import folding, padding, resize, shuffle

torch = pytest.importorskip("torch")
T = torch.nn.functional


def leaf(a):
    t = from_array(a)
    t.requires_grad = True
    return t


def compare(ours, theirs, shape, *args, tolerance=1e-6, **options):
    for dtype, scale in (("float32", 1), ("float64", 1e-6)):
        x = np.random.RandomState(0).randn(*shape).astype(dtype)
        for a in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)):
            mine, other = leaf(a), torch.tensor(x, requires_grad=True)
            got, want = ours(mine, *args, **options), theirs(other, *args, **options)
            np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), 10 * scale * tolerance, scale * tolerance)
            g = np.random.RandomState(1).randn(*want.shape).astype(dtype)
            want.backward(torch.tensor(g))
            got.backward(from_array(g))
            np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), 10 * scale * tolerance, 5 * scale * tolerance)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("shape, widths", [((2, 3, 7), (3, 1)), ((2, 3, 5, 6), (2, 0, 1, 3)), ((2, 2, 4, 5, 6), (1, 2, 0, 1, 3, 3)),
                                           ((3, 5), (2, 1)), ((2, 3, 5, 6), (0, 0, 0, 0))])
def test_pad(mode, shape, widths):
    compare(padding.pad, T.pad, shape, widths, mode)


def test_pad_by_a_value_and_crop():
    compare(padding.pad, T.pad, (3, 4, 5), (-1, 2, 1, -2, 0, 1), "constant", 3.5)
    compare(padding.pad, T.pad, (1, 2, 4, 4), (-1, 3, 1, 1), "circular")


@pytest.mark.parametrize("shape, options", [
    ((2, 3, 4), dict(size=7)), ((2, 3, 4), dict(scale_factor=2.5)), ((2, 3, 5, 4), dict(size=(3, 9))),
    ((2, 3, 4, 5), dict(scale_factor=3)), ((2, 3, 4, 5), dict(scale_factor=(1.3, 0.6), mode="nearest-exact")),
    ((2, 3, 4), dict(scale_factor=2.5, mode="linear")), ((2, 3, 4), dict(size=9, mode="linear", align_corners=True)),
    ((2, 3, 4, 5), dict(scale_factor=2, mode="bilinear", align_corners=True)), ((2, 3, 9, 5), dict(size=(4, 7), mode="bilinear")),
    ((2, 3, 4, 5), dict(scale_factor=1.7, mode="bilinear", recompute_scale_factor=True)),
    ((2, 3, 6, 5), dict(scale_factor=(1.3, 0.6), mode="bicubic")), ((2, 3, 6, 5), dict(size=(9, 3), mode="bicubic", align_corners=True)),
    ((2, 3, 2, 4, 5), dict(size=(3, 5, 7), mode="trilinear")), ((2, 3, 7, 5), dict(size=(3, 2), mode="area")),
    # axes that keep their size under a factor that is not 1 (else torch's gradient is not that of its values)
    ((2, 3, 4), dict(scale_factor=1.2, mode="linear")), ((2, 3, 3, 4), dict(scale_factor=(1.2, 2.5), mode="bilinear")),
    ((2, 3, 2, 3, 5), dict(scale_factor=1.3, mode="trilinear")), ((2, 3, 4), dict(size=4)),
    ((2, 3, 9, 11), dict(size=(4, 5), mode="bilinear", antialias=True)), ((2, 3, 9, 11), dict(size=(4, 5), mode="bicubic", antialias=True)),
])
def test_interpolate(shape, options):
    compare(resize.interpolate, T.interpolate, shape, **options, tolerance=3e-6)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialias_leaves_axes_that_keep_their_size(mode):
    x = np.random.RandomState(0).randn(2, 3, 3, 9)
    options = dict(scale_factor=(1.19, 0.6), mode=mode, antialias=True)
    np.testing.assert_allclose(resize.interpolate(from_array(x), **options).numpy(), T.interpolate(torch.tensor(x), **options).numpy())


def test_interpolate_handbook_values():
    x = from_array(np.arange(3.0)[None, None])
    assert resize.interpolate(x, size=5).tolist() == [[[0, 0, 1, 1, 2]]]
    np.testing.assert_allclose(resize.interpolate(x, size=5, mode="linear").numpy(), [[[0, 0.4, 1, 1.6, 2]]])
    np.testing.assert_allclose(resize.interpolate(x, size=5, mode="linear", align_corners=True).numpy(), [[[0, 0.5, 1, 1.5, 2]]])


def test_shuffles():
    compare(shuffle.pixel_shuffle, T.pixel_shuffle, (2, 8, 3, 4), 2)
    compare(shuffle.pixel_unshuffle, T.pixel_unshuffle, (2, 2, 4, 6), 2)
    compare(shuffle.channel_shuffle, T.channel_shuffle, (2, 6, 3, 4), 3)


def test_fold_and_unfold():
    compare(folding.unfold, T.unfold, (2, 3, 5, 6), (2, 3), dilation=2, padding=1, stride=(2, 1))
    compare(folding.unfold, T.unfold, (3, 5, 6), 2)
    compare(folding.fold, T.fold, (2, 18, 12), (5, 6), (2, 3), dilation=2, padding=1, stride=(2, 1))
    compare(folding.fold, T.fold, (4, 4), (3, 3), 2)


def ones(*shape):
    return from_array(np.ones(shape, np.float32))


@pytest.mark.parametrize("call, error, message", [
    (lambda: padding.pad(ones(1, 1, 2, 2), (1,)), RuntimeError, "Padding length must be divisible by 2"),
    (lambda: padding.pad(ones(2, 2), (1,) * 6), RuntimeError, "less than or equal to two times the input dimension"),
    (lambda: padding.pad(ones(1, 1, 2, 2), (3, 3, 1, 1), "reflect"), RuntimeError, "Padding size should be less than"),
    (lambda: padding.pad(ones(1, 1, 2, 2), (3, 3, 1, 1), "circular"), RuntimeError, "wrapping around more than once"),
    (lambda: padding.pad(ones(1, 2, 2), (-2, 1), "circular"), RuntimeError, r"padding \(-2, 1\) at dimension 2 .* no positive size"),
    (lambda: padding.pad(ones(1, 1, 2, 2), (1, 1), "mirror"), NotImplementedError, "Unrecognised padding mode mirror"),
    (lambda: resize.interpolate(ones(1, 1, 2, 2), size=3, scale_factor=2), ValueError, "only one of size or scale_factor"),
    (lambda: resize.interpolate(ones(1, 1, 2, 2), size=3, mode="linear"), NotImplementedError, "Got 4D input, but linear mode needs 3D"),
    (lambda: resize.interpolate(ones(1, 1, 2, 2), size=3, align_corners=True), ValueError, "align_corners option can only be set"),
    (lambda: shuffle.pixel_shuffle(ones(1, 3, 2, 2), 2), RuntimeError, "is not divisible by 4"),
    (lambda: shuffle.channel_shuffle(ones(1, 4, 3, 2), 3), RuntimeError, "Number of channels must be divisible by groups"),
    (lambda: folding.unfold(ones(1, 1, 2, 2), 3), RuntimeError, "calculated shape of the array of sliding blocks"),
    (lambda: folding.fold(ones(1, 4, 5), (3, 3), 2), RuntimeError, "expected size of input's dimension 2 to match"),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_integers_are_moved_whole(mode):
    for dtype in ("int64", "int32", "uint8", "bool"):
        x = np.random.RandomState(0).randint(0, 100, (2, 3, 4, 6)).astype(dtype)
        for a in (x, np.asfortranarray(x), x[:, ::-1].copy()[:, ::-1]):
            want = T.pad(torch.tensor(x.astype("float64")), (1, 2, 2, 1), mode).numpy().astype(dtype)
            np.testing.assert_array_equal(padding.pad(from_array(a), (1, 2, 2, 1), mode).numpy(), want)
        np.testing.assert_array_equal(shuffle.channel_shuffle(from_array(x[:, [0, 1, 2, 0]]), 2).numpy(), x[:, [0, 2, 1, 0]])
        np.testing.assert_array_equal(resize.interpolate(from_array(x), scale_factor=2).numpy(), x.repeat(2, 2).repeat(2, 3))
        with pytest.raises(NotImplementedError, match="bicubic"):
            resize.interpolate(from_array(x), size=(3, 3), mode="bicubic")
