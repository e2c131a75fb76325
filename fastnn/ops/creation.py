"""Tensors made from data, from a shape, or from a rule."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.storage import new_array, pooled
from fastnn.core.tensor import Tensor, from_array, get_default_dtype, install
from fastnn.ops.aliases import into
from fastnn.ops.host import compute, result, tensor_of
from fastnn.ops.promotion import check_device, number_dtype, number_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import DTypeLike

    from fastnn.core.types import Array, Device, Dims, DType, DTypeArgument, Number

__all__ = ["arange", "as_tensor", "asarray", "diag", "diag_embed", "diagonal", "empty", "empty_like", "eye", "frombuffer",
           "from_dlpack", "from_numpy", "full", "full_like", "linspace", "logspace", "meshgrid", "ones", "ones_like", "tensor",
           "tril", "tril_indices", "triu", "triu_indices", "vander", "zeros", "zeros_like"]


def _new(array, requires_grad, device=None, out=None):
    check_device(device)
    return from_array(array, requires_grad) if out is None else into(out, from_array(array))


def _default(dtype, out=None):
    return np.dtype(dtype) if dtype is not None else get_default_dtype() if out is None else out.dtype


def _shape(size, named=None):
    """A shape given as separate ints or as one sequence, or by name."""
    if named is not None:
        size = (named,)
    if len(size) == 1 and not isinstance(size[0], int | np.integer):
        size = tuple(size[0])
    for n in size:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(size)}")
    return tuple(int(n) for n in size)


# ---- from data --------------------------------------------------------------------------------------------------------
def _array_of(data, dtype):
    """data as an array: Python floats in the default dtype, ints in int64, arrays and tensors in their own."""
    if isinstance(data, Tensor):
        array = data.array
    elif hasattr(data, "dtype") or hasattr(data, "__array_interface__") or hasattr(data, "__dlpack__"):
        array = data.detach().numpy() if hasattr(data, "detach") else np.asarray(data)
    elif dtype is None:
        array = _nested(data)
        if array.dtype.kind == "f" and not _has_arrays(data):
            array = array.astype(get_default_dtype())
    else:
        return np.array(_nested(data), dtype=dtype)
    return array if dtype is None or array.dtype == dtype else array.astype(dtype)


def _has_arrays(data):
    """Does a nested list hold NumPy values, whose dtype counts?"""
    if isinstance(data, list | tuple):
        return bool(data) and _has_arrays(data[0])
    return isinstance(data, np.ndarray | np.floating | Tensor)


def _nested(data):
    """An array from numbers and nested lists, which may hold tensors."""
    if isinstance(data, list | tuple) and any(isinstance(d, Tensor | list | tuple) for d in data):
        data = [_nested(d.detach().array if isinstance(d, Tensor) else d) if not isinstance(d, np.ndarray) else d for d in data]
        shapes = {np.shape(d) for d in data}
        if len(shapes) > 1:
            first, *rest = (np.shape(d) for d in data)
            other = next((s for s in rest if s != first), ())
            raise ValueError(f"expected sequence of length {first[0] if first else 0} at dim 1 (got {other[0] if other else 0})")
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError("expected sequences of equal length at every depth") from None
    if array.dtype.kind in "OUS":
        _refuse(data)
    if array.size == 0 and array.dtype == np.float64:
        array = array.astype(get_default_dtype())
    return array


def _refuse(data):
    """Raise torch's kind of error for what is no number."""
    nested = isinstance(data, list | tuple)
    first = data
    while isinstance(first, list | tuple) and first:
        first = next((item for item in first if isinstance(item, list | tuple | str | bytes) or not np.isscalar(item)), first[0])
    if isinstance(first, str | bytes):
        raise (ValueError if nested else TypeError)(f"too many dimensions '{type(first).__name__}'" if nested
                                                    else f"new(): invalid data type '{type(first).__name__}'")
    raise RuntimeError(f"Could not infer dtype of {type(first).__name__}")


def tensor(data: Any, *, dtype: DTypeArgument = None, device: Device = None, requires_grad: bool = False,
           pin_memory: bool = False) -> Tensor:
    """A new tensor with a copy of data.

    Parameters
    ----------
    data : number, nested list, array or tensor
        Python floats become the default dtype, ints int64; arrays keep their dtype.
    dtype : optional
    device : None or "cpu"
    requires_grad : bool, default False

    Examples
    --------
    >>> import fastnn
    >>> fastnn.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    array = _array_of(data, None if dtype is None else np.dtype(dtype))
    return _new(np.array(array, order="K"), requires_grad, device)


def as_tensor(data: Any, dtype: DTypeArgument = None, device: Device = None) -> Tensor:
    """data as a tensor, sharing memory where its dtype allows; a tensor of the right dtype is returned itself."""
    check_device(device)
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    return from_array(_array_of(data, None if dtype is None else np.dtype(dtype)))


def asarray(obj: Any, *, dtype: DTypeArgument = None, device: Device = None, copy: bool | None = None,
            requires_grad: bool = False) -> Tensor:
    """As `as_tensor`; copy=True never shares memory, copy=False always."""
    if copy:
        return tensor(obj, dtype=dtype, device=device, requires_grad=requires_grad)
    return as_tensor(obj, dtype, device).requires_grad_(requires_grad)


def from_numpy(ndarray: Array) -> Tensor:
    """A tensor that shares the array's memory."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return from_array(ndarray)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor that shares the memory of a DLPack exporter."""
    return from_array(np.from_dlpack(ext_tensor))


def frombuffer(buffer: bytes | bytearray | memoryview | Array, *, dtype: DTypeArgument, count: int = -1,
               offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector that shares the memory of a buffer."""
    return _new(np.frombuffer(buffer, np.dtype(dtype), count, offset), requires_grad)


# ---- from a shape -----------------------------------------------------------------------------------------------------
def _filled(shape, value, dtype):
    array = new_array(shape, dtype)
    array.fill(value)
    return array


def _array_like(input, dtype):
    """An undefined array in the shape and memory order of a tensor."""
    array = tensor_of(input).array
    if array.flags.c_contiguous:
        return new_array(array.shape, dtype or array.dtype)
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return new_array(array.shape, dtype or array.dtype, order)


def _filled_like(input, value, dtype):
    array = _array_like(input, dtype)
    array.fill(value)
    return array


def zeros(*sizes: Dims, size: Dims | None = None, out: Tensor | None = None, dtype: DTypeArgument = None, layout: object = None,
          device: Device = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return _new(_filled(_shape(sizes, size), 0, _default(dtype, out)), requires_grad, device, out)


def ones(*sizes: Dims, size: Dims | None = None, out: Tensor | None = None, dtype: DTypeArgument = None, layout: object = None,
         device: Device = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _new(_filled(_shape(sizes, size), 1, _default(dtype, out)), requires_grad, device, out)


def empty(*sizes: Dims, size: Dims | None = None, out: Tensor | None = None, dtype: DTypeArgument = None, layout: object = None,
          device: Device = None, pin_memory: bool = False, requires_grad: bool = False,
          memory_format: object = None) -> Tensor:
    """A tensor whose values are undefined."""
    return _new(new_array(_shape(sizes, size), _default(dtype, out)), requires_grad, device, out)


def full(size: Dims, fill_value: Number | Tensor, *, out: Tensor | None = None, dtype: DTypeArgument = None,
         layout: object = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A tensor filled with one value; its dtype follows the value."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    dtype = (number_dtype(value) if out is None else out.dtype) if dtype is None else np.dtype(dtype)
    return _new(_filled(_shape((size,)), number_in(value, dtype), dtype), requires_grad, device, out)


def zeros_like(input: Tensor, *, dtype: DTypeArgument = None, layout: object = None, device: Device = None,
               requires_grad: bool = False, memory_format: object = None) -> Tensor:
    """Zeros in the shape, memory order and dtype of another tensor."""
    return _new(_filled_like(input, 0, dtype), requires_grad, device)


def ones_like(input: Tensor, *, dtype: DTypeArgument = None, layout: object = None, device: Device = None,
              requires_grad: bool = False, memory_format: object = None) -> Tensor:
    """Ones in the shape, memory order and dtype of another tensor."""
    return _new(_filled_like(input, 1, dtype), requires_grad, device)


def empty_like(input: Tensor, *, dtype: DTypeArgument = None, layout: object = None, device: Device = None,
               requires_grad: bool = False, memory_format: object = None) -> Tensor:
    """An undefined tensor in the shape, memory order and dtype of another."""
    return _new(_array_like(input, dtype), requires_grad, device)


def full_like(input: Tensor, fill_value: Number | Tensor, *, dtype: DTypeArgument = None, layout: object = None,
              device: Device = None, requires_grad: bool = False, memory_format: object = None) -> Tensor:
    """One value in the shape, memory order and dtype of another tensor."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    return _new(_filled_like(input, number_in(value, np.dtype(dtype or input.dtype)), dtype), requires_grad, device)


def new_tensor(self: Tensor, data: Any, *, dtype: DTypeArgument = None, device: Device = None,
               requires_grad: bool = False) -> Tensor:
    """A copy of data in this tensor's dtype."""
    return tensor(data, dtype=self.dtype if dtype is None else dtype, device=device, requires_grad=requires_grad)


def new_zeros(self: Tensor, *size: Dims, dtype: DTypeArgument = None, device: Device = None,
              requires_grad: bool = False) -> Tensor:
    """Zeros in this tensor's dtype."""
    return zeros(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def new_ones(self: Tensor, *size: Dims, dtype: DTypeArgument = None, device: Device = None,
             requires_grad: bool = False) -> Tensor:
    """Ones in this tensor's dtype."""
    return ones(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def new_empty(self: Tensor, *size: Dims, dtype: DTypeArgument = None, device: Device = None,
              requires_grad: bool = False) -> Tensor:
    """An undefined tensor in this tensor's dtype."""
    return empty(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def new_full(self: Tensor, size: Dims, fill_value: Number | Tensor, *, dtype: DTypeArgument = None,
             device: Device = None, requires_grad: bool = False) -> Tensor:
    """One value in this tensor's dtype."""
    return full(size, fill_value, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


# ---- from a rule ------------------------------------------------------------------------------------------------------
def arange(start: Number | Tensor, end: Number | Tensor | None = None, step: Number | Tensor = 1, *,
           out: Tensor | None = None, dtype: DTypeArgument = None, layout: object = None, device: Device = None,
           requires_grad: bool = False) -> Tensor:
    """start, start + step, ... below end.  Integers give int64, floats the default dtype.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.arange(3)
    tensor([0, 1, 2])
    """
    start, end = (0, start) if end is None else (start, end)
    a: Any
    b: Any
    by: Any
    a, b, by = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))
    if dtype is None and out is not None:
        dtype = out.dtype
    if dtype is None:
        dtype = get_default_dtype() if any(isinstance(v, float) for v in (a, b, by)) else np.int64
    kind: DType = np.dtype(dtype)
    if by == 0:
        raise RuntimeError("step must be nonzero")
    if (b - a) * by < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if kind.kind != "f":
        return _new(pooled(np.arange(a, b, by, dtype=kind)), requires_grad, device, out)
    n = int(np.ceil((b - a) / by))
    return _new(pooled((a + by * np.arange(n, dtype=np.float64)).astype(kind)), requires_grad, device, out)


def linspace(start: Number | Tensor, end: Number | Tensor, steps: int, *, out: Tensor | None = None,
             dtype: DTypeArgument = None, layout: object = None, device: Device = None,
             requires_grad: bool = False) -> Tensor:
    """`steps` values at equal distances from start to end, both included."""
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    return _new(pooled(np.linspace(start, end, steps).astype(_default(dtype, out))), requires_grad, device, out)


def logspace(start: Number, end: Number, steps: int, base: float = 10.0, *, out: Tensor | None = None,
             dtype: DTypeArgument = None, layout: object = None, device: Device = None,
             requires_grad: bool = False) -> Tensor:
    """base to the power of `steps` values at equal distances."""
    return _new(pooled(np.power(base, np.linspace(start, end, steps)).astype(_default(dtype, out))), requires_grad, device, out)


def eye(n: int, m: int | None = None, *, out: Tensor | None = None, dtype: DTypeArgument = None, layout: object = None,
        device: Device = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an n x m matrix."""
    return _new(pooled(np.eye(n, m, dtype=_default(dtype, out))), requires_grad, device, out)


def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid from its axes."""
    parts = [tensor_of(t) for t in (tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors)]
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {indexing}")
    swap = indexing == "xy" and len(parts) > 1
    if swap:
        parts[:2] = parts[1], parts[0]
    shape = [t.numel() for t in parts]
    grids = [t.reshape(*[n if j == i else 1 for j, n in enumerate(shape)]).expand(shape) for i, t in enumerate(parts)]
    if swap:
        grids[:2] = grids[1], grids[0]
    return tuple(grids)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The part on and below a diagonal; zeros elsewhere."""
    x = tensor_of(input)
    return result("tril", compute("tril", lambda a: np.tril(a, diagonal), x.array), lambda g: np.tril(g, diagonal), x,
                  adjoint=lambda t: tril(t, diagonal))


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The part on and above a diagonal; zeros elsewhere."""
    x = tensor_of(input)
    return result("triu", compute("triu", lambda a: np.triu(a, diagonal), x.array), lambda g: np.triu(g, diagonal), x,
                  adjoint=lambda t: triu(t, diagonal))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: DTypeLike = np.int64, device: Device = None,
                 layout: object = None) -> Tensor:
    """Row and column numbers of the part on and below a diagonal."""
    return _new(np.stack(np.tril_indices(row, offset, col)).astype(dtype), False, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: DTypeLike = np.int64, device: Device = None,
                 layout: object = None) -> Tensor:
    """Row and column numbers of the part on and above a diagonal."""
    return _new(np.stack(np.triu_indices(row, offset, col)).astype(dtype), False, device)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal over two axes, as a new last axis (a copy)."""
    x = tensor_of(input)
    shape, dtype = tuple(x.shape), x.dtype

    def rule(grad):
        full = np.zeros(shape, dtype)
        view = np.moveaxis(full, (dim1, dim2), (-2, -1))
        i = np.arange(grad.shape[-1])
        view[..., i + max(0, -offset), i + max(0, offset)] = grad
        return full
    return result("diagonal", compute("diagonal", lambda a: np.diagonal(a, offset, dim1, dim2).copy(), x.array), rule, x,
                  adjoint=lambda t: diagonal(t, offset, dim1, dim2))


_diagonal = diagonal


def diag_embed(input: Tensor, offset: int = 0) -> Tensor:
    """Matrices with the last axis on a diagonal."""
    x = tensor_of(input)
    n = x.shape[-1]
    rows, columns = np.arange(n) + max(0, -offset), np.arange(n) + max(0, offset)

    def spread(a):
        full = np.zeros((*a.shape[:-1], n + abs(offset), n + abs(offset)), a.dtype)
        full[..., rows, columns] = a
        return full
    return result("diag_embed", compute("diag_embed", spread, x.array), lambda g: g[..., rows, columns], x)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix from its diagonal, or the diagonal of a matrix."""
    x = tensor_of(input)
    if x.ndim == 1:
        return diag_embed(x, diagonal)
    if x.ndim == 2:
        return _diagonal(x, diagonal)
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {x.ndim}D")


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements as columns."""
    return from_array(np.vander(tensor_of(x).numpy(), N, increasing))


for _function in (new_tensor, new_zeros, new_ones, new_empty, new_full, tril, triu, diagonal, diag_embed, diag):
    install(_function.__name__, _function)
