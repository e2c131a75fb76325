"""A convolution call seen as gathered products."""
from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport Gather
from fastnn.kernels.native cimport fn_call

# The forward pass of a call as a Gather (source x, target y); pointers are left to the caller.
cdef void forward_gather(const fn_call* call, Gather* g) noexcept nogil
# The input gradient of a call (source dy, target dx) is one Gather per phase, the residue of a dx pixel by the stride.
cdef int64_t phases_of(const fn_call* call) noexcept nogil
cdef void phase_gather(const fn_call* call, int64_t phase, Gather* g) noexcept nogil
