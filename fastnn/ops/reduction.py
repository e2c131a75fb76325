"""Reductions over axes, and what runs along them: sums, extrema, variance, norms, cumulative sums, sorting."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from fastnn.core.tape import no_derivative
from fastnn.core.tensor import Tensor, install
from fastnn.ops.aliases import accept_numpy_names, into
from fastnn.ops.host import compute, keeps_output, result, tensor_of
from fastnn.ops.promotion import INT64, computed_dtype, result_type, type_name, unsupported
from fastnn.ops.reduce import extreme_array, mean, reduce_array, sum
from fastnn.ops.shape import normalize_axes, normalize_axis
from fastnn.ops.softmax import logsumexp
from fastnn.ops.sorting import ValuesAndIndices, pick, values_and_indices

if TYPE_CHECKING:
    from typing import Any, Unpack

    from fastnn.core.types import Dims, DTypeArgument, Number
    from fastnn.ops.aliases import AxesNames, AxisNames

__all__ = ["all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "bincount", "count_nonzero", "dist", "histc", "logsumexp",
           "max", "mean", "min", "nanmean", "nansum", "norm", "prod", "std", "std_mean", "sum", "var", "var_mean"]

_MAX, _MIN = map(values_and_indices, ("max", "min"))
_largest = max      # the builtin; the names below are torch's


class MinAndMax(NamedTuple):
    """What `aminmax` returns."""

    min: Tensor
    max: Tensor


MinAndMax.__name__ = "aminmax"


def _expander(shape, axes, keepdim):
    """The function that gives a reduced gradient the rank of the input back."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return lambda g: g if keepdim else g.reshape(kept)


def _widened(function, x, *arguments):
    """The function computed in the kernels' dtype and rounded, for float16 and longer floats; None for what is computed as it is."""
    inner = computed_dtype(x.dtype) if x.dtype.kind == "f" else x.dtype
    return None if x.dtype == inner else function(x.to(inner), *arguments).to(x.dtype)


def _count(shape, axes):
    n = 1
    for a in axes:
        n *= shape[a]
    return n


# ---- sums -------------------------------------------------------------------------------------------------------------
def nansum(input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: DTypeArgument = None,
           **names: Unpack[AxesNames]) -> Tensor:
    """Sum that counts NaN as zero."""
    x = tensor_of(input)
    return sum(x.where(~x.isnan(), 0.0) if x.dtype.kind == "f" else x, dim, keepdim, dtype=dtype)


def nanmean(input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: DTypeArgument = None,
            **names: Unpack[AxesNames]) -> Tensor:
    """Mean over what is not NaN."""
    x = tensor_of(input)
    wide = _widened(nanmean, x, dim, keepdim) if dtype is None else None
    if wide is not None:
        return wide
    return nansum(x, dim, keepdim, dtype=dtype) / sum((~x.isnan()).to(x.dtype), dim, keepdim)


def prod(input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: DTypeArgument = None,
         **names: Unpack[AxesNames]) -> Tensor:
    """Product over one axis (default all).  Integers and bools multiply to int64."""
    x = tensor_of(input)
    wide = _widened(prod, x, dim, keepdim) if dtype is None else None
    if wide is not None:
        return wide
    axes = normalize_axes(dim, x.ndim) if dim is not None else tuple(range(x.ndim))
    shape, own = tuple(x.shape), x.dtype
    to = np.dtype(dtype) if dtype is not None else INT64 if x.dtype.kind in "iub" else x.dtype
    expand = _expander(shape, axes, keepdim)
    values = x.array

    def rule(grad):
        flat = np.moveaxis(values, axes, range(values.ndim - len(axes), values.ndim))
        rows = flat.reshape(*flat.shape[:flat.ndim - len(axes)], -1)
        ones = np.ones((*rows.shape[:-1], 1), rows.dtype)
        before = np.cumprod(np.concatenate([ones, rows[..., :-1]], -1), -1)
        after = np.cumprod(np.concatenate([ones, rows[..., :0:-1]], -1), -1)[..., ::-1]
        others = np.moveaxis((before * after).reshape(flat.shape), range(values.ndim - len(axes), values.ndim), axes)
        return (np.broadcast_to(expand(grad), shape) * others).astype(own, copy=False)
    return result("prod", compute("prod", lambda a: a.prod(axis=axes, dtype=to, keepdims=keepdim), values), rule, x, saved=(x,))


# ---- variance and norms -----------------------------------------------------------------------------------------------
def _variance(x, dim, unbiased, keepdim, correction, root):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    correction = (1 if unbiased is None or unbiased else 0) if correction is None else correction
    if x.dtype.kind != "f":
        raise RuntimeError("std and var only support floating point and complex dtypes")
    wide = _widened(_variance, x, dim, None, keepdim, correction, root)
    if wide is not None:
        return wide
    axes = normalize_axes(dim, x.ndim) or tuple(range(x.ndim))
    shape = tuple(x.shape)
    n = _count(shape, axes)
    expand = _expander(shape, axes, keepdim)
    values = x.array
    divisor = np.asarray(_largest(n - correction, 0), x.dtype)

    def forward(a):
        with np.errstate(invalid="ignore", divide="ignore"):
            centred = a - a.sum(axis=axes, keepdims=True) / np.asarray(n, a.dtype)
            v = (centred * centred).sum(axis=axes, keepdims=keepdim) / divisor
            return np.sqrt(v) if root else v
    y = compute("std" if root else "var", forward, values)

    def rule(grad):
        with np.errstate(invalid="ignore", divide="ignore"):
            centred = values - values.sum(axis=axes, keepdims=True) / np.asarray(n, values.dtype)
            if root:
                g = np.where(y == 0, np.zeros((), y.dtype), grad / (y * divisor))
                return expand(g) * centred
            return expand(grad * 2 / divisor) * centred

    def formula(t):
        centred = t - mean(t, axes, True)
        v = sum(centred * centred, axes, keepdim) / float(divisor)
        return _root(v) if root else v
    out = result("std" if root else "var", y, rule, x, saved=(x,), formula=formula)
    return keeps_output(out) if root else out


def _root(t):
    """The square root, of 0 with gradient 0."""
    above = t != 0
    return t.where(above, 1.0).sqrt().where(above, 0.0)


def var(input: Tensor, dim: Dims | None = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: Number | None = None, **names: Unpack[AxesNames]) -> Tensor:
    """Variance over axes, divided by n - correction (default 1)."""
    return _variance(tensor_of(input), dim, unbiased, keepdim, correction, False)


def std(input: Tensor, dim: Dims | None = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: Number | None = None, **names: Unpack[AxesNames]) -> Tensor:
    """Standard deviation over axes: the root of `var`."""
    return _variance(tensor_of(input), dim, unbiased, keepdim, correction, True)


def var_mean(input: Tensor, dim: Dims | None = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: Number | None = None, **names: Unpack[AxesNames]) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(input: Tensor, dim: Dims | None = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: Number | None = None, **names: Unpack[AxesNames]) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean."""
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, None if isinstance(dim, bool) else dim, keepdim)


def norm(input: Tensor, p: float | str | None = "fro", dim: Dims | None = None, keepdim: bool = False,
         out: Tensor | None = None, dtype: DTypeArgument = None, **names: Unpack[AxesNames]) -> Tensor:
    """The p-norm over axes (default all): (sum |x|^p)^(1/p); p may be inf, -inf, 0 or "fro" (2)."""
    if out is not None:
        return into(out, norm(input, p, dim, keepdim, dtype=dtype))
    x = tensor_of(input)
    if dtype is not None:
        x = x.to(dtype)
    if x.dtype.kind != "f":
        raise RuntimeError("linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
                           f"{type_name(x.dtype)}")
    wide = _widened(norm, x, p, dim, keepdim)
    if wide is not None:
        return wide
    p = 2.0 if p in ("fro", None) else float(p)
    axes = normalize_axes(dim, x.ndim) or tuple(range(x.ndim))
    shape, values = tuple(x.shape), x.array
    expand = _expander(shape, axes, keepdim)

    def forward(a):
        size = np.abs(a)
        if p == 2:
            return np.sqrt((a * a).sum(axis=axes, keepdims=keepdim))
        if p == 1:
            return size.sum(axis=axes, keepdims=keepdim)
        if p == 0:
            return (a != 0).sum(axis=axes, keepdims=keepdim).astype(a.dtype)
        if np.isinf(p):
            return (size.max if p > 0 else size.min)(axis=axes, keepdims=keepdim)
        return ((size ** p).sum(axis=axes, keepdims=keepdim) ** (1 / p)).astype(a.dtype)
    y = compute("norm", forward, values)

    def rule(grad):
        g, total = expand(grad), expand(y)
        zero = np.zeros((), values.dtype)
        with np.errstate(invalid="ignore", divide="ignore"):
            if p == 1:
                return g * np.sign(values)
            if p == 2:
                return np.where(total == 0, zero, values * (g / total))
            if np.isinf(p):
                at = np.abs(values) == total
                return np.sign(values) * at * (g / at.sum(axis=axes, keepdims=True).astype(values.dtype))
            scaled = np.sign(values) * np.abs(values) ** (p - 1) * (g / total ** (p - 1))
            return np.where((total == 0) | ((values == 0) & (p < 1)), zero, scaled).astype(values.dtype, copy=False)

    def formula(t):
        if p == 2:
            return _root(sum(t * t, axes, keepdim))
        if p == 1:
            return sum(t.abs(), axes, keepdim)
        if p == 0 or np.isinf(p):
            raise no_derivative(f"the norm with p = {p:g}")
        powers = sum(t.abs() ** p, axes, keepdim)
        return (powers.where(powers != 0, 1.0) ** (1 / p)).where(powers != 0, 0.0)
    out = result("norm", y, rule if p else lambda g: None, x, saved=(x,), formula=formula)
    return out if p in (0, 1) else keeps_output(out)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    x, y = tensor_of(input), tensor_of(other)
    dtype = result_type(x, y)
    inner = computed_dtype(dtype) if dtype.kind == "f" else dtype
    return norm(x.to(inner) - y.to(inner), p).to(dtype)


# ---- extrema ----------------------------------------------------------------------------------------------------------
def _empty_message(name, x, axis=None):
    if axis is None:
        return (f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the "
                "'dim' argument.")
    return f"{name}(): Expected reduction dim {axis} to have non-zero size."


def _extreme_all(x, name, function):
    """max() or min() of everything: ties share the gradient."""
    values = x.array
    if values.size == 0:
        raise RuntimeError(_empty_message(name, x))
    y = reduce_array(values, name, tuple(range(values.ndim)), False)
    if y is None:
        y = compute(name, function, values)

    def rule(grad):
        at = values == y if y == y else np.isnan(values)
        return at * (grad / np.asarray(at.sum(), grad.dtype))
    return result(name, y, rule, x, saved=(x,))


def _extreme_dim(x, dim, keepdim, name, kind):
    values = x.array
    axis = normalize_axis(dim, values.ndim)
    if values.ndim == 0:
        return kind(x.reshape(()), result(name, np.zeros((), np.int64), None))
    if values.shape[axis] == 0:
        raise IndexError(_empty_message(name, x, axis))
    y, at = extreme_array(values, axis, name == "min")
    if values.dtype.kind != "f":
        return kind(*pick(name, x, np.expand_dims(at, axis), axis, keepdim))
    shape = values.shape
    kept = (*shape[:axis], 1, *shape[axis + 1:])

    def rule(grad):
        full = np.zeros(shape, grad.dtype)
        np.put_along_axis(full, at.reshape(kept), grad.reshape(kept), axis)
        return full
    if keepdim:
        y, at = y.reshape(kept), at.reshape(kept)
    places = result(name, at.reshape(kept), None)

    def taken(t):
        return t.gather(axis, places).reshape(y.shape)
    return kind(result(name, y, rule, x, adjoint=taken), result(name, at, None))


def _into_out(out, function, *args):
    """out, or a pair of them, with what the function finds."""
    found = function(*args)
    return into(out, found) if isinstance(found, Tensor) else type(found)(*map(into, out, found))


@overload
def max(input: Tensor, dim: None = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor: ...
@overload
def max(input: Tensor, dim: int, keepdim: bool = False, *, out: tuple[Tensor, Tensor] | None = None) -> ValuesAndIndices: ...
@overload
def max(input: Tensor, dim: Tensor, *, out: Tensor | None = None) -> Tensor: ...
@overload
def max(input: Tensor, *, axis: int, keepdims: bool = False, out: tuple[Tensor, Tensor] | None = None) -> ValuesAndIndices: ...
def max(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, out: Any = None,
        **names: Unpack[AxisNames]) -> Tensor | ValuesAndIndices:
    """The largest element; with `dim` (values, indices) along it; with a tensor as second argument `maximum`.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.max(fastnn.tensor([[1, 5], [7, 2]]), 1).indices
    tensor([1, 0])
    """
    if out is not None:
        return _into_out(out, max, input, dim, keepdim)
    x = tensor_of(input)
    if isinstance(dim, Tensor):
        return x.maximum(dim)
    return _extreme_all(x, "max", np.max) if dim is None else _extreme_dim(x, dim, keepdim, "max", _MAX)


@overload
def min(input: Tensor, dim: None = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor: ...
@overload
def min(input: Tensor, dim: int, keepdim: bool = False, *, out: tuple[Tensor, Tensor] | None = None) -> ValuesAndIndices: ...
@overload
def min(input: Tensor, dim: Tensor, *, out: Tensor | None = None) -> Tensor: ...
@overload
def min(input: Tensor, *, axis: int, keepdims: bool = False, out: tuple[Tensor, Tensor] | None = None) -> ValuesAndIndices: ...
def min(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, out: Any = None,
        **names: Unpack[AxisNames]) -> Tensor | ValuesAndIndices:
    """The smallest element; with `dim` (values, indices) along it; with a tensor as second argument `minimum`."""
    if out is not None:
        return _into_out(out, min, input, dim, keepdim)
    x = tensor_of(input)
    if isinstance(dim, Tensor):
        return x.minimum(dim)
    return _extreme_all(x, "min", np.min) if dim is None else _extreme_dim(x, dim, keepdim, "min", _MIN)


def _extreme_axes(input, dim, keepdim, name, function):
    x = tensor_of(input)
    axes = normalize_axes(None if dim == () else dim, x.ndim)
    for a in axes:
        if x.shape[a] == 0:
            raise IndexError(_empty_message(name, x, a))
    shape, values = tuple(x.shape), x.array
    expand = _expander(shape, axes, keepdim)
    y = reduce_array(values, name[1:], axes, keepdim)
    if y is None:
        y = compute(name, lambda a: function(a, axis=axes, keepdims=keepdim), values)

    def rule(grad):
        at = (values == expand(y)) | np.isnan(values)
        return at * (expand(grad) / at.sum(axis=axes, keepdims=True).astype(values.dtype))
    return keeps_output(result(name, y, rule, x, saved=(x,)))


def amax(input: Tensor, dim: Dims = (), keepdim: bool = False, **names: Unpack[AxesNames]) -> Tensor:
    """The largest element over axes; ties share the gradient."""
    return _extreme_axes(input, dim, keepdim, "amax", np.max)


def amin(input: Tensor, dim: Dims = (), keepdim: bool = False, **names: Unpack[AxesNames]) -> Tensor:
    """The smallest element over axes; ties share the gradient."""
    return _extreme_axes(input, dim, keepdim, "amin", np.min)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False, **names: Unpack[AxisNames]) -> MinAndMax:
    """The smallest and the largest element."""
    dims = () if dim is None else dim
    return MinAndMax(amin(input, dims, keepdim), amax(input, dims, keepdim))


def _argument(input, dim, keepdim, name):
    x = tensor_of(input)
    values = x.array
    if values.size == 0 and dim is None:
        raise IndexError(_empty_message(name, x))
    if dim is None:
        at = extreme_array(values.reshape(-1), 0, name == "argmin")[1]
        return result(name, at.reshape((1,) * values.ndim) if keepdim else at, None)
    axis = normalize_axis(dim, values.ndim)
    if values.ndim == 0:
        return result(name, np.zeros((), np.int64), None)
    if values.shape[axis] == 0:
        raise IndexError(_empty_message(name, x, axis))
    at = extreme_array(values, axis, name == "argmin")[1]
    return result(name, np.expand_dims(at, axis) if keepdim else at, None)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False, **names: Unpack[AxisNames]) -> Tensor:
    """The position of the largest element, along an axis or over the flattened tensor."""
    return _argument(input, dim, keepdim, "argmax")


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False, **names: Unpack[AxisNames]) -> Tensor:
    """The position of the smallest element, along an axis or over the flattened tensor."""
    return _argument(input, dim, keepdim, "argmin")


# ---- truth and counts ----------------------------------------------------------------------------------------------------
def _truth(input, dim, keepdim, name, function):
    x = tensor_of(input)
    axes = normalize_axes(dim, x.ndim)
    y = compute(name, lambda a: function(a, axis=axes, keepdims=keepdim), x.array)
    return result(name, y.astype(np.uint8) if x.dtype == np.uint8 else y, None)


def any(input: Tensor, dim: Dims | None = None, keepdim: bool = False, **names: Unpack[AxesNames]) -> Tensor:
    """Is some element nonzero?"""
    return _truth(input, dim, keepdim, "any", np.any)


def all(input: Tensor, dim: Dims | None = None, keepdim: bool = False, **names: Unpack[AxesNames]) -> Tensor:
    """Are all elements nonzero?"""
    return _truth(input, dim, keepdim, "all", np.all)


def count_nonzero(input: Tensor, dim: Dims | None = None, **names: Unpack[AxesNames]) -> Tensor:
    """How many elements are nonzero?"""
    x = tensor_of(input)
    axes = normalize_axes(dim, x.ndim)
    return result("count_nonzero", compute("count_nonzero", lambda a: np.asarray(np.count_nonzero(a, axes)), x.array), None)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs."""
    x = tensor_of(input).array
    if x.dtype.kind not in "iu":
        raise unsupported("bincount_cpu", x.dtype)
    if x.ndim != 1 or (x.size and x.min() < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    w = None if weights is None else tensor_of(weights)
    counts = np.bincount(x, None if w is None else w.array, minlength)
    return result("bincount", counts if w is None else counts.astype(w.dtype), None)


def histc(input: Tensor, bins: int = 100, min: Number = 0, max: Number = 0) -> Tensor:
    """Counts of the elements in bins of equal width."""
    a = tensor_of(input).array
    low, high = (a.min(), a.max()) if min == max == 0 and a.size else (min, max)
    if low == high:
        low, high = low - 1, high + 1
    return result("histc", np.histogram(a, bins, (low, high))[0].astype(a.dtype), None)


accept_numpy_names(globals(), "nansum nanmean prod var std var_mean std_mean norm max "
                   "min amax amin aminmax argmax argmin any all count_nonzero logsumexp")
for _function in (nansum, nanmean, prod, var, std, norm, dist, max, min, amax, amin, aminmax, argmax, argmin,
                  any, all, count_nonzero, bincount, histc):
    install(_function.__name__, _function)
install("logsumexp", logsumexp)
