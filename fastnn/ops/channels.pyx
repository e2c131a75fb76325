"""Channels-last memory under (N, C, spatial...) shapes: how images travel between layers.

The shape stays torch's; only the strides tell.  A layer accepts any order, converts once where it must, and hands on
channels-last, so a network converts its input and nothing else.
"""
cimport numpy as np

from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.storage cimport empty, empty_ordered
from fastnn.kernels.relayout cimport RELAYOUT
from fastnn.ops.layout cimport contiguous

np.import_array()

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)


cdef bint is_channels_last(np.ndarray a) noexcept:
    cdef int ndim = np.PyArray_NDIM(a), i
    cdef np.npy_intp expected = np.PyArray_ITEMSIZE(a), n
    for i in range(ndim):
        n = np.PyArray_DIM(a, 1 if i == 0 else 0 if i == ndim - 1 else ndim - i)
        if n != 1 and np.PyArray_STRIDE(a, 1 if i == 0 else 0 if i == ndim - 1 else ndim - i) != expected:
            return False
        expected *= n
    return True


cdef np.ndarray empty_channels_last(int ndim, np.npy_intp* shape, int typenum):
    cdef np.npy_intp[32] order
    cdef int i
    order[0], order[ndim - 1] = 0, 1
    for i in range(2, ndim):
        order[i - 1] = i
    return empty_ordered(ndim, shape, order, typenum)


cdef int relayout(np.ndarray x, np.ndarray y, np.npy_intp outer, np.npy_intp rows, np.npy_intp columns) except -1:
    cdef Launch L
    begin(&L, &RELAYOUT, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, y)
    L.call.size[0], L.call.size[1], L.call.size[2] = outer, rows, columns
    L.call.bytes = 2.0 * np.PyArray_NBYTES(x)
    return launch(&L)


cdef np.ndarray channels_last(np.ndarray a):
    cdef np.ndarray y
    cdef np.npy_intp C
    if is_channels_last(a):
        return a
    a = contiguous(a)
    y = empty_channels_last(np.PyArray_NDIM(a), np.PyArray_DIMS(a), np.PyArray_TYPE(a))
    C = np.PyArray_DIM(a, 1)
    if np.PyArray_SIZE(a):
        relayout(a, y, np.PyArray_DIM(a, 0), C, np.PyArray_SIZE(a) // C // np.PyArray_DIM(a, 0))
    return y


cdef np.ndarray planar(np.ndarray a):
    cdef np.ndarray y
    cdef np.npy_intp C
    if PyArray_IS_C_CONTIGUOUS(a):
        return a
    if not is_channels_last(a) or np.PyArray_SIZE(a) == 0:
        return contiguous(a)
    y = empty(np.PyArray_NDIM(a), np.PyArray_DIMS(a), np.PyArray_TYPE(a))
    C = np.PyArray_DIM(a, 1)
    relayout(a, y, np.PyArray_DIM(a, 0), np.PyArray_SIZE(a) // C // np.PyArray_DIM(a, 0), C)
    return y


cdef np.ndarray with_batch_axis(np.ndarray a):
    return (<object>a).reshape((1,) + (<object>a).shape)
