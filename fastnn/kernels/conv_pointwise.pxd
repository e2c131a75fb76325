from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport Gather

cdef int64_t pointwise_weight_bytes(const Gather* g, int threads) noexcept nogil
cdef void pointwise_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil
