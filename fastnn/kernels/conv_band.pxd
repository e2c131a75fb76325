"""Padded patches of the source for convolutions of few input channels."""
from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport Gather

cdef enum:
    TAIL = 64                   # bytes of zeros behind a band, where the last pixels' vectors end

# A patch of the source with its padding written out, for thin inputs: then the taps of a kernel row are one long tap.
cdef struct Band:
    int64_t rows                # target rows and columns of a block, at most
    int64_t columns
    int64_t height              # source rows and columns that they see
    int64_t width
    int64_t across              # blocks along the width and the height
    int64_t down
    bint merged                 # taps of a kernel row in one
    int64_t taps
    int64_t K

cdef bint wants_band(const Gather* g) noexcept nogil
cdef bint wants_thin(const Gather* g) noexcept nogil
cdef void make_band(const Gather* g, int64_t pixels, Band* b) noexcept nogil
cdef int64_t band_bytes(const Gather* g, const Band* b) noexcept nogil
cdef void copy_band(const Gather* g, const Band* b, int64_t group, int64_t n, int64_t j0, int64_t j1, int64_t j2,
                    char* band) noexcept nogil
