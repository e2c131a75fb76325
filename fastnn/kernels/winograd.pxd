"""Winograd's algorithm for 3x3 convolutions with stride 1 in float32: forward, input gradient and weight gradient."""
from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport Gather

cdef bint worth_winograd(const Gather* g, bint allowed) noexcept nogil
cdef int64_t winograd_bytes(const Gather* g, int threads) noexcept nogil
cdef void winograd(const Gather* g, int threads, char* scratch) noexcept nogil
cdef int64_t winograd_weight_bytes(const Gather* g, int threads) noexcept nogil
cdef void winograd_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil
