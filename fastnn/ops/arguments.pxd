"""Checks that several families share: reductions, axes, index arrays, dtypes."""
cimport numpy as np

from fastnn.core.tensor cimport Tensor

cdef enum: NONE = 0, MEAN = 1, SUM = 2

cdef int reduction_of(object reduction, object size_average=*, object reduce=*) except -1
cdef int axis_of(object dim, int ndim) except -1
cdef np.ndarray index_array(np.ndarray t, str expected)     # as int64 in C order
cdef np.ndarray scalar(int typenum)                         # an uninitialised 0-d array
cdef np.ndarray broadcast(np.ndarray a, tuple shape)        # in C order
cdef np.ndarray unbroadcast(np.ndarray a, tuple shape)      # what was broadcast to a, from its shape before; None of None
cdef Tensor optional(object x)                              # as_tensor, None stays None
cdef int check_real(str op, np.ndarray a) except -1
cdef int check_same_dtype(str op, np.ndarray a, np.ndarray b, str what) except -1

cdef inline bint is_real(np.ndarray a) noexcept:
    cdef int kind = np.PyArray_TYPE(a)
    return kind == np.NPY_FLOAT32 or kind == np.NPY_FLOAT64
