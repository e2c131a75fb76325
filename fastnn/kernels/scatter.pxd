"""Input gradient of a convolution with few input channels."""
from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport Gather

cdef bint worth_scattering(const Gather* g) noexcept nogil
cdef int64_t scatter_bytes(const Gather* g, int threads) noexcept nogil
# `g` is the forward pass; its bias, if any, is added to dx (a transposed convolution).
cdef void scatter(const Gather* g, const char* dy, char* dx, int threads, char* scratch) noexcept nogil
