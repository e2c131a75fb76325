"""Reductions over any set of dimensions of a strided array."""
cimport numpy as np
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport fn_call, fn_kernel

cdef enum: MAX_DIMS = 6

# size = code, ndim kept, ndim reduced, then shape[6] and strides[6] of the kept dimensions and the same of the reduced ones;
# scalar = factor of the result (1 / count for a mean).  y is C-contiguous over the kept dimensions.
cdef fn_kernel REDUCE
# The same sizes; scalar = 1 / count, 1 / (count - correction).
cdef fn_kernel VARIANCE
# size = smallest?, outer, n, inner over a C-contiguous x.  y or index may be left out.
cdef fn_kernel EXTREME
# size = product?, reverse?, outer, n, inner
cdef fn_kernel RUNNING

# Code of a line of reduction.def.
cdef int reduction_code(str name) except -1

cdef inline int64_t put_dims(fn_call* call, np.ndarray x, const bint* reduced) noexcept:
    """Sort the dimensions of x into kept and reduced ones; returns how many elements make one result."""
    cdef int d, k, kept = 0, gone = 0
    cdef int64_t count = 1, item = np.PyArray_ITEMSIZE(x)
    for d in range(np.PyArray_NDIM(x)):
        k = 3 + (12 + gone if reduced[d] else kept)
        call.size[k] = np.PyArray_DIM(x, d)
        call.size[k + MAX_DIMS] = np.PyArray_STRIDE(x, d) // item
        if reduced[d]:
            gone += 1
            count *= np.PyArray_DIM(x, d)
        else:
            kept += 1
    call.size[1], call.size[2] = kept, gone
    return count
