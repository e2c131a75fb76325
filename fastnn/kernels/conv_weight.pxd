from fastnn.kernels.native cimport fn_kernel

cdef fn_kernel CONV_WEIGHT_GRADIENT
