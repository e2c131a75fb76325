"""Picking and placing elements by index tensors and masks."""
from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from fastnn.core.tensor import Tensor, install
from fastnn.ops.aliases import into
from fastnn.ops.elementwise import where
from fastnn.ops.host import change, compute, result, tensor_of, view
from fastnn.ops.promotion import number_in, type_name
from fastnn.ops.shape import normalize_axis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.types import Array, Number

__all__ = ["argwhere", "gather", "index_add", "index_copy", "index_fill", "index_put", "index_select", "masked_fill",
           "masked_scatter", "masked_select", "nonzero", "scatter", "scatter_add", "scatter_reduce", "take", "take_along_dim"]


def _index(index, name):
    array = index.array if isinstance(index, Tensor) else np.asarray(index)
    if array.dtype.kind not in "iu":
        raise RuntimeError(f"{name}(): Expected dtype int64 for index")
    return array


def _check_bounds(index, n, axis, name):
    """Raise IndexError for an index outside [0, n): torch takes no negative ones here."""
    wrong = (index < 0) | (index >= n)
    if wrong.any():
        bad = index[wrong][0]
        raise IndexError(f"index {bad} is out of bounds for dimension {axis} with size {n}" if name != "index_select"
                         else f"index out of range in self: index_select got index {bad} for dimension {axis} with size {n}")


def _places(index, axis):
    """The advanced key that gather and scatter mean: index along axis, own position along the others."""
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)]) if index.ndim else []
    if index.ndim:
        grid[axis] = index
    return tuple(grid)


def _checked_places(x, dim, index, name, source_shape=None):
    index = _index(index, name)
    if index.ndim != x.ndim and not (index.ndim <= 1 and x.ndim <= 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as "
                           f"{'input' if name == 'gather' else 'self'} tensor")
    axis = normalize_axis(dim, x.ndim)
    for i, n in enumerate(index.shape):
        if i != axis and i < x.ndim and n > x.shape[i]:
            raise RuntimeError(f"Size does not match at dimension {i} expected index {list(index.shape)} to be no larger than "
                               f"self {list(x.shape)} apart from dimension {axis}")
        if source_shape is not None and source_shape and n > source_shape[i]:
            raise RuntimeError(f"Expected index {list(index.shape)} to be no larger than src {list(source_shape)} in all "
                               "dimensions")
    if x.ndim:
        _check_bounds(index, x.shape[axis], axis, name)
    return _places(index.copy(), axis) if x.ndim and index.ndim else (index.reshape(-1),) if x.ndim else ()


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.gather(fastnn.tensor([[1, 2], [3, 4]]), 1, fastnn.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    x = tensor_of(input)
    key = _checked_places(x, dim, index, "gather")
    shape, dtype, out = tuple(x.shape), x.dtype, tuple(np.shape(index.array))

    def rule(grad):
        full = np.zeros(shape, dtype)
        np.add.at(full, key, grad.reshape(np.shape(full[key])))
        return full
    return result("gather", compute("gather", lambda a: np.asarray(a[key]).reshape(out), x.array), rule, x,
                  adjoint=lambda t: gather(t, dim, index))


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather with broadcasting of the other axes."""
    x = tensor_of(input)
    if dim is None:
        return gather(x.reshape(-1), 0, indices.reshape(-1))
    axis = normalize_axis(dim, x.ndim)
    shape = list(np.broadcast_shapes([1 if i == axis else n for i, n in enumerate(x.shape)],
                                     [1 if i == axis else n for i, n in enumerate(indices.shape)]))
    whole, shape[axis] = list(shape), indices.shape[axis]
    whole[axis] = x.shape[axis]
    return gather(x.expand(whole), axis, indices.expand(shape))


def _source(x, src, key, name):
    """(array of values to place, its tensor or None) for scatter-like operations."""
    if isinstance(src, Tensor):
        if src.dtype != x.dtype:
            raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
        return src.array, src
    return np.asarray(src, x.dtype), None


def _region(index):
    return tuple(slice(n) for n in np.shape(index))


def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | Number | None = None, *, value: Number | None = None,
            reduce: str | None = None) -> Tensor:
    """A copy of input with src (or a number) written at the places that `gather` would read."""
    if reduce is not None:
        return scatter_reduce(input, dim, index, src if src is not None else value,
                              {"add": "sum", "multiply": "prod"}[reduce])
    x = tensor_of(input)
    src = value if src is None else src
    values, given = _source(x, src, None, "scatter")
    key = _checked_places(x, dim, index, "scatter", values.shape if given is not None else None)
    region = _region(index.array)

    def place(a):
        out = a.copy()
        out[key] = values[region] if given is not None else values
        return out

    def rule(grad):
        rest = grad.copy()
        rest[key] = 0
        if given is None:
            return rest
        dsrc = np.zeros(values.shape, grad.dtype)
        dsrc[region] = grad[key]
        return rest, dsrc
    inputs = (x,) if given is None else (x, given)
    return result("scatter", compute("scatter", place, x.array), rule, *inputs)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of input with src added at the places that `gather` would read."""
    x = tensor_of(input)
    values, given = _source(x, src, None, "scatter")
    key = _checked_places(x, dim, index, "scatter", values.shape)
    region = _region(index.array)

    def place(a):
        out = a.copy()
        np.add.at(out, key, values[region])
        return out

    def rule(grad):
        dsrc = np.zeros(values.shape, grad.dtype)
        dsrc[region] = grad[key]
        return grad, dsrc
    return result("scatter_add", compute("scatter_add", place, x.array), rule, x, given)


def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor | Number | None, reduce: str, *,
                   include_self: bool = True) -> Tensor:
    """A copy of input with src combined into it: "sum", "prod", "mean", "amax" or "amin".  Gradients for sum and mean."""
    x = tensor_of(input)
    values, given = _source(x, src, None, "scatter")
    if given is None:
        values = np.broadcast_to(values, np.shape(index.array))
    key = _checked_places(x, dim, index, "scatter", values.shape)
    region = _region(index.array)
    functions = {"sum": np.add, "prod": np.multiply, "mean": np.add, "amax": np.maximum, "amin": np.minimum}
    if reduce not in functions:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    start = {"sum": 0, "prod": 1, "mean": 0, "amax": -np.inf, "amin": np.inf}[reduce]
    counts = np.full(x.shape, 1 if include_self else 0, np.int64)
    np.add.at(counts, key, 1)
    touched = counts > (1 if include_self else 0)

    def place(a):
        out = a.copy()
        if not include_self:
            out[touched] = start
        functions[reduce].at(out, key, values[region])
        if reduce == "mean":
            out = (out / np.maximum(counts, 1)).astype(a.dtype) if a.dtype.kind == "f" else out // np.maximum(counts, 1)
        return out

    def rule(grad):
        if reduce not in ("sum", "mean"):
            raise NotImplementedError(f"scatter_reduce: no gradient for reduce='{reduce}'")
        g = grad / np.maximum(counts, 1).astype(grad.dtype) if reduce == "mean" else grad
        dsrc = np.zeros(values.shape, grad.dtype)
        dsrc[region] = g[key]
        return g if include_self else np.where(touched, np.zeros((), g.dtype), g), dsrc
    inputs = (x,) if given is None else (x, given)
    return result("scatter_reduce", compute("scatter_reduce", place, x.array),
                  rule if given is not None else lambda g: rule(g)[0], *inputs)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of one axis named by a vector of indices."""
    x = tensor_of(input)
    at = _index(index, "index_select")
    if at.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    axis = normalize_axis(dim, x.ndim)
    key: Any = (slice(None),) * axis + (at.reshape(-1).copy(),)
    if x.ndim == 0:
        return result("index_select", x.array.copy(), lambda g: g, x)
    _check_bounds(at, x.shape[axis], axis, "index_select")
    shape, dtype = tuple(x.shape), x.dtype

    def rule(grad):
        full = np.zeros(shape, dtype)
        np.add.at(full, key, grad)
        return full
    return result("index_select", compute("index_select", lambda a: np.take(a, key[-1], axis), x.array), rule, x,
                  adjoint=lambda t: index_select(t, dim, index))


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Tensor:
    """A copy of input with alpha times the slices of source added at the slices named by index."""
    x, s = tensor_of(input), tensor_of(source)
    axis = normalize_axis(dim, x.ndim)
    index = _index(index, "index_add").copy()
    _check_bounds(index, x.shape[axis], axis, "index_add")
    key = (slice(None),) * axis + (index,)
    values = s.array

    def place(a):
        out = a.copy()
        np.add.at(out, key, values if alpha == 1 else values * np.asarray(alpha, values.dtype))
        return out
    return result("index_add", compute("index_add", place, x.array),
                  lambda g: (g, np.take(g, index, axis) * np.asarray(alpha, g.dtype)), x, s)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of input with the slices named by index replaced by those of source."""
    x, s = tensor_of(input), tensor_of(source)
    axis = normalize_axis(dim, x.ndim)
    index = _index(index, "index_copy").copy()
    _check_bounds(index, x.shape[axis], axis, "index_copy")
    key = (slice(None),) * axis + (index,)
    values = s.array

    def place(a):
        out = a.copy()
        out[key] = values
        return out

    def rule(grad):
        rest = grad.copy()
        rest[key] = 0
        return rest, np.take(grad, index, axis)
    return result("index_copy", compute("index_copy", place, x.array), rule, x, s)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Number | Tensor) -> Tensor:
    """A copy of input with the slices named by index set to a number."""
    x = tensor_of(input)
    axis = normalize_axis(dim, x.ndim)
    key = (slice(None),) * axis + (_index(index, "index_fill").copy(),)
    number = value.item() if isinstance(value, Tensor) else value

    def place(a, v=number):
        out = a.copy()
        out[key] = v
        return out
    return result("index_fill", compute("index_fill", place, x.array), lambda g: place(g, 0), x)


def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with values written (or added) at an index tuple."""
    out = tensor_of(input).clone()
    return index_put_(out, indices, values, accumulate)


def index_put_(self: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) values at an index tuple, in place."""
    key = tuple(indices)
    if not accumulate:
        self[key] = values
        return self
    v = tensor_of(values)
    arrays = tuple(k.array.copy() if isinstance(k, Tensor) else k for k in key)
    taken = self.array[arrays].shape
    shape = tuple(v.shape)

    def rule(grad):
        g = grad[arrays]
        extra = g.ndim - len(shape)
        g = g.sum(axis=tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1 and taken[extra + i] != 1))
        return grad, g.reshape(shape)
    return change("index_put", self, lambda a: np.add.at(a, arrays, v.array), rule, v)


def masked_fill(input: Tensor, mask: Tensor | Array, value: Number | Tensor) -> Tensor:
    """A copy of input with a number where the mask holds."""
    x, m = tensor_of(input), tensor_of(mask)
    if m.dtype != np.bool_:
        raise RuntimeError(f"masked_fill only supports boolean masks, but got mask with dtype {type_name(m.dtype)}")
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError("masked_fill only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value.ndim} dimension(s).")
    if not isinstance(value, Tensor):
        number = number_in(value, x.dtype)      # what does not fit is an error
        return where(m, float(value), x) if x.dtype.kind == "f" else result("full", number, None).where(m, x)
    return (value if value.dtype == x.dtype else value.to(x.dtype)).where(m, x)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, as a vector."""
    x, m = tensor_of(input), tensor_of(mask)
    if m.dtype != np.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = np.broadcast_shapes(x.shape, m.shape)
    return x.expand(shape)[m.expand(shape)]


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of input with the first elements of source where the mask holds."""
    x, m, s = tensor_of(input), tensor_of(mask), tensor_of(source)
    shape = np.broadcast_shapes(x.shape, m.shape)
    out = x.expand(shape).clone()
    where = m.expand(shape)
    out[where] = s.reshape(-1)[:int(where.array.sum())]
    return out


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions counted over the flattened tensor."""
    return tensor_of(input).reshape(-1)[index]


@overload
def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: Literal[False] = False) -> Tensor: ...
@overload
def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...
def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """The positions of the nonzero elements: one per row, or one tensor per axis."""
    if out is not None:
        return into(out, nonzero(input))
    found = np.nonzero(np.atleast_1d(tensor_of(input).array)) if tensor_of(input).ndim else None
    if as_tuple:
        found = found if found is not None else np.nonzero(np.atleast_1d(tensor_of(input).array))
        return tuple(result("nonzero", a, None) for a in found)
    if found is None:
        return result("nonzero", np.zeros((int(bool(tensor_of(input).array)), 0), np.int64), None)
    return result("nonzero", np.stack(found, 1).astype(np.int64), None)


def argwhere(input: Tensor) -> Tensor:
    """The positions of the nonzero elements, one per row."""
    return nonzero(input)


def windows(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All slices of `size` along an axis, `step` apart, on a new last axis: a view."""
    x = tensor_of(input)
    axis = normalize_axis(dimension, x.ndim)
    array = x.array if x.ndim else x.array.reshape(1)
    length = array.shape[axis]
    if size < 0 or size > length:
        raise RuntimeError(f"maximum size for tensor at dimension {axis} is {length} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    count = (length - size) // step + 1
    shape, strides = list(array.shape), list(array.strides)
    shape[axis], pace = count, strides[axis]
    strides[axis] = pace * step
    seen = np.lib.stride_tricks.as_strided(array, (*shape, size), (*strides, pace), writeable=array.flags.writeable)
    if not x.ndim:
        seen = seen[0]

    def rule(grad):
        dx = np.zeros(array.shape, grad.dtype)
        lines = np.moveaxis(dx, axis, -1)
        g = np.moveaxis(grad if x.ndim else grad[None], axis, -2)
        for i in range(size):       # within one place of the window nothing overlaps
            lines[..., i:i + (count - 1) * step + 1:step] += g[..., i]
        return dx.reshape(x.shape)
    return view("unfold", x, seen, rule)


install("unfold", windows)
for _function in (gather, take_along_dim, scatter, scatter_add, scatter_reduce, index_select, index_add, index_copy, index_fill,
                  index_put, index_put_, masked_fill, masked_select, masked_scatter, take, nonzero, argwhere):
    install(_function.__name__, _function)
