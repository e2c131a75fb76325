"""Order: sorting, selection by rank, cumulative operations, distinct values."""
from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np

from fastnn.core.tensor import Tensor, install
from fastnn.ops.aliases import accept_numpy_names
from fastnn.ops.host import compute, result, tensor_of
from fastnn.ops.joining import cat
from fastnn.ops.promotion import INT64, computed_dtype, require_tensors, unsupported
from fastnn.ops.reduce import running_array
from fastnn.ops.shape import normalize_axis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Unpack

    from fastnn.core.types import Array, DTypeArgument, Operand
    from fastnn.ops.aliases import AxisName, AxisNames

__all__ = ["argsort", "bucketize", "cummax", "cummin", "cumprod", "cumsum", "diff", "kthvalue", "logcumsumexp", "median", "mode",
           "msort", "nanmedian", "quantile", "searchsorted", "sort", "topk", "unique", "unique_consecutive"]



class ValuesAndIndices(NamedTuple):
    """What a selection along an axis returns; every operation has a subclass of its own name."""

    values: Tensor
    indices: Tensor


def values_and_indices(name: str) -> type[ValuesAndIndices]:
    """The class under the name of an operation, which its results print."""
    return type(name, (ValuesAndIndices,), {"__slots__": ()})


_SORT, _TOPK, _MEDIAN, _NANMEDIAN, _KTH, _MODE, _CUMMAX, _CUMMIN = map(
    values_and_indices, ("sort", "topk", "median", "nanmedian", "kthvalue", "mode", "cummax", "cummin"))


def pick(name: str, x: Tensor, at: Array, axis: int, keepdim: bool = True) -> tuple[Tensor, Tensor]:
    """(values of x at positions along an axis, with gradient; the positions)."""
    shape, dtype = tuple(x.shape), x.dtype
    at = at.astype(np.int64, copy=False)
    if x.ndim == 0:
        return x.reshape(()), result(name, np.zeros((), np.int64), None)
    y = compute(name, lambda a: np.take_along_axis(a, at, axis), x.array)

    def rule(grad):
        full = np.zeros(shape, dtype)
        np.put_along_axis(full, at, grad if keepdim else np.expand_dims(grad, axis), axis)
        return full
    if not keepdim:
        y = np.squeeze(y, axis)
    return result(name, y, rule, x), result(name, at if keepdim else np.squeeze(at, axis), None)


def _order(a, axis, descending, stable=True):
    """Sorting positions, NaN as the largest; equal elements keep their order."""
    if not descending:
        return np.argsort(a, axis, kind="stable")
    turned = np.argsort(np.flip(a, axis), axis, kind="stable")
    return np.flip(a.shape[axis] - 1 - turned, axis)


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, **names: Unpack[AxisName]) -> ValuesAndIndices:
    """(values, indices) in order along an axis; NaN counts as the largest.  Equal elements keep their order."""
    x = tensor_of(input)
    axis = normalize_axis(dim, x.ndim)
    if x.ndim == 0:
        return _SORT(*pick("sort", x, np.zeros((), np.int64), 0))
    return _SORT(*pick("sort", x, compute("argsort", lambda a: _order(a, axis, descending), x.array), axis))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, **names: Unpack[AxisName]) -> Tensor:
    """The positions that sort along an axis."""
    return sort(input, dim, descending, stable).indices


def msort(input: Tensor) -> Tensor:
    """Sorted along the first axis."""
    return sort(input, 0).values


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, **names: Unpack[AxisName]) -> ValuesAndIndices:
    """(values, indices) of the k largest (or smallest) along an axis, in order."""
    x = tensor_of(input)
    axis = normalize_axis(dim, x.ndim)
    n = x.shape[axis] if x.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError("selected index k out of range")
    if x.ndim == 0:
        return _TOPK(*pick("topk", x, np.zeros((), np.int64), 0))
    at = compute("topk", lambda a: np.take(_order(a, axis, largest), np.arange(k), axis), x.array)
    return _TOPK(*pick("topk", x, at, axis))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, **names: Unpack[AxisNames]) -> ValuesAndIndices:
    """(value, index) of the k-th smallest along an axis, counted from 1."""
    x = tensor_of(input)
    axis = normalize_axis(dim, x.ndim)
    if not 1 <= k <= (x.shape[axis] if x.ndim else 1):
        raise RuntimeError("kthvalue(): selected number k out of range for dimension " + str(axis))
    at = np.take(_order(x.array, axis, False), [k - 1], axis) if x.ndim else np.zeros((), np.int64)
    return _KTH(*pick("kthvalue", x, at, axis, keepdim))


def _middle(a, axis, ignore_nan):
    """Position of the lower median along an axis; a NaN is it where there is one, unless ignored."""
    order = np.argsort(a, axis, kind="stable")
    n = a.shape[axis]
    nan = np.isnan(a).sum(axis, keepdims=True) if a.dtype.kind == "f" else np.zeros(np.delete(a.shape, axis), np.int64)
    nan = nan.reshape([1 if i == axis else m for i, m in enumerate(a.shape)])
    rank = (np.maximum(n - nan, 1) - 1) // 2 if ignore_nan else np.where(nan > 0, n - nan, (n - 1) // 2)
    return np.take_along_axis(order, rank, axis)


def _median(input, dim, keepdim, kind, ignore_nan):
    name = kind.__name__
    x = tensor_of(input)
    if dim is None:
        flat = x.reshape(-1)
        if flat.numel() == 0:
            return result(name, np.asarray(np.nan, x.dtype), None)
        return pick(name, flat, _middle(flat.array, 0, ignore_nan), 0, False)[0]
    axis = normalize_axis(dim, x.ndim)
    if x.ndim == 0:
        return kind(*pick(name, x, np.zeros((), np.int64), 0))
    return kind(*pick(name, x, compute(name, lambda a: _middle(a, axis, ignore_nan), x.array), axis, keepdim))


@overload
def median(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def median(input: Tensor, dim: int, keepdim: bool = False) -> ValuesAndIndices: ...
@overload
def median(input: Tensor, *, axis: int, keepdims: bool = False) -> ValuesAndIndices: ...
def median(input: Tensor, dim: int | None = None, keepdim: bool = False, **names: Unpack[AxisNames]) -> Tensor | ValuesAndIndices:
    """The lower median; with `dim` (values, indices) along it."""
    return _median(input, dim, keepdim, _MEDIAN, False)


@overload
def nanmedian(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def nanmedian(input: Tensor, dim: int, keepdim: bool = False) -> ValuesAndIndices: ...
@overload
def nanmedian(input: Tensor, *, axis: int, keepdims: bool = False) -> ValuesAndIndices: ...
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False, **names: Unpack[AxisNames]) -> Tensor | ValuesAndIndices:
    """The lower median of what is not NaN."""
    return _median(input, dim, keepdim, _NANMEDIAN, True)


def mode(input: Tensor, dim: int = -1, keepdim: bool = False, **names: Unpack[AxisNames]) -> ValuesAndIndices:
    """(values, indices) of the most frequent element along an axis, the smallest of several; its last position."""
    x = tensor_of(input)
    axis = normalize_axis(dim, x.ndim)
    if x.ndim and x.shape[axis] == 0:
        raise IndexError(f"mode(): Expected reduction dim {axis} to have non-zero size.")

    def position(row):
        values, counts = np.unique(row, return_counts=True)
        return np.flatnonzero(row == values[np.argmax(counts)])[-1]
    at = np.expand_dims(np.apply_along_axis(position, axis, x.array), axis) if x.ndim else np.zeros((), np.int64)
    return _MODE(*pick("mode", x, at, axis, keepdim))


def quantile(input: Tensor, q: float | Tensor | Sequence[float], dim: int | None = None, keepdim: bool = False, *,
             interpolation: Any = "linear", **names: Unpack[AxisNames]) -> Tensor:
    """Quantiles along an axis (default all).  Gradients for a single q with linear interpolation."""
    x = tensor_of(input)
    if dim is None:
        flat = quantile(x.reshape(-1), q, 0, False, interpolation=interpolation)
        return flat.reshape(*flat.shape, *[1] * x.ndim) if keepdim else flat
    axis = normalize_axis(dim, x.ndim)
    fractions = q.array if isinstance(q, Tensor) else np.asarray(q, x.dtype)
    if fractions.size and (fractions.min() < 0 or fractions.max() > 1):
        raise RuntimeError("quantile() q must be in the range [0, 1] but got " + str(float(fractions.reshape(-1)[0])))
    if fractions.ndim or interpolation != "linear":
        return result("quantile", np.quantile(x.array, fractions, axis, method=interpolation, keepdims=keepdim).astype(x.dtype), None)
    values = sort(x, axis).values
    place = float(fractions) * (x.shape[axis] - 1)
    low, weight = int(np.floor(place)), place - int(np.floor(place))
    below, above = values.narrow(axis, low, 1), values.narrow(axis, np.minimum(low + 1, x.shape[axis] - 1), 1)
    y = below + (above - below) * weight
    return y if keepdim else y.squeeze(axis)


# ---- cumulative ---------------------------------------------------------------------------------------------------------
def _cumulative_dtype(x, dtype):
    return np.dtype(dtype) if dtype is not None else INT64 if x.dtype.kind in "iub" else x.dtype


def _reverse_cumsum(g, axis):
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


def cumsum(input: Tensor, dim: int, *, dtype: DTypeArgument = None) -> Tensor:
    """Running sum along an axis."""
    x = tensor_of(input)
    axis, to, own = normalize_axis(dim, x.ndim), _cumulative_dtype(x, dtype), x.dtype
    if own.kind == "f" and to == own != computed_dtype(own):
        return cumsum(x.to(computed_dtype(own)), axis).to(own)
    if own.kind == "f" and x.ndim and x.numel() and to == own:
        return result("cumsum", running_array(x.array, axis, False, False), lambda g: running_array(g, axis, False, True), x)
    return result("cumsum", compute("cumsum", lambda a: np.cumsum(a, axis, to) if a.ndim else a.astype(to), x.array),
                  lambda g: _reverse_cumsum(g, axis).astype(own, copy=False) if g.ndim else g, x)


def cumprod(input: Tensor, dim: int, *, dtype: DTypeArgument = None) -> Tensor:
    """Running product along an axis."""
    x = tensor_of(input)
    axis, to = normalize_axis(dim, x.ndim), _cumulative_dtype(x, dtype)
    values = x.array

    def rule(grad):
        if not values.ndim:
            return grad
        a, g = np.moveaxis(values, axis, -1), np.moveaxis(grad, axis, -1)
        full = np.zeros(a.shape, a.dtype)
        n = a.shape[-1]
        for i in range(n):      # d y_j / d x_i = the product of x_0 .. x_j without x_i
            others = a.copy()
            others[..., i] = 1
            full[..., i] = (np.cumprod(others, -1) * g)[..., i:].sum(-1)
        return np.moveaxis(full, -1, axis)
    return result("cumprod", compute("cumprod", lambda a: np.cumprod(a, axis, to) if a.ndim else a.astype(to), values), rule, x,
                  saved=(x,))


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the running sum of exp, along an axis."""
    x = tensor_of(input)
    axis = normalize_axis(dim, x.ndim)
    values = x.array
    if x.dtype.kind != "f":
        raise unsupported("logcumsumexp_out_cpu", x.dtype)
    y = compute("logcumsumexp", lambda a: np.logaddexp.accumulate(a, axis) if a.ndim else a.copy(), values)

    def rule(grad):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return _reverse_cumsum(grad * np.exp(-y), axis) * np.exp(values) if grad.ndim else grad
    return result("logcumsumexp", y, rule, x, saved=(x,))


def _running(input, dim, kind, function):
    x = tensor_of(input)
    axis = normalize_axis(dim, x.ndim)
    if x.ndim == 0:
        return kind(*pick(kind.__name__, x, np.zeros((), np.int64), 0))
    best = function.accumulate(x.array, axis)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    same = (x.array == best) | np.isnan(x.array) if x.dtype.kind == "f" else x.array == best
    at = np.maximum.accumulate(np.where(same, np.arange(x.shape[axis]).reshape(shape), 0), axis)
    dtype, full_shape = x.dtype, tuple(x.shape)

    def rule(grad):
        full = np.zeros(full_shape, dtype)
        key = list(np.ogrid[tuple(slice(n) for n in full_shape)])
        key[axis] = at
        np.add.at(full, tuple(key), grad)
        return full
    return kind(result(kind.__name__, best, rule, x), result(kind.__name__, at.astype(np.int64, copy=False), None))


def cummax(input: Tensor, dim: int) -> ValuesAndIndices:
    """(values, indices) of the running maximum along an axis."""
    return _running(input, dim, _CUMMAX, np.maximum)


def cummin(input: Tensor, dim: int) -> ValuesAndIndices:
    """(values, indices) of the running minimum along an axis."""
    return _running(input, dim, _CUMMIN, np.minimum)


def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None,
         append: Tensor | None = None, **names: Unpack[AxisName]) -> Tensor:
    """Differences of neighbours along an axis, n times."""
    x = tensor_of(input)
    parts = [t for t in (prepend, x, append) if t is not None]
    x = cat(parts, dim) if len(parts) > 1 else x
    axis = normalize_axis(dim, x.ndim)
    for _ in range(min(n, x.shape[axis]) if x.ndim else n):     # none are left of one
        size = x.shape[axis]
        later, earlier = x.narrow(axis, 1, size - 1), x.narrow(axis, 0, size - 1)
        x = later.logical_xor(earlier) if x.dtype == np.bool_ else later - earlier
    return x


# ---- distinct values ----------------------------------------------------------------------------------------------------
def _axis_with_slices(dim, shape):
    """The axis `dim` of a tensor whose slices along it have elements to compare."""
    if not shape:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    axis = normalize_axis(dim, len(shape))
    if 0 in shape[:axis] + shape[axis + 1:]:
        raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    return axis


@overload
def unique(input: Tensor, sorted: bool = True, return_inverse: Literal[False] = False, return_counts: Literal[False] = False,
           dim: int | None = None) -> Tensor: ...
@overload
def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
           dim: int | None = None) -> Any: ...
def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
           dim: int | None = None) -> Tensor | tuple[Tensor, ...]:
    """The distinct elements (or slices along `dim`), sorted; also where they went and how often they occur."""
    require_tensors("unique", input=input)
    x = input.array
    dim = None if dim is None else _axis_with_slices(dim, x.shape)
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    inverse = inverse.reshape(x.shape if dim is None else -1)
    found = [values] + [inverse] * return_inverse + [counts] * return_counts
    tensors = tuple(result("unique", a, None) for a in found)
    return tensors[0] if len(tensors) == 1 else tensors


@overload
def unique_consecutive(input: Tensor, return_inverse: Literal[False] = False, return_counts: Literal[False] = False,
                       dim: int | None = None) -> Tensor: ...
@overload
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False,
                       dim: int | None = None) -> Any: ...
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False,
                       dim: int | None = None) -> Tensor | tuple[Tensor, ...]:
    """The elements without repetitions of their neighbour."""
    require_tensors("unique_consecutive", input=input)
    x = input.array
    dim = None if dim is None else _axis_with_slices(dim, x.shape)
    a = x.reshape(-1) if dim is None else np.moveaxis(x, dim, 0)
    starts = np.ones(len(a), np.bool_)
    if len(a) > 1:
        starts[1:] = (a[1:] != a[:-1]).reshape(len(a) - 1, -1).any(1)
    values = a[starts] if dim is None else np.moveaxis(a[starts], 0, dim)
    inverse = np.cumsum(starts) - 1
    counts = np.diff(np.append(np.flatnonzero(starts), len(a)))
    found = [values] + [inverse.reshape(x.shape) if dim is None else inverse] * return_inverse + [counts] * return_counts
    tensors = tuple(result("unique", f, None) for f in found)
    return tensors[0] if len(tensors) == 1 else tensors


def searchsorted(sorted_sequence: Tensor, input: Operand, *, out_int32: bool = False, right: bool = False,
                 side: str | None = None) -> Tensor:
    """Where to insert values into sorted rows to keep them sorted."""
    rows, values = tensor_of(sorted_sequence).array, tensor_of(input).array
    where: Any = side or ("right" if right else "left")
    if rows.ndim == 1:
        at = np.searchsorted(rows, values, where)
    else:
        at = np.stack([np.searchsorted(r, v, where) for r, v in zip(rows.reshape(-1, rows.shape[-1]),
                                                                   values.reshape(-1, values.shape[-1]))]).reshape(values.shape)
    return result("searchsorted", np.asarray(at, np.int32 if out_int32 else np.int64), None)


def bucketize(input: Operand, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the interval between sorted boundaries in which each value lies."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


accept_numpy_names(globals(), "sort argsort topk kthvalue median nanmedian mode "
                   "quantile cumsum cumprod logcumsumexp cummax cummin diff")
for _function in (sort, argsort, msort, topk, kthvalue, median, nanmedian, mode, quantile, cumsum, cumprod, logcumsumexp, cummax,
                  cummin, diff, unique, unique_consecutive):
    install(_function.__name__, _function)
