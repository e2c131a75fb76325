"""Convolution seen as a gathering product, for its three passes and for the Winograd and depthwise drivers."""
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport fn_call, fn_kernel

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_conv_end:
        const void* bias
        const void* mean
        const void* scale
        const void* shift
        int64_t residual
        int relu
    ctypedef struct fn_conv_gather:
        int64_t rows
        int64_t n
        int64_t taps
        int64_t K
        const void** a
        int64_t lda
        int64_t skip
        int64_t next
        const void* b
        const int64_t* tap
        int64_t rsb
        const void* ahead
        const int64_t* ahead_tap
        void** c
        int64_t column
        int load
        const fn_conv_end* end
    ctypedef struct fn_conv_run:
        const void* x
        const void* y
        int64_t count
    ctypedef struct fn_conv_outer:
        int64_t rows
        int64_t n
        int64_t runs
        const fn_conv_run* run
        int64_t xskip
        int64_t yskip
        int64_t xstep
        int64_t ystep
        void* c
        int64_t rsc
        int load
        const void* next_x
        const void* next_y
        int64_t next_xstep
    ctypedef struct fn_conv_depthwise:
        int64_t count
        int64_t C
        int64_t rows
        int64_t columns
        const void** x
        const void** w
        int64_t xstep
        int64_t xcolumn
        int64_t wcolumn
        int64_t ystep
        void* y
        const void* bias
        int relu
    ctypedef struct fn_conv_slide:
        int64_t count
        int64_t C
        int rows
        int targets
        int left
        int right
        const void** x
        const void** w
        int64_t ystep
        void* y[2]
        const void* bias
        int relu
    ctypedef struct fn_conv_thin:
        int64_t count
        int64_t n
        int64_t rows
        int64_t columns
        const void** x
        const void* w
        int64_t rsw
        const void* bias
        int relu
        void* y
        int64_t ystep
    ctypedef struct fn_conv_square:
        int64_t count
        int64_t C
        int rows
        int left
        int right
        const void* x[3]
        const void* y
        void* c[3]
    ctypedef struct fn_conv_table:
        int lanes
        int columns
        int masked_tails
        void (*gather)(const fn_conv_gather* s) noexcept nogil
        void (*outer)(const fn_conv_outer* s) noexcept nogil
        void (*depthwise)(const fn_conv_depthwise* s) noexcept nogil
        void (*depthwise_slide)(const fn_conv_slide* s) noexcept nogil
        void (*depthwise_outer)(int64_t runs, const fn_conv_run* run, int64_t C, int columns, int64_t xstep, int64_t xcolumn,
                                int64_t ystep, void* c, int64_t wcolumn) noexcept nogil
        void (*depthwise_square)(const fn_conv_square* s) noexcept nogil
        void (*ending)(int64_t pixels, int64_t n, void* y, const fn_conv_end* end) noexcept nogil
        void (*add)(int64_t n, const void* x, void* y) noexcept nogil
        void (*interleave)(int64_t pixels, int64_t K, const void* x, int64_t plane, void* y) noexcept nogil
        void (*norm_scale)(int64_t n, const void* w, const void* var, double eps, void* scale) noexcept nogil
        void (*overlap)(int64_t count, int64_t taps, int64_t K, const void* x, int64_t xstep, void* y) noexcept nogil
        void (*thin)(const fn_conv_thin* s) noexcept nogil
        void (*thin_outer)(int64_t runs, const fn_conv_run* run, int64_t columns, int64_t n, int64_t ystep, void* c,
                           int load) noexcept nogil
        void (*thin_fold)(int64_t count, const void* c, void* sums) noexcept nogil
    ctypedef struct fn_gemm_table:
        void (*pack)(int64_t rows, int64_t columns, const void* x, int64_t rsx, int64_t csx, void* y,
                     int64_t rsy) noexcept nogil
        void (*pad)(int64_t rows, int64_t columns, void* y, int64_t rsy) noexcept nogil

# Positions in fn_call.size; axes are (depth, height, width), lower-dimensional convolutions have leading ones.
# I and O are channels per group.  Strides of the weight in elements: any memory order.
cdef enum:
    N_ = 0
    G_ = 1
    I_ = 2
    O_ = 3
    IN_ = 4
    OUT_ = 7
    KERNEL_ = 10
    STRIDE_ = 13
    PAD_ = 16
    DILATION_ = 19
    WO_ = 22
    WI_ = 23
    WK_ = 24
    PLANAR_ = 27                # x is in C order (N, C, D, H, W); else channels-last, as all other maps always are
    RELU_ = 28
    WINOGRAD_ = 29              # Winograd's algorithm is allowed
    NORM_ = 30                  # a batch norm is joined

# Along one axis: target pixel start + step * j, 0 <= j < count, takes source pixel a * j + b + i * bstep through
# position k + i * kstep of the kernel, 0 <= i < taps.
cdef struct Axis:
    int64_t source
    int64_t target
    int64_t count
    int64_t start
    int64_t step
    int64_t a
    int64_t taps
    int64_t b
    int64_t bstep
    int64_t k
    int64_t kstep

# target[pixel][g][j] = sum over taps t, k < K of source[pixel moved by t][g][k] * weight[g][t][k][j]
cdef struct Gather:
    int dtype
    int64_t element             # bytes
    const fn_conv_table* kernels
    const fn_gemm_table* gemm
    int64_t N
    int64_t groups
    int64_t K                   # source channels per group
    int64_t n                   # target channels per group
    Axis[3] axis
    const char* source
    bint planar                 # source in C order
    char* target
    const char* weight          # strides: group, row k, column j, and the three of the kernel
    int64_t wg
    int64_t wk
    int64_t wj
    int64_t[3] wt
    fn_conv_end end

cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b

cdef inline int64_t round_up(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b * b

cdef inline int64_t taps_of(const Gather* g) noexcept nogil:
    return g.axis[0].taps * g.axis[1].taps * g.axis[2].taps

cdef inline int64_t pixels_of(const Gather* g) noexcept nogil:
    return g.N * g.axis[0].count * g.axis[1].count * g.axis[2].count

cdef inline bint is_pointwise(const Gather* g) noexcept nogil:
    """Is it the product of two matrices of pixels by channels?"""
    cdef int i
    for i in range(3):
        if g.axis[i].taps != 1 or g.axis[i].a != 1 or g.axis[i].b != 0 or g.axis[i].source != g.axis[i].target:
            return False
    return g.groups == 1 and not g.planar

cdef inline int64_t source_row(const Gather* g, int64_t n, int64_t s0, int64_t s1) noexcept nogil:
    """Index of the first pixel of a source row."""
    return ((n * g.axis[0].source + s0) * g.axis[1].source + s1) * g.axis[2].source

cdef inline int64_t target_row(const Gather* g, int64_t n, int64_t j0, int64_t j1) noexcept nogil:
    return ((n * g.axis[0].target + g.axis[0].start + g.axis[0].step * j0) * g.axis[1].target
            + g.axis[1].start + g.axis[1].step * j1) * g.axis[2].target

cdef inline int64_t tap_weight_at(const Gather* g, int64_t t) noexcept nogil:
    """Where tap t of the weight lies, in elements."""
    cdef const Axis* x = &g.axis[0]
    cdef int64_t t2 = t % x[2].taps, t1 = t // x[2].taps % x[1].taps, t0 = t // x[2].taps // x[1].taps
    return ((x[0].k + t0 * x[0].kstep) * g.wt[0] + (x[1].k + t1 * x[1].kstep) * g.wt[1]
            + (x[2].k + t2 * x[2].kstep) * g.wt[2])

# Slots of CONV_FORWARD.  Compiled inference joins what follows a convolution to it (core/fusion.pyx): batch norm with given
# statistics (weight and bias may be absent, eps is scalar 0), the sum with another map, relu (size[RELU_]).
cdef enum:
    Y_ = 3
    NORM_WEIGHT_ = 4
    NORM_BIAS_ = 5
    NORM_MEAN_ = 6
    NORM_VAR_ = 7
    RESIDUAL_ = 8

# Can a forward call also normalise and add a residual?
cdef bint takes_norm(const fn_call* call) noexcept nogil
cdef fn_kernel CONV_FORWARD, CONV_INPUT_GRADIENT
