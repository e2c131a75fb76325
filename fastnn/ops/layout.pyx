"""Memory order: copies into C order, sums over broadcast axes."""
cimport numpy as np

import numpy as np

import fastnn.kernels.pointwise  # no-cython-lint: declares the kernels
import fastnn.kernels.reduce  # no-cython-lint

from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty, empty_like
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.kernels.reduce cimport MAX_DIMS, put_dims, reduction_code
from fastnn.ops.arguments cimport is_real
from fastnn.ops.linear cimport column_sums

np.import_array()

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)

cdef const fn_kernel* COPY_STRIDED = kernel_named("copy_strided")
cdef const fn_kernel* FILL = kernel_named("fill")
cdef const fn_kernel* REDUCE = kernel_named("reduce")
cdef int SUM = reduction_code("sum")

cdef enum:
    COPY_DIMS = 8       # as in kernels/pointwise.pyx


cdef np.ndarray contiguous(np.ndarray a):
    return a if PyArray_IS_C_CONTIGUOUS(a) else copy_of(a)


cdef np.ndarray copy_of(np.ndarray a):
    cdef np.ndarray b = empty_like(a)
    copy_into(b, a)
    return b


cdef int copy_into(np.ndarray target, np.ndarray source) except -1:
    cdef Launch L
    cdef int d, ndim = np.PyArray_NDIM(source)
    cdef np.npy_intp item = np.PyArray_ITEMSIZE(source)
    cdef bint whole = ndim <= COPY_DIMS
    for d in range(ndim):
        whole = whole and np.PyArray_STRIDE(source, d) % item == 0 and np.PyArray_STRIDE(target, d) % item == 0
    if not whole:       # more axes than the kernel walks, or elements that straddle
        host_call("copy", np.copyto, (target, source))
        return 0
    begin(&L, COPY_STRIDED, fn_dtype_of(source))
    put(&L, 0, source)
    put(&L, 1, target)
    L.call.size[0], L.call.size[1] = item, ndim
    for d in range(ndim):
        L.call.size[2 + d] = np.PyArray_DIM(source, d)
        L.call.size[2 + COPY_DIMS + d] = np.PyArray_STRIDE(source, d) // item
        L.call.size[2 + 2 * COPY_DIMS + d] = np.PyArray_STRIDE(target, d) // item
    L.call.bytes = 2.0 * np.PyArray_NBYTES(source)
    return launch(&L)


cdef np.ndarray sum_to_shape(np.ndarray g, tuple shape):
    cdef tuple have = (<object>g).shape
    if have == shape:
        return g
    cdef int extra = len(have) - len(shape)
    if len(shape) == 1 and len(have) >= 1 and shape[0] == have[len(have) - 1] and PyArray_IS_C_CONTIGUOUS(g) and g.size and is_real(g):
        return column_sums(g, np.PyArray_SIZE(g) // shape[0], shape[0])
    return sums_of_axes(g, shape, extra)


cdef np.ndarray sums_of_axes(np.ndarray g, tuple shape, int extra):
    """Sum over the first `extra` axes and those of which `shape` has one element."""
    cdef Launch L
    cdef bint[32] reduced
    cdef np.npy_intp[32] sizes
    cdef np.ndarray y
    cdef int d, gone = 0, ndim = np.PyArray_NDIM(g)
    cdef bint whole = is_real(g)
    for d in range(ndim):
        reduced[d] = d < extra or (shape[d - extra] == 1 != np.PyArray_DIM(g, d))
        gone += reduced[d]
        whole = whole and np.PyArray_STRIDE(g, d) % np.PyArray_ITEMSIZE(g) == 0
    if not whole or gone > MAX_DIMS or ndim - gone > MAX_DIMS:
        axes = tuple([d for d in range(ndim) if reduced[d]])
        return host_call("sum_to_shape", lambda a: np.asarray(a.sum(axis=axes)).reshape(shape), (g,))
    for d in range(ndim - extra):
        sizes[d] = shape[d]
    y = empty(ndim - extra, sizes, np.PyArray_TYPE(g))
    begin(&L, REDUCE, fn_dtype_of(g))
    put(&L, 0, g)
    put(&L, 1, y)
    L.call.size[0] = SUM
    put_dims(&L.call, g, reduced)
    L.call.scalar[0] = 1.0
    L.call.flops = np.PyArray_SIZE(g)
    L.call.bytes = <double>np.PyArray_NBYTES(g)
    launch(&L)
    return y


cdef int fill(np.ndarray a, double value) except -1:
    cdef Launch L
    begin(&L, FILL, fn_dtype_of(a))
    put(&L, 0, a)
    L.call.size[0] = np.PyArray_SIZE(a)
    L.call.scalar[0] = value
    L.call.bytes = np.PyArray_NBYTES(a)
    return launch(&L)
