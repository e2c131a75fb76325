"""Putting tensors together, cutting them up, and repeating them."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Size, install
from fastnn.ops.aliases import accept_numpy_names, into
from fastnn.ops.host import compute, result, tensor_of
from fastnn.ops.pieces import join
from fastnn.ops.promotion import result_dtype
from fastnn.ops.shape import flatten, normalize_axes, normalize_axis, unsqueeze

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Unpack

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Dims, Operand
    from fastnn.ops.aliases import AxisName

__all__ = ["atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_tensors", "cartesian_prod", "cat", "chunk",
           "column_stack", "concat", "concatenate", "dsplit", "dstack", "flip", "fliplr", "flipud", "hsplit", "hstack",
           "repeat_interleave", "roll", "rot90", "row_stack", "split", "split_with_sizes", "stack", "tensor_split", "tile",
           "unbind", "vsplit", "vstack"]


def _tensors(tensors, name):
    found = [tensor_of(t) for t in tensors]
    if not found:
        raise (ValueError if name == "cat" else RuntimeError)(f"{name}: expected a non-empty list of Tensors")
    return found


def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None, **names: Unpack[AxisName]) -> Tensor:
    """Join tensors along an existing axis.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.cat([fastnn.zeros(1, 2), fastnn.ones(1, 2)])
    tensor([[0., 0.],
            [1., 1.]])
    """
    if out is not None:
        return into(out, cat(tensors, dim))
    parts = _tensors(tensors, "cat")
    dtype = result_dtype(*parts)
    for i, t in enumerate(parts):
        if t.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    used = [t for t in parts if t.shape != (0,)] or parts[:1]      # torch ignores empty vectors
    axis = normalize_axis(dim, used[0].ndim)
    first = used[0].shape
    for i, t in enumerate(used):
        if t.ndim != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {t.ndim}")
        for d, (m, n) in enumerate(zip(first, t.shape)):
            if d != axis and m != n:
                raise RuntimeError(f"Sizes of tensors must match except in dimension {axis}. Expected size {m} but got size {n} "
                                   f"for tensor number {i} in the list.")
    if dtype.kind == "f" and len(used) == len(parts) and all(t.dtype == dtype for t in used):
        return join(used, axis)
    ends = np.cumsum([t.shape[axis] for t in used])[:-1]
    dtypes, counted = [t.dtype for t in used], {id(t) for t in used}
    ignored = [t for t in parts if id(t) not in counted]
    array = compute("cat", lambda *a: np.concatenate(a, axis, dtype=dtype, casting="unsafe"), *(t.array for t in used))

    def rule(grad):
        pieces = tuple(g.astype(d, copy=False) for g, d in zip(np.split(grad, ends, axis), dtypes))
        return pieces + tuple(np.zeros(0, t.dtype) for t in ignored)
    return result("cat", array, rule, *used, *ignored)


def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None, **names: Unpack[AxisName]) -> Tensor:
    """Join tensors of one shape along a new axis."""
    if out is not None:
        return into(out, stack(tensors, dim))
    parts = _tensors(tensors, "stack")
    axis = normalize_axis(dim, parts[0].ndim + 1)
    shape = parts[0].shape
    for i, t in enumerate(parts):
        if t.shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                               f"{list(t.shape)} at entry {i}")
    dtype = result_dtype(*parts)
    if dtype.kind == "f" and all(t.dtype == dtype for t in parts):
        return join([unsqueeze(t, axis) for t in parts], axis)
    dtypes = [t.dtype for t in parts]
    array = compute("stack", lambda *a: np.stack(a, axis, dtype=dtype, casting="unsafe"), *(t.array for t in parts))

    def rule(grad):
        return tuple(g.astype(d, copy=False) for g, d in zip(np.moveaxis(grad, axis, 0), dtypes))
    return result("stack", array, rule, *parts, formula=lambda *tensors: cat([t.unsqueeze(axis) for t in tensors], axis))


def _at_least(tensors, ndim):
    parts = [tensor_of(t) for t in tensors]
    return [t if t.ndim >= ndim else t.reshape(*[1] * (ndim - t.ndim), *t.shape) for t in parts]


def _each(tensors, function):
    """The function of each of several tensors: of the one given, or of each."""
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tensors[0]
    found = tuple(function(tensor_of(t)) for t in tensors)
    return found[0] if len(found) == 1 else found


def atleast_1d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Numbers as vectors of one element; a tuple for several tensors."""
    return _each(tensors, lambda t: t.reshape(1) if t.ndim == 0 else t)


def atleast_2d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Numbers and vectors as matrices of one row; a tuple for several tensors."""
    return _each(tensors, lambda t: t.reshape(1, -1) if t.ndim < 2 else t)


def atleast_3d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Vectors as (1, n, 1), matrices as (m, n, 1); a tuple for several tensors."""
    return _each(tensors, lambda t: t.reshape(1, -1, 1) if t.ndim < 2 else unsqueeze(t, -1) if t.ndim == 2 else t)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the first axis; vectors become rows."""
    return cat(_at_least(tensors, 2), 0)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the second axis; vectors end to end."""
    parts = _at_least(tensors, 1)
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the third axis."""
    return cat([t if t.ndim >= 3 else unsqueeze(t, -1) for t in _at_least(tensors, 2)], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along the second axis; vectors become columns."""
    parts = [tensor_of(t) for t in tensors]
    return hstack([t.reshape(t.numel(), 1) if t.ndim <= 1 else t for t in parts])


def split(tensor: Tensor, split_size_or_sections: Dims, dim: int = 0, **names: Unpack[AxisName]) -> tuple[Tensor, ...]:
    """Views of pieces along `dim`: of one size (the last may be smaller), or of the sizes given."""
    x = tensor_of(tensor)
    if x.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = normalize_axis(dim, x.ndim)
    n = x.shape[axis]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split expects split_size be {'non-negative' if size < 0 else 'positive'}, but got "
                               f"split_size={size}")
        sizes = [min(size, n - i) for i in range(0, n, size)] if n else [0]
    else:
        sizes = list(split_size_or_sections)
        if sum(sizes) != n:
            raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension "
                               f"{axis}), but got split_sizes={sizes}")
    pieces, start = [], 0
    for size in sizes:
        if size < 0:
            raise RuntimeError("split_with_sizes expects split_sizes have only non-negative entries, but got "
                               f"split_sizes={sizes}")
        pieces.append(x[(slice(None),) * axis + (slice(start, start + size),)])
        start += size
    return tuple(pieces)


split_with_sizes = split


def chunk(input: Tensor, chunks: int, dim: int = 0, **names: Unpack[AxisName]) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal size along `dim`, the last one smaller where it does not go evenly."""
    x = tensor_of(input)
    if x.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = x.shape[normalize_axis(dim, x.ndim)]
    if n == 0:
        return split(x, [0] * chunks, dim)
    return split(x, -(-n // chunks), dim)


def tensor_split(input: Tensor, indices_or_sections: Dims, dim: int = 0, **names: Unpack[AxisName]) -> tuple[Tensor, ...]:
    """Views of `sections` pieces as equal as possible, or cut before the given indices."""
    x = tensor_of(input)
    n = x.shape[normalize_axis(dim, x.ndim)]
    if isinstance(indices_or_sections, int):
        small, larger = divmod(n, indices_or_sections)
        return split(x, [small + 1] * larger + [small] * (indices_or_sections - larger), dim)
    cuts = [int(i) for i in indices_or_sections]
    axis = normalize_axis(dim, x.ndim)
    return tuple(x[(slice(None),) * axis + (slice(a, b),)] for a, b in zip([0, *cuts], [*cuts, n]))


def hsplit(input: Tensor, indices_or_sections: Dims) -> tuple[Tensor, ...]:
    """tensor_split along the second axis (the first of a vector)."""
    return tensor_split(input, indices_or_sections, 0 if tensor_of(input).ndim == 1 else 1)


def vsplit(input: Tensor, indices_or_sections: Dims) -> tuple[Tensor, ...]:
    """tensor_split along the first axis."""
    return tensor_split(input, indices_or_sections, 0)


def dsplit(input: Tensor, indices_or_sections: Dims) -> tuple[Tensor, ...]:
    """tensor_split along the third axis."""
    return tensor_split(input, indices_or_sections, 2)


def unbind(input: Tensor, dim: int = 0, **names: Unpack[AxisName]) -> tuple[Tensor, ...]:
    """The slices along `dim`, as views."""
    x = tensor_of(input)
    if x.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    axis = normalize_axis(dim, x.ndim)
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis]))


def repeat(input: Tensor, *repeats: Dims) -> Tensor:
    """Repeat the whole tensor along each axis (torch's `Tensor.repeat`)."""
    x = tensor_of(input)
    counts = tuple(repeats[0]) if len(repeats) == 1 and not isinstance(repeats[0], int) else repeats
    if len(counts) < x.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * (len(counts) - x.ndim) + tuple(x.shape)
    own = tuple(x.shape)

    def rule(grad):
        parts = grad.reshape([v for pair in zip(counts, shape) for v in pair])
        return parts.sum(axis=tuple(range(0, 2 * len(counts), 2))).reshape(own)
    return result("repeat", compute("repeat", lambda a: np.tile(a, counts), x.array), rule, x, adjoint=lambda t: repeat(t, *counts))


def tile(input: Tensor, *dims: Dims) -> Tensor:
    """Repeat along each axis; axes not named stay."""
    x = tensor_of(input)
    counts: Any = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return repeat(x, (1,) * (x.ndim - len(counts)) + counts)


def repeat_interleave(input: Tensor, repeats: Operand | None = None, dim: int | None = None, *,
                      output_size: int | None = None, **names: Unpack[AxisName]) -> Tensor:
    """Repeat each element along `dim`: all as often, or by a tensor of counts."""
    x = tensor_of(input)
    if repeats is None:
        return result("repeat_interleave", np.repeat(np.arange(x.numel()), x.numpy()), None)
    if dim is None:
        x, dim = flatten(x), 0
    axis = normalize_axis(dim, x.ndim)
    counts = tensor_of(repeats).numpy()
    if counts.ndim and counts.size not in (1, x.shape[axis]):
        raise RuntimeError(f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts.size} and "
                           f"input.size({axis}) = {x.shape[axis]}")
    where = np.repeat(np.arange(x.shape[axis]), counts)
    shape = x.shape

    def rule(grad):
        full = np.zeros(shape, grad.dtype)
        np.add.at(full, (slice(None),) * axis + (where,), grad)
        return full
    return result("repeat_interleave", compute("repeat_interleave", lambda a: np.take(a, where, axis), x.array), rule, x)


def flip(input: Tensor, *axes: Dims, dims: Dims | None = None) -> Tensor:
    """Reverse the order along axes (a copy): `flip(x, 0, 1)`, `flip(x, (0, 1))` or `flip(x, dims=(0, 1))`."""
    x = tensor_of(input)
    given: Any = axes if dims is None else dims
    given = given[0] if isinstance(given, tuple) and len(given) == 1 else given
    at = normalize_axes(given if isinstance(given, int) else tuple(given), x.ndim)
    return result("flip", compute("flip", lambda a: np.flip(a, at).copy(), x.array), lambda g: np.flip(g, at), x,
                  adjoint=lambda t: flip(t, at))


def fliplr(input: Tensor) -> Tensor:
    """Reverse the second axis."""
    return flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """Reverse the first axis."""
    return flip(input, (0,))


def roll(input: Tensor, shifts: Dims, dims: Dims | None = None) -> Tensor:
    """Shift elements along axes, round the end."""
    x = tensor_of(input)
    shifts = shifts if isinstance(shifts, int) else tuple(shifts)
    axes = dims if dims is None or isinstance(dims, int) else tuple(dims)
    back = -shifts if isinstance(shifts, int) else tuple(-s for s in shifts)
    return result("roll", compute("roll", lambda a: np.roll(a, shifts, axes), x.array),
                  lambda g: np.roll(g, back, axes), x, adjoint=lambda t: roll(t, shifts, axes))


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turn by 90 degrees k times in the plane of two axes."""
    x = tensor_of(input)
    first, second = dims
    axes = first, second
    return result("rot90", compute("rot90", lambda a: np.rot90(a, k, axes).copy(), x.array),
                  lambda g: np.rot90(g, -k, axes), x)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape."""
    parts = [tensor_of(t) for t in tensors]
    try:
        shape = np.broadcast_shapes(*(t.shape for t in parts))
    except ValueError:
        raise RuntimeError("broadcast_tensors: shapes do not fit: " + ", ".join(str(list(t.shape)) for t in parts)) from None
    return tuple(t.expand(shape) for t in parts)


def broadcast_shapes(*shapes: int | tuple[int, ...]) -> Size:
    """The common shape of several shapes."""
    try:
        return Size(np.broadcast_shapes(*shapes))
    except ValueError:
        raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape: "
                           + ", ".join(str(s) for s in shapes)) from None


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of the elements of vectors."""
    if len(tensors) == 1:
        return tensor_of(tensors[0])
    grids = [tensor_of(t) for t in tensors]
    shape = [t.numel() for t in grids]
    columns = [flatten(t.reshape(*[n if j == i else 1 for j, n in enumerate(shape)]).expand(shape)) for i, t in enumerate(grids)]
    return stack(columns, 1)


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one."""
    parts = [t.reshape(1, -1) if t.ndim < 2 else t for t in map(tensor_of, tensors)]
    width = sum(t.shape[1] for t in parts)
    rows, start = [], 0
    for t in parts:
        left = result("zeros", np.zeros((t.shape[0], start), t.dtype), None)
        right = result("zeros", np.zeros((t.shape[0], width - start - t.shape[1]), t.dtype), None)
        rows.append(cat([left, t, right], 1))
        start += t.shape[1]
    return cat(rows, 0)


accept_numpy_names(globals(), "cat stack split chunk tensor_split unbind repeat_interleave")
concat = concatenate = cat
row_stack = vstack

for _function in (split, chunk, tensor_split, unbind, repeat, tile, repeat_interleave, flip, fliplr, flipud, roll, rot90, hsplit,
                  vsplit, dsplit):
    install(_function.__name__, _function)
install("split_with_sizes", split)
