"""Winograd's algorithm with all steps of a few tiles in cache: forward and input gradient."""
from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport Gather

cdef bint fits_fused(const Gather* g) noexcept nogil
cdef int64_t fused_bytes(const Gather* g, int threads) noexcept nogil
cdef void fused(const Gather* g, int threads, char* scratch) noexcept nogil
