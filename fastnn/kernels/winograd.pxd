"""Winograd's algorithm for 3x3 convolutions with stride 1 in float32: forward, input gradient and weight gradient."""
from libc.stdint cimport int64_t

from fastnn.kernels.conv cimport Gather, fn_conv_end, round_up

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_winograd_product:
        int64_t tiles
        int64_t K
        int64_t n
        const void* v
        const void* u
        void* m
        int64_t vtile
        int64_t vpoint
        int64_t urow
        int64_t upoint
        int64_t mtile
        int64_t mpoint
        int load
    ctypedef struct fn_winograd_table:
        void (*source)(int64_t n, const void** pixel, void* v, int64_t stride) noexcept nogil
        void (*source_inside)(int64_t n, const void* x, int64_t row, int64_t step, void* v, int64_t stride) noexcept nogil
        void (*product)(const fn_winograd_product* s) noexcept nogil
        void (*target)(int64_t at, int64_t n, const void* m, int64_t stride, void** pixel, const fn_conv_end* end) noexcept nogil
        void (*weight)(int64_t n, const void* w, int64_t tap, void* u, int64_t stride) noexcept nogil
        void (*gradient)(int64_t n, const void** pixel, void* z, int64_t stride) noexcept nogil
        void (*weight_gradient)(int64_t n, const void* p, int64_t stride, void* dw, int64_t tap) noexcept nogil

cdef enum:
    POINTS = 36

cdef inline int64_t spread(int64_t n) noexcept nogil:
    """A stride that puts the 36 points of a tile into different sets of the cache."""
    return round_up(n, 1024) + 16

cdef const fn_winograd_table* winograd_kernels(const Gather* g) noexcept nogil
cdef bint worth_winograd(const Gather* g, bint allowed) noexcept nogil
cdef bint worth_winograd_weight(const Gather* g, bint allowed) noexcept nogil
cdef int64_t winograd_bytes(const Gather* g, int threads) noexcept nogil
cdef void winograd(const Gather* g, int threads, char* scratch) noexcept nogil
cdef int64_t winograd_weight_bytes(const Gather* g, int threads) noexcept nogil
cdef void winograd_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil
