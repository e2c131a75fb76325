"""Reductions, order and cumulative operations against torch: values, dtypes, gradients, errors."""
import itertools

import numpy as np
import pytest

import fastnn as fn

torch = pytest.importorskip("torch", reason="torch is the reference")

SHAPES = [(), (1,), (7,), (3, 4), (2, 1, 5), (2, 3, 4, 5)]
DTYPES = [np.float64, np.float32]
random = np.random.default_rng(0)


def arrays(shape, dtype=np.float64):
    return random.standard_normal(shape).astype(dtype)


def dims(ndim):
    """None, every axis from both ends, and pairs of axes."""
    return [None, *range(-ndim, ndim), *itertools.combinations(range(ndim), 2)]


def close(got, want, dtype=np.float64):
    want = want.detach().numpy()
    got = got.detach().numpy()
    assert got.shape == want.shape and got.dtype == want.dtype
    double = dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-10 if double else 2e-5, atol=1e-12 if double else 1e-5)


def compare(name, a, *args, gradient=True, method=True, **kwargs):
    """The function and the method against torch's, with the gradient of a random combination of the result."""
    gradient = gradient and a.dtype.kind == "f"
    x, t = fn.tensor(a, requires_grad=gradient), torch.tensor(a, requires_grad=gradient)
    got, want = getattr(fn, name)(x, *args, **kwargs), getattr(torch, name)(t, *args, **kwargs)
    if isinstance(want, tuple):
        assert type(got).__name__ == type(want).__name__.rsplit(".", 1)[-1] or not hasattr(want, "values")
        for g, w in zip(got, want):
            close(g, w, a.dtype)
        got, want = got[0], want[0]
    else:
        close(got, want, a.dtype)
    if method:
        again = getattr(x, name)(*args, **kwargs)
        close(again[0] if isinstance(again, tuple) else again, want, a.dtype)
    if want.requires_grad:
        weights = random.standard_normal(want.shape).astype(a.dtype)
        (got * fn.tensor(weights)).sum().backward()
        (want * torch.tensor(weights)).sum().backward()
        assert (x.grad is None) == (t.grad is None)
        if t.grad is not None:
            close(x.grad, t.grad, a.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "amax", "amin", "logsumexp", "norm"])
def test_over_axes(name, dtype):
    for shape in SHAPES:
        for dim, keepdim in itertools.product(dims(len(shape)), [False, True]):
            if name in ("logsumexp", "amax", "amin") and dim is None:
                continue
            if name in ("var", "std") and (not shape or any(
                    shape[d] < 2 for d in (range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim))):
                continue
            options = {"dim": dim, "keepdim": keepdim} if dim is not None else {}
            compare(name, arrays(shape, dtype), **options)


@pytest.mark.parametrize("name", ["prod", "cumsum", "cumprod", "logcumsumexp", "max", "min", "sort", "argsort", "median",
                                  "argmax", "argmin", "cummax", "cummin", "kthvalue"])
def test_along_one_axis(name):
    for shape in SHAPES:
        for dim in range(-len(shape), len(shape)):
            a = arrays(shape)
            if name == "kthvalue":
                for keepdim in (False, True):
                    compare(name, a, 1 + shape[dim] // 2, dim, keepdim)
            elif name in ("prod", "max", "min", "median", "argmax", "argmin"):
                for keepdim in (False, True):
                    compare(name, a, dim, keepdim)
            else:
                compare(name, a, dim)


@pytest.mark.parametrize("name", ["prod", "max", "min", "median", "argmax", "argmin", "any", "all"])
def test_over_everything(name):
    for shape in SHAPES:
        compare(name, arrays(shape))


@pytest.mark.parametrize("p", [0, 1, 2, 3, 1.5, float("inf"), -float("inf"), "fro"])
def test_norm(p):
    a = arrays((3, 4))
    a[0, 0] = 0
    for dim in (None, 0, 1, (0, 1)):
        if p == "fro" and dim in (0, 1):
            continue
        compare("norm", a, p, **({} if dim is None else {"dim": dim}))


def test_norm_of_zero_has_no_gradient():
    compare("norm", np.zeros(3))
    compare("norm", np.zeros((2, 3)), 2, 1)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
def test_integers(dtype):
    a = random.integers(0, 3, (3, 4)).astype(dtype)
    for name in ("sum", "prod", "any", "all"):
        compare(name, a)
        compare(name, a, 1)
    for name in ("cumsum", "cumprod"):
        compare(name, a, 0)
    if dtype != np.bool_:
        for name in ("max", "min"):
            compare(name, a)
    with pytest.raises(RuntimeError, match="could not infer output dtype"):
        fn.tensor(a).mean()


def test_dtype_argument():
    compare("sum", np.arange(6).reshape(2, 3), dtype=None)
    assert fn.tensor([1, 2]).sum(dtype=np.float32).dtype == np.float32
    assert fn.tensor([1, 2]).float().mean(dtype=np.float64).dtype == np.float64
    x = fn.tensor([1.0, 2.0], requires_grad=True)
    x.sum(dtype=np.float64).backward()
    assert x.grad.dtype == np.float32


def test_nan_wins():
    a = arrays((4, 5))
    a[1, 2] = np.nan
    for name in ("amax", "amin"):
        compare(name, a, 1, gradient=False)
    for name in ("max", "min", "argmax", "argmin", "sort", "median"):
        compare(name, a, 1, gradient=False)
    for name in ("max", "min", "sum", "mean", "median", "nansum", "nanmean", "nanmedian"):
        compare(name, a, gradient=False)


def test_ties():
    a = np.array([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
    for name in ("max", "min"):
        compare(name, a)
        compare(name, a, 1)
    compare("amax", a, 1)
    compare("amin", a)


def test_empty():
    for name, empty in [("sum", 0.0), ("prod", 1.0)]:
        assert getattr(fn.zeros(0, 3), name)().item() == empty
    assert np.isnan(fn.zeros(0).mean().item())
    compare("sum", np.zeros((0, 3)), 0)
    compare("sum", np.zeros((0, 3)), 1)
    compare("mean", np.zeros((3, 0)), 0)
    compare("cumsum", np.zeros((0, 3)), 0)
    with pytest.raises(RuntimeError, match="Expected reduction dim to be specified"):
        fn.zeros(0).max()
    with pytest.raises(IndexError, match="Expected reduction dim 0 to have non-zero size"):
        fn.zeros(0, 3).max(0)


def test_not_contiguous():
    a = arrays((4, 6, 5))
    for view in (a.T, a[::2, 1::2], a[:, ::-1]):
        x, t = fn.from_numpy(view), torch.tensor(view.copy())
        for dim in (None, 0, (0, 2)):
            close(x.sum(dim), t.sum(dim) if dim is not None else t.sum())
            close(x.mean(dim), t.mean(dim) if dim is not None else t.mean())
        close(x.cumsum(1), t.cumsum(1))
        close(x.max(1).values, t.max(1).values)


def test_topk():
    a = arrays((3, 7))
    for k, dim, largest in itertools.product((0, 1, 3), (0, 1, -1), (True, False)):
        compare("topk", a, k, dim, largest)
    with pytest.raises(RuntimeError, match="selected index k out of range"):
        fn.tensor(a).topk(8)


def test_descending_and_stable_order():
    a = random.integers(0, 4, (5, 8)).astype(np.float64)
    for descending in (False, True):
        got = fn.tensor(a).sort(1, descending, stable=True)
        want = torch.tensor(a).sort(dim=1, descending=descending, stable=True)
        close(got.values, want.values)
        close(got.indices, want.indices)


def test_counts_and_distinct():
    a = random.integers(0, 5, 30)
    t = torch.tensor(a)
    close(fn.bincount(fn.tensor(a)), torch.bincount(t))
    close(fn.bincount(fn.tensor(a), minlength=9), torch.bincount(t, minlength=9))
    for got, want in zip(fn.unique(fn.tensor(a), return_inverse=True, return_counts=True),
                         torch.unique(t, return_inverse=True, return_counts=True)):
        close(got, want)
    for got, want in zip(fn.unique_consecutive(fn.tensor(a), True, True), torch.unique_consecutive(t, True, True)):
        close(got, want)
    for f in (fn.unique, fn.unique_consecutive):
        with pytest.raises(TypeError, match=r"argument 'input' \(position 1\) must be Tensor, not int"):
            f(3)
        with pytest.raises(IndexError, match=r"Dimension out of range \(expected to be in range of \[-1, 0\], but got 1\)"):
            f(fn.zeros(3), dim=1)
        with pytest.raises(IndexError, match="Dimension specified as 0 but tensor has no dimensions"):
            f(fn.zeros(()), dim=0)
        with pytest.raises(RuntimeError, match="There are 0 sized dimensions"):
            f(fn.zeros(2, 0), dim=0)
        assert f(fn.tensor([[1, 1], [1, 1]]), dim=-1).tolist() == [[1], [1]]
    close(fn.count_nonzero(fn.tensor(a)), torch.count_nonzero(t))
    close(fn.histc(fn.tensor(a).float(), 4, 0, 4), torch.histc(t.float(), 4, 0, 4))
    edges = np.array([0.0, 1.0, 2.5])
    close(fn.bucketize(fn.tensor(a).double(), fn.tensor(edges)), torch.bucketize(t.double(), torch.tensor(edges)))


def test_quantile_and_diff():
    a = arrays((4, 5))
    for q in (0.0, 0.3, 1.0):
        compare("quantile", a, q)
        compare("quantile", a, q, 1)
    compare("diff", a)
    compare("diff", a, 2, 0)


def test_pairs():
    a = arrays((4, 5))
    for name in ("var_mean", "std_mean"):
        compare(name, a, method=False)
        compare(name, a, 1, method=False)
    for got, want in zip(fn.aminmax(fn.tensor(a), dim=0), torch.aminmax(torch.tensor(a), dim=0)):
        close(got, want)


def test_correction():
    a = arrays((4, 5))
    for correction in (0, 1, 2):
        compare("var", a, 1, correction=correction)
    compare("var", a, 1, False)
    compare("std", a, False)


@pytest.mark.parametrize("call, error, words", [
    (lambda x: x.sum(2), IndexError, r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"),
    (lambda x: x.sum((0, 0)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
    (lambda x: x.long().var(), RuntimeError, "only support floating point"),
    (lambda x: x.kthvalue(9), RuntimeError, "out of range"),
])
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(fn.tensor(arrays((2, 3))))
