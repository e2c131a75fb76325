# cython: allow_none_for_extension_args=False
"""Views: the same memory under another shape.  They share the version counter of in-place changes."""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.backward cimport by_rule
from fastnn.core.launch cimport recorder_listens
from fastnn.core.storage cimport is_arranged
from fastnn.core.tape cimport Node, grad_enabled
from fastnn.core.tensor cimport Tensor, as_tensor, attach, attach_view, share, wants, wrap, wrap_view
from fastnn.ops.arguments cimport axis_of
from fastnn.ops.layout cimport contiguous, sum_to_shape

from fastnn.core.tensor import install

np.import_array()

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArray_Dims:
        np.npy_intp* ptr
        int len
    object PyArray_Newshape(np.ndarray a, PyArray_Dims* shape, int order)
    object PyArray_Transpose(np.ndarray a, PyArray_Dims* axes)
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)


# ---- axes ----------------------------------------------------------------------------------------------------------
def normalize_axis(dim, int ndim):
    """A non-negative axis from a torch dim."""
    return axis_of(dim, ndim)


def normalize_axes(dim, int ndim):
    """A tuple of axes from None (all), an int or several; each at most once."""
    if dim is None:
        return tuple(range(ndim))
    if isinstance(dim, int):
        return (axis_of(dim, ndim),) if ndim else ()
    axes = tuple([axis_of(d, ndim) for d in dim])
    for i, a in enumerate(axes):
        if a in axes[:i]:
            raise RuntimeError(f"dim {a} appears multiple times in the list of dims")
    return axes if ndim else ()


cdef tuple sizes_of(tuple sizes):
    """A shape given as separate ints, or as one tuple, list or Size."""
    if len(sizes) == 1 and not isinstance(sizes[0], int):
        one = sizes[0]
        if isinstance(one, Tensor) or isinstance(one, np.integer):
            return (int(one),)
        sizes = tuple(one)
    for n in sizes:
        if type(n) is not int:
            return tuple([n.__index__() for n in sizes])
    return sizes


# ---- reshape -------------------------------------------------------------------------------------------------------
@cython.final
cdef class ReshapeBackward(Node):
    """The gradient takes the shape of the input back.  d: that shape."""
    cdef object backward(self, np.ndarray grad):
        return with_shape(grad, <tuple>self.d)

    cdef object derivative(self, object grad, tuple wanted):
        return grad.reshape(self.d)

    cdef bint aliases(self):
        return True


cdef np.ndarray with_shape(np.ndarray a, tuple shape):
    """a in another shape: a view where its memory allows, else a copy."""
    cdef np.npy_intp[32] sizes
    cdef PyArray_Dims dims
    cdef np.ndarray y
    cdef int i
    dims.ptr = sizes
    dims.len = len(shape)
    for i in range(dims.len):
        sizes[i] = shape[i]
    y = PyArray_Newshape(a, &dims, np.NPY_CORDER)
    if np.PyArray_DATA(y) != np.PyArray_DATA(a) and recorder_listens():
        y = PyArray_Newshape(contiguous(a), &dims, np.NPY_CORDER)       # NumPy's copy, as a kernel call
    return y


cdef tuple fill_unknown(np.ndarray a, tuple shape):
    """Check a shape against a's size; work out its -1."""
    cdef np.npy_intp known = 1, size = np.PyArray_SIZE(a), n
    cdef int unknown = -1, i
    for i in range(len(shape)):
        n = shape[i]
        if n == -1:
            if unknown >= 0:
                raise RuntimeError("only one dimension can be inferred")
            unknown = i
        elif n < 0:
            raise RuntimeError(f"invalid shape dimension {n}")
        else:
            known *= n
    if unknown < 0:
        if known != size:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
        return shape
    if known == 0 and size == 0:
        raise RuntimeError(f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
                           "dimension size -1 can be any value and is ambiguous")
    if known == 0 or size % known:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
    return shape[:unknown] + (size // known,) + shape[unknown + 1:]


cdef Tensor reshaped(Tensor x, tuple shape, bint must_view):
    cdef np.ndarray a = x.array, y
    cdef ReshapeBackward node
    cdef bint shares
    y = with_shape(a, fill_unknown(a, shape))
    shares = np.PyArray_DATA(y) == np.PyArray_DATA(a)
    if must_view and not shares:
        if is_arranged(a):      # torch's lies in C order and would be shared; what cannot be written back must not be written
            np.PyArray_CLEARFLAGS(y, np.NPY_ARRAY_WRITEABLE)
        else:
            raise RuntimeError("view size is not compatible with input tensor's size and stride (at least one dimension spans "
                               "across two contiguous subspaces). Use .reshape(...) instead.")
    if not (grad_enabled() and wants(x)):
        return wrap_view(y, x) if shares else wrap(y)
    node = ReshapeBackward.__new__(ReshapeBackward)
    node.d = (<object>a).shape
    return attach_view(y, node, x) if shares else attach(y, node, x)


def reshape(input, *shape):
    """The same elements in another shape: a view where memory allows, else a copy.  One size may be -1.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.arange(6).reshape(2, -1).shape
    torch.Size([2, 3])
    """
    return reshaped(as_tensor(input), sizes_of(shape), False)


def view(input, *shape):
    """As `reshape`, but an error where a copy would be needed; `view(dtype)` of the same width reinterprets the memory.

    Weights, and maps that convolutions made, lie in memory in an order of the library's own, where torch's lie in C order: of
    these it is a copy, which in-place changes refuse.
    """
    cdef Tensor x = as_tensor(input)
    if len(shape) == 1 and (isinstance(shape[0], (np.dtype, type, str))):
        return share((<object>x.array).view(np.dtype(shape[0])), x)
    return reshaped(x, sizes_of(shape), True)


def view_as(Tensor input, Tensor other):
    """View with the other tensor's shape."""
    return reshaped(input, (<object>other.array).shape, True)


def reshape_as(Tensor input, Tensor other):
    """Reshape to the other tensor's shape."""
    return reshaped(input, (<object>other.array).shape, False)


def flatten(input, start_dim=0, end_dim=-1):
    """Merge the axes start_dim .. end_dim into one."""
    cdef Tensor x = as_tensor(input)
    cdef tuple shape = (<object>x.array).shape
    cdef int ndim = len(shape), i, first = axis_of(start_dim, ndim), last = axis_of(end_dim, ndim)
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if ndim == 0:
        return reshaped(x, (1,), False)
    if first == last:
        return x
    cdef np.npy_intp n = 1
    for i in range(first, last + 1):
        n *= np.PyArray_DIM(x.array, i)
    return reshaped(x, shape[:first] + (n,) + shape[last + 1:], False)


def unflatten(input, dim, sizes):
    """Split axis `dim` into several; one of the sizes may be -1."""
    cdef Tensor x = as_tensor(input)
    cdef tuple shape = (<object>x.array).shape, given = tuple(sizes)
    cdef int axis = axis_of(dim, len(shape))
    if not given:
        raise RuntimeError("unflatten: sizes must be non-empty")
    known = 1
    for n in given:
        known *= n if n != -1 else 1
    if (-1 in given and (known == 0 or shape[axis] % known)) or (-1 not in given and known != shape[axis]):
        raise RuntimeError(f"unflatten: Provided sizes {list(given)} don't multiply up to the size of dim {axis} "
                           f"({shape[axis]}) in the input tensor")
    given = tuple([shape[axis] // known if n == -1 else n for n in given])
    return reshaped(x, shape[:axis] + given + shape[axis + 1:], True)


# ---- permutation ---------------------------------------------------------------------------------------------------
@cython.final
cdef class PermuteBackward(Node):
    """The inverse permutation of the gradient's axes.  d: that permutation."""
    cdef object backward(self, np.ndarray grad):
        return permuted_array(grad, <tuple>self.d)

    cdef object derivative(self, object grad, tuple wanted):
        return grad.permute(self.d)

    cdef bint aliases(self):
        return True


cdef np.ndarray permuted_array(np.ndarray a, tuple axes):
    cdef np.npy_intp[32] order
    cdef PyArray_Dims dims
    cdef int i
    dims.ptr = order
    dims.len = len(axes)
    for i in range(dims.len):
        order[i] = axes[i]
    return PyArray_Transpose(a, &dims)


cdef Tensor permuted(Tensor x, tuple axes):
    cdef np.ndarray y = permuted_array(x.array, axes)
    cdef PermuteBackward node
    cdef list inverse
    cdef int i
    if not (grad_enabled() and wants(x)):
        return wrap_view(y, x)
    inverse = [0] * len(axes)
    for i in range(len(axes)):
        inverse[axes[i]] = i
    node = PermuteBackward.__new__(PermuteBackward)
    node.d = tuple(inverse)
    return attach_view(y, node, x)


def permute(input, *dims):
    """The axes in another order."""
    cdef Tensor x = as_tensor(input)
    cdef tuple given = sizes_of(dims)
    cdef int ndim = np.PyArray_NDIM(x.array)
    if len(given) != ndim:
        raise RuntimeError("permute: number of dimensions in the tensor input does not match the length of the desired "
                           f"ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {len(given)}")
    axes = tuple([axis_of(d, ndim) for d in given])
    if len(set(axes)) != ndim:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return permuted(x, axes)


def transpose(input, dim0, dim1):
    """Swap two axes."""
    cdef Tensor x = as_tensor(input)
    cdef int ndim = np.PyArray_NDIM(x.array), i = axis_of(dim0, ndim), j = axis_of(dim1, ndim)
    if ndim == 0 or i == j:
        return permuted(x, tuple(range(ndim)))
    cdef list axes = list(range(ndim))
    axes[i], axes[j] = j, i
    return permuted(x, tuple(axes))


def t(input):
    """Transpose a tensor of at most two axes."""
    cdef Tensor x = as_tensor(input)
    cdef int ndim = np.PyArray_NDIM(x.array)
    if ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {ndim}D")
    return permuted(x, (1, 0) if ndim == 2 else tuple(range(ndim)))


def reverse_axes(Tensor x):
    """All axes in reverse order."""
    return permuted(x, tuple(range(np.PyArray_NDIM(x.array) - 1, -1, -1)))


def matrix_transpose(Tensor x):
    """Swap the last two axes."""
    if np.PyArray_NDIM(x.array) < 2:
        raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got "
                           f"{np.PyArray_NDIM(x.array)}-D tensor.")
    return transpose(x, -2, -1)


def movedim(input, source, destination):
    """Move axes to other places; the rest keep their order."""
    cdef Tensor x = as_tensor(input)
    cdef int ndim = np.PyArray_NDIM(x.array)
    source, destination = normalize_axes(source, ndim), normalize_axes(destination, ndim)
    if len(source) != len(destination):
        raise RuntimeError("movedim: Invalid source or destination dims: source "
                           f"({list(source)} dims) should contain the same number of dims as destination "
                           f"({list(destination)} dims)")
    rest = [i for i in range(ndim) if i not in source]
    for place, axis in sorted(zip(destination, source)):
        rest.insert(place, axis)
    return permuted(x, tuple(rest))


# ---- axes of length 1 ------------------------------------------------------------------------------------------------
def unsqueeze(input, dim=None, *, axis=None):
    """Insert an axis of length 1 at `dim`."""
    cdef Tensor x = as_tensor(input)
    cdef tuple shape = (<object>x.array).shape
    cdef int at = axis_of(axis if dim is None else dim, len(shape) + 1)
    return reinterpreted(x, shape[:at] + (1,) + shape[at:])


def squeeze(input, dim=None, *, axis=None):
    """Drop axes of length 1: all, or those among `dim`."""
    cdef Tensor x = as_tensor(input)
    cdef tuple shape = (<object>x.array).shape
    dim = axis if dim is None else dim
    if dim is not None:
        drop = normalize_axes(dim, len(shape))
        keep = tuple([n for i, n in enumerate(shape) if n != 1 or i not in drop])
    else:
        keep = tuple([n for n in shape if n != 1])
    return reinterpreted(x, keep)


cdef Tensor reinterpreted(Tensor x, tuple shape):
    """x with axes of length 1 inserted or dropped: always a view."""
    cdef np.ndarray y = with_shape(x.array, shape)
    cdef ReshapeBackward node
    if not (grad_enabled() and wants(x)):
        return wrap_view(y, x)
    node = ReshapeBackward.__new__(ReshapeBackward)
    node.d = (<object>x.array).shape
    return attach_view(y, node, x)


# ---- expand ----------------------------------------------------------------------------------------------------------
@cython.final
cdef class ExpandBackward(Node):
    """Sum over the axes along which the elements were repeated.  d: the input's shape."""
    cdef object backward(self, np.ndarray grad):
        return sum_to_shape(grad, <tuple>self.d)

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "expand", (), (self.d,))

    cdef bint aliases(self):
        return True


def expand(input, *sizes):
    """Repeat axes of length 1 without copying; -1 keeps a size."""
    return expanded(as_tensor(input), sizes_of(sizes))


cdef Tensor expanded(Tensor x, tuple sizes):
    cdef tuple shape = (<object>x.array).shape
    cdef int extra = len(sizes) - len(shape), i
    if extra < 0:
        raise RuntimeError(f"expand: the number of sizes provided ({len(sizes)}) must be greater or equal to the number of "
                           f"dimensions in the tensor ({len(shape)})")
    cdef list full = list(sizes)
    for i in range(len(sizes)):
        if full[i] == -1:
            if i < extra:
                raise RuntimeError(f"expand: the expanded size of the tensor (-1) isn't allowed in a leading, non-existing "
                                   f"dimension {i}")
            full[i] = shape[i - extra]
        elif i >= extra and shape[i - extra] != 1 and shape[i - extra] != full[i]:
            raise RuntimeError(f"The expanded size of the tensor ({full[i]}) must match the existing size ({shape[i - extra]}) "
                               f"at non-singleton dimension {i}.  Target sizes: {list(sizes)}.  Tensor sizes: {list(shape)}")
    cdef np.ndarray y = np.broadcast_to(x.array, tuple(full))
    cdef ExpandBackward node
    if not (grad_enabled() and wants(x)):
        return wrap_view(y, x)
    node = ExpandBackward.__new__(ExpandBackward)
    node.d = shape
    return attach_view(y, node, x)


def expand_as(Tensor input, Tensor other):
    """Expand to the other tensor's shape."""
    return expanded(input, (<object>other.array).shape)


def broadcast_to(input, size):
    """Expand to a shape."""
    return expanded(as_tensor(input), tuple(size))


for name, function in {
        "reshape": reshape, "view": view, "view_as": view_as, "reshape_as": reshape_as, "flatten": flatten,
        "unflatten": unflatten, "permute": permute, "transpose": transpose, "swapaxes": transpose, "swapdims": transpose,
        "t": t, "movedim": movedim, "moveaxis": movedim, "unsqueeze": unsqueeze, "squeeze": squeeze, "expand": expand,
        "expand_as": expand_as, "broadcast_to": broadcast_to, "T": property(reverse_axes),
        "mT": property(matrix_transpose)}.items():
    install(name, function)

__all__ = ["broadcast_to", "flatten", "moveaxis", "movedim", "permute", "reshape", "squeeze", "swapaxes", "swapdims", "t", "transpose",
           "unflatten", "unsqueeze"]
moveaxis, swapaxes, swapdims = movedim, transpose, transpose
