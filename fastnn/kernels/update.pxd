"""Drivers of optimizer updates and of gradient clipping."""
from fastnn.kernels.native cimport fn_kernel

cdef fn_kernel SUM_OF_SQUARES, CLIP_FACTOR, SCALE, CLAMP

# The kernel of an update by name ("adam", "sgd_momentum", ...), NULL when there is none.
cdef const fn_kernel* update_kernel(str name) noexcept
