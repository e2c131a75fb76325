"""Winograd's algorithm F(4x4, 4x4) over the phases of a strided convolution, in float32: forward and weight gradient."""
from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport Gather

cdef bint worth_phased(const Gather* g, bint allowed) noexcept nogil
cdef bint worth_phased_weight(const Gather* g, bint allowed) noexcept nogil
cdef int64_t phased_bytes(const Gather* g, int threads) noexcept nogil
cdef void phased(const Gather* g, int threads, char* scratch) noexcept nogil
cdef int64_t phased_weight_bytes(const Gather* g, int threads) noexcept nogil
cdef void phased_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil
