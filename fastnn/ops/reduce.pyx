# cython: allow_none_for_extension_args=False
"""Sums and means over axes, and the kernels behind the other reductions."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import numpy as np

from fastnn.core.backward cimport by_rule
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.kernels.reduce cimport MAX_DIMS, put_dims, reduction_code
from fastnn.ops.arguments cimport axis_of, is_real
from fastnn.ops.copy cimport convert, converted
from fastnn.ops.layout cimport contiguous

from fastnn.core.tensor import install
from fastnn.ops.aliases import into
from fastnn.ops.promotion import INT64, computed_dtype, type_name

np.import_array()

cdef const fn_kernel* REDUCE = kernel_named("reduce")
cdef const fn_kernel* EXTREME = kernel_named("extreme")
cdef const fn_kernel* RUNNING = kernel_named("running")
cdef const fn_kernel* COPY_STRIDED = kernel_named("copy_strided")
cdef int SUM = reduction_code("sum")

cdef enum: COPY_DIMS = 8      # as in kernels/pointwise.pyx


# ---- which axes ------------------------------------------------------------------------------------------------------
cdef struct Axes:
    bint[32] reduced
    int count           # how many
    bint keep


cdef int read_axes(Axes* axes, dim, int ndim, bint keep) except -1:
    """Mark the axes of a torch dim argument: None and () mean all."""
    cdef int i, axis
    axes.keep = keep
    axes.count = 0
    if dim is None or (type(dim) is not int and not isinstance(dim, int) and len(dim) == 0):
        for i in range(ndim):
            axes.reduced[i] = True
        axes.count = ndim
        return 0
    for i in range(ndim):
        axes.reduced[i] = False
    for d in ((dim,) if isinstance(dim, int) else dim):
        axis = axis_of(d, ndim)
        if ndim == 0:
            continue
        if axes.reduced[axis]:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
        axes.reduced[axis] = True
        axes.count += 1
    return 0


cdef tuple axes_tuple(Axes* axes, int ndim):
    return tuple([i for i in range(ndim) if axes.reduced[i]])


cdef bint fits(np.ndarray x, Axes* axes) noexcept:
    """Can the kernel walk this array?"""
    cdef int i, ndim = np.PyArray_NDIM(x)
    if not is_real(x) or axes.count > MAX_DIMS or ndim - axes.count > MAX_DIMS:
        return False
    for i in range(ndim):
        if np.PyArray_STRIDE(x, i) % np.PyArray_ITEMSIZE(x):
            return False
    return True


cdef np.ndarray reduced(np.ndarray x, int code, Axes* axes, double scale):
    """scale * the reduction `code` of x; the caller has asked `fits`."""
    cdef Launch L
    cdef np.npy_intp[32] shape
    cdef np.ndarray y
    cdef int i, n = 0, ndim = np.PyArray_NDIM(x)
    for i in range(ndim):
        if not axes.reduced[i]:
            shape[n] = np.PyArray_DIM(x, i)
            n += 1
        elif axes.keep:
            shape[n] = 1
            n += 1
    y = empty(n, shape, np.PyArray_TYPE(x))
    begin(&L, REDUCE, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, y)
    L.call.size[0] = code
    put_dims(&L.call, x, axes.reduced)
    L.call.scalar[0] = scale
    L.call.flops = np.PyArray_SIZE(x)
    L.call.bytes = <double>np.PyArray_NBYTES(x)
    launch(&L)
    return y


cdef np.ndarray spread(np.ndarray g, tuple shape, Axes* axes):
    """A reduced gradient repeated along the axes that were summed: a new array."""
    cdef Launch L
    cdef np.npy_intp[32] sizes
    cdef np.ndarray y
    cdef int i, k = 0, ndim = len(shape)
    cdef int64_t item = np.PyArray_ITEMSIZE(g)
    for i in range(ndim):
        sizes[i] = shape[i]
    if ndim > COPY_DIMS:
        kept = tuple([1 if axes.reduced[i] else shape[i] for i in range(ndim)])
        return host_call("spread", spread_host, (g, kept, shape))
    y = empty(ndim, sizes, np.PyArray_TYPE(g))
    if np.PyArray_SIZE(y) == 0:
        return y
    begin(&L, COPY_STRIDED, fn_dtype_of(g))
    put(&L, 0, g)
    put(&L, 1, y)
    L.call.size[0], L.call.size[1] = item, ndim
    for i in range(ndim):
        L.call.size[2 + i] = sizes[i]
        if axes.reduced[i]:
            L.call.size[2 + COPY_DIMS + i] = 0
            k += axes.keep
        else:
            L.call.size[2 + COPY_DIMS + i] = np.PyArray_STRIDE(g, k) // item
            k += 1
        L.call.size[2 + 2 * COPY_DIMS + i] = np.PyArray_STRIDE(y, i) // item
    L.call.bytes = 2.0 * np.PyArray_NBYTES(y)
    launch(&L)
    return y


def spread_host(g, kept, shape):
    return np.broadcast_to(g.reshape(kept), shape).copy()


# ---- sum and mean ----------------------------------------------------------------------------------------------------
@cython.final
cdef class SumBackward(Node):
    """Every element gets the gradient of its sum, times a factor.  d: the input's shape."""
    cdef Axes axes
    cdef double factor
    cdef int typenum

    cdef object backward(self, np.ndarray grad):
        cdef Axes none
        cdef int i
        cdef np.ndarray g = grad
        if self.factor != 1.0:      # scaled while it is small: a reduction over no axes
            for i in range(np.PyArray_NDIM(g)):
                none.reduced[i] = False
            none.count, none.keep = 0, False
            g = reduced(g, SUM, &none, self.factor)
        return converted(spread(g, <tuple>self.d, &self.axes), self.typenum)

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "sum", (), (self.d, axes_tuple(&self.axes, len(self.d)), self.factor,
                                                       np.PyArray_DescrFromType(self.typenum)))

    @property
    def name(self):
        return "SumBackward" if self.factor == 1.0 else "MeanBackward"


cdef Tensor summed(Tensor x, Axes* axes, double scale, str name):
    cdef np.ndarray a = x.array, y
    cdef SumBackward node
    if not fits(a, axes):
        if np.PyArray_NDIM(a) > MAX_DIMS and is_real(a):
            y = host_call(name, sum_host, (a, axes_tuple(axes, np.PyArray_NDIM(a)), axes.keep, scale))
        else:
            y = reduced(contiguous(a), SUM, axes, scale)
    else:
        y = reduced(a, SUM, axes, scale)
    if not recording(x):
        return wrap(y)
    node = SumBackward.__new__(SumBackward)
    node.d = (<object>a).shape
    node.axes, node.factor, node.typenum = axes[0], scale, np.PyArray_TYPE(a)
    return attach(y, node, x)


def sum_host(a, axes, keepdim, scale):
    return np.asarray(a.sum(axis=axes, keepdims=keepdim) * np.asarray(scale, a.dtype))


def sum(input, dim=None, bint keepdim=False, *, dtype=None, out=None, axis=None, bint keepdims=False):
    """Sum over axes (default all).  Integers and bools sum to int64.

    Parameters
    ----------
    dim : int or tuple of int, optional
    keepdim : bool, default False
        Keep the summed axes, with length 1.
    dtype : optional
        Convert before summing.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.ones(2, 3).sum(1)
    tensor([3., 3.])
    """
    cdef Tensor x = as_tensor(input)
    cdef Axes axes
    if out is not None:
        return into(out, sum(input, dim, keepdim, dtype=dtype, axis=axis, keepdims=keepdims))
    keepdim = keepdim or keepdims
    read_axes(&axes, axis if dim is None else dim, np.PyArray_NDIM(x.array), keepdim)
    if dtype is not None:
        x = convert(x, dtype)
    if is_real(x.array):
        return summed(x, &axes, 1.0, "sum")
    if x.dtype.kind == "f":
        return convert(summed(convert(x, computed_dtype(x.dtype)), &axes, 1.0, "sum"), x.dtype)
    return wrap(np.asarray(host_call("sum", integer_sum, (x.array, axes_tuple(&axes, np.PyArray_NDIM(x.array)), keepdim,
                                                          INT64 if dtype is None else np.dtype(dtype)))))


def integer_sum(a, axes, keepdim, dtype):
    return a.sum(axis=axes, keepdims=keepdim, dtype=dtype)


def mean(input, dim=None, bint keepdim=False, *, dtype=None, out=None, axis=None, bint keepdims=False):
    """Mean over axes (default all); needs a float dtype."""
    cdef Tensor x = as_tensor(input)
    cdef Axes axes
    cdef int i
    cdef double n = 1
    if out is not None:
        return into(out, mean(input, dim, keepdim, dtype=dtype, axis=axis, keepdims=keepdims))
    keepdim = keepdim or keepdims
    read_axes(&axes, axis if dim is None else dim, np.PyArray_NDIM(x.array), keepdim)
    if dtype is not None:
        x = convert(x, dtype)
    if not is_real(x.array) and x.dtype.kind == "f":
        return convert(mean(convert(x, computed_dtype(x.dtype)), dim, keepdim, axis=axis), x.dtype)
    if not is_real(x.array):
        raise RuntimeError("mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
                           f"Got: {type_name(x.dtype)}")
    for i in range(np.PyArray_NDIM(x.array)):
        if axes.reduced[i]:
            n *= np.PyArray_DIM(x.array, i)
    return summed(x, &axes, 1.0 / n if n else np.nan, "mean")


# ---- for reduction.py and sorting.py ------------------------------------------------------------------------------------
def reduce_array(np.ndarray a, str name, tuple axes, bint keepdim):
    """A reduction of reduction.def over axes; None where the kernel does not go."""
    cdef Axes marked
    read_axes(&marked, axes, np.PyArray_NDIM(a), keepdim)
    return reduced(a, reduction_code(name), &marked, 1.0) if fits(a, &marked) and (axes or not np.PyArray_NDIM(a)) else None


def extreme_array(np.ndarray a, int axis, bint smallest):
    """(values, indices) of the largest (smallest) along a non-empty axis, both without it; NaN wins; the first of several."""
    cdef Launch L
    cdef np.ndarray x = contiguous(a), y, at
    cdef np.npy_intp[32] shape
    cdef int i, n = 0, ndim = np.PyArray_NDIM(x)
    cdef int64_t outer = 1, inner = 1
    if not is_real(x):
        at = np.asarray(host_call("argmin" if smallest else "argmax", np.argmin if smallest else np.argmax, (x, axis)), np.int64)
        return np.take_along_axis(x, np.expand_dims(at, axis), axis).reshape((<object>at).shape), at
    for i in range(ndim):
        if i != axis:
            shape[n] = np.PyArray_DIM(x, i)
            n += 1
            if i < axis:
                outer *= np.PyArray_DIM(x, i)
            else:
                inner *= np.PyArray_DIM(x, i)
    y, at = empty(n, shape, np.PyArray_TYPE(x)), empty(n, shape, np.NPY_INT64)
    begin(&L, EXTREME, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, y)
    put(&L, 2, at)
    L.call.size[0], L.call.size[1], L.call.size[2], L.call.size[3] = smallest, outer, np.PyArray_DIM(x, axis), inner
    L.call.flops = np.PyArray_SIZE(x)
    L.call.bytes = <double>np.PyArray_NBYTES(x)
    launch(&L)
    return y, at


def running_array(np.ndarray a, int axis, bint product, bint backwards):
    """Running sums (products) along an axis, from its end when backwards."""
    cdef Launch L
    cdef np.ndarray x = contiguous(a), y
    cdef int i
    cdef int64_t outer = 1, inner = 1
    y = empty(np.PyArray_NDIM(x), np.PyArray_DIMS(x), np.PyArray_TYPE(x))
    for i in range(np.PyArray_NDIM(x)):
        if i < axis:
            outer *= np.PyArray_DIM(x, i)
        elif i > axis:
            inner *= np.PyArray_DIM(x, i)
    begin(&L, RUNNING, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, y)
    L.call.size[0], L.call.size[1] = product, backwards
    L.call.size[2], L.call.size[3], L.call.size[4] = outer, np.PyArray_DIM(x, axis), inner
    L.call.flops = np.PyArray_SIZE(x)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(x)
    launch(&L)
    return y


install("sum", sum)
install("mean", mean)
