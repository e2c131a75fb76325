"""Depthwise convolution: one channel in, one channel out, per group."""
from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport G_, Gather, I_, O_, PLANAR_
from fastnn.kernels.native cimport fn_call

cdef inline bint is_depthwise(const fn_call* call) noexcept nogil:
    return call.size[G_] > 1 and call.size[I_] == 1 and call.size[O_] == 1 and not call.size[PLANAR_]

cdef int64_t depthwise_bytes(const Gather* g, int threads) noexcept nogil
cdef void depthwise(const Gather* g, int threads, char* scratch) noexcept nogil
cdef int64_t depthwise_weight_bytes(const Gather* g, int threads) noexcept nogil
cdef void depthwise_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil
