"""Elementwise kernels.  Shapes and strides (in elements) go to size[] by `put_grid`; outputs are C-contiguous."""
cimport numpy as np
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport fn_call, fn_kernel

cdef enum: MAX_DIMS = 6

# size = code, n; scalar = the function's parameters.  gradient: slots saved, g, dx.
cdef fn_kernel UNARY, UNARY_GRADIENT
# size = code, then a grid of x, y.
cdef fn_kernel BINARY, COMPARE
# size = -, then a grid of c, x, y (or x, w, g).
cdef fn_kernel WHERE, PRELU_GRADIENT
# size = n; scalar = factor or value.
cdef fn_kernel ACCUMULATE, FILL
# size = n, from, to (enum fn_dtype)
cdef fn_kernel CONVERT
# size = itemsize, ndim, shape[8], strides of x[8], of y[8], all in elements.
cdef fn_kernel COPY_STRIDED

cdef class Unary:
    """One line of activation.def."""
    cdef readonly str name
    cdef readonly int code
    cdef readonly bint saves_output

# name -> code, in the order of the .def files; -1 where there is none.
cdef int unary_code(str name) except -1
cdef int binary_code(str name) except -1
cdef int comparison_code(str name) except -1
cdef bint saves_output(int code) noexcept nogil

cdef inline void put_grid(fn_call* call, int ndim, const np.npy_intp* shape) noexcept nogil:
    """The shape of the result, at most MAX_DIMS dimensions."""
    cdef int d
    call.size[1] = ndim
    for d in range(ndim):
        call.size[2 + d] = shape[d]

cdef inline void put_strides(fn_call* call, int operand, int ndim, np.ndarray a) noexcept:
    """The strides of an input broadcast to the result: 0 along the dimensions it repeats."""
    cdef int d, k, own = np.PyArray_NDIM(a)
    cdef int64_t item = np.PyArray_ITEMSIZE(a)
    for d in range(ndim):
        k = d - (ndim - own)
        call.size[8 + MAX_DIMS * operand + d] = (
            0 if k < 0 or np.PyArray_DIM(a, k) == 1 else np.PyArray_STRIDE(a, k) // item)
