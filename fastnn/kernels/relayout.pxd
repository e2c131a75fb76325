from fastnn.kernels.native cimport fn_kernel

cdef fn_kernel RELAYOUT
