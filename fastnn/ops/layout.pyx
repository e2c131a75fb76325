"""Memory order: copies into C order, sums over broadcast axes."""
cimport numpy as np

import numpy as np

from fastnn.core.launch cimport host_call

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)

np.import_array()


cdef np.ndarray contiguous(np.ndarray a):
    if PyArray_IS_C_CONTIGUOUS(a):
        return a
    return host_call("contiguous", np.ascontiguousarray, (a,))


cdef np.ndarray sum_to_shape(np.ndarray g, tuple shape):
    cdef tuple have = (<object>g).shape
    if have == shape:
        return g
    cdef int extra = len(have) - len(shape)
    axes = tuple(range(extra)) + tuple([extra + i for i, n in enumerate(shape) if n == 1 and have[extra + i] != 1])
    return host_call("sum_to_shape", lambda a: np.asarray(a.sum(axis=axes)).reshape(shape), (g,))
