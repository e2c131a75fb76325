"""Input gradient of a convolution with few input channels: products first, then sums over the overlapping windows.

Gathering would fill one lane of a vector per input channel.  Instead every pixel of dy is multiplied by the weights of all
taps and channels at once, and each kernel row of the result is added to the row of dx below it.  A block owns some rows
of dx and redoes the products of the dy rows that reach over its edge, so that no two blocks write the same row.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.conv cimport (
    Axis, Gather, ceil_div, fn_conv_gather, round_up, source_row, tap_weight_at, target_row, taps_of)
from fastnn.kernels.native cimport parallel

cdef enum:
    FEW = 4                     # input channels; with long vectors up to half a vector
    BLOCK_ROWS = 32             # of dx

cdef struct Work:
    Gather g
    const char* dy
    char* dx
    char* weights               # [output channel][tap][input channel]
    char* workers
    int64_t row                 # columns of that matrix: taps times channels
    int64_t stride              # between its rows
    int64_t down                # blocks of an image
    int64_t rows                # of dx in a block
    int64_t wide                # pixels of a padded dx row
    int64_t product_bytes
    int64_t patch_bytes
    int64_t worker_bytes


cdef bint worth_scattering(const Gather* g) noexcept nogil:
    cdef int64_t half = g.kernels.lanes // 2
    return (g.groups == 1 and g.K <= max(FEW, half) and g.n >= 8 and taps_of(g) * g.K > half and g.axis[0].source == 1
            and g.axis[0].target == 1 and g.axis[0].taps == 1 and g.axis[0].b == 0)


cdef void plan(const Gather* g, Work* w) noexcept nogil:
    cdef const Axis* v = &g.axis[2]
    memset(w, 0, sizeof(Work))
    w.g = g[0]
    w.row = taps_of(g) * g.K
    w.stride = round_up(w.row, g.kernels.columns)
    w.down = ceil_div(g.axis[1].source, BLOCK_ROWS)
    w.rows = ceil_div(g.axis[1].source, w.down)
    w.wide = max(v.source - v.b, (v.count - 1) * v.a + (v.taps - 1) * v.bstep + 1)
    w.product_bytes = round_up(v.count * w.stride * g.element, 64)
    w.patch_bytes = round_up(w.rows * w.wide * g.K * g.element + 64, 64)
    w.worker_bytes = w.product_bytes + w.patch_bytes + round_up(2 * v.count * 8, 64)


cdef void products(const Work* w, int64_t n, int64_t j, char* product, const void** a) noexcept nogil:
    """One row of dy times all weights."""
    cdef const Gather* g = &w.g
    cdef int64_t count = g.axis[2].count, i, column, zero = 0, e = g.element
    cdef void** c = <void**>(a + count)
    cdef const char* at = w.dy + target_row(g, n, 0, j) * g.n * e
    cdef fn_conv_gather s
    memset(&s, 0, sizeof(s))
    for i in range(count):
        a[i] = at + i * g.n * e
        c[i] = product + i * w.stride * e
    s.rows, s.taps, s.K, s.a, s.lda, s.tap, s.rsb, s.c = count, 1, g.n, a, count, &zero, w.stride, c
    for column in range(ceil_div(w.row, g.kernels.columns)):
        s.column = column * g.kernels.columns
        s.n = min(g.kernels.columns, w.row - s.column)
        s.b = w.weights + s.column * e
        g.kernels.gather(&s)


cdef void add_row(const Work* w, const char* product, int64_t tap_row, char* to) noexcept nogil:
    """Add one kernel row of the products to a padded row of dx."""
    cdef const Gather* g = &w.g
    cdef const Axis* v = &g.axis[2]
    cdef int64_t _i, t, e = g.element, K = g.K
    cdef bint together = v.bstep == 1 or v.taps == 1
    product += tap_row * v.taps * K * e
    if v.a == 1 and together:
        g.kernels.overlap(v.count, v.taps, K, product, w.stride, to)
        return
    for _i in range(v.count):
        if together:
            g.kernels.add(v.taps * K, product, to)
        else:
            for t in range(v.taps):
                g.kernels.add(K, product + t * K * e, to + t * v.bstep * K * e)
        product += w.stride * e
        to += v.a * K * e


cdef void body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef const Axis* h = &g.axis[1]
    cdef const Axis* v = &g.axis[2]
    cdef int64_t n = block // w.down, first = block % w.down * w.rows, e = g.element, pixel = g.K * e, j, t, row, i
    cdef int64_t rows = min(w.rows, h.source - first), reach = (h.taps - 1) * h.bstep
    cdef char* product = w.workers + worker * w.worker_bytes
    cdef char* patch = product + w.product_bytes
    cdef const void** a = <const void**>(patch + w.patch_bytes)
    if rows <= 0:
        return
    memset(patch, 0, rows * w.wide * pixel)
    for j in range(h.count):
        row = h.a * j + h.b - first             # where its first kernel row falls
        if row + reach < 0 or row >= rows:
            continue
        products(w, n, j, product, a)
        for t in range(h.taps):
            if 0 <= row + t * h.bstep < rows:
                add_row(w, product, t, patch + (row + t * h.bstep) * w.wide * pixel)
    for row in range(rows):
        if g.end.bias != NULL:
            for i in range(v.source):
                g.kernels.add(g.K, g.end.bias, patch + (row * w.wide - v.b + i) * pixel)
        memcpy(w.dx + source_row(g, n, 0, first + row) * pixel, patch + (row * w.wide - v.b) * pixel, v.source * pixel)


cdef int64_t scatter_bytes(const Gather* g, int threads) noexcept nogil:
    cdef Work w
    plan(g, &w)
    return round_up(g.n * w.stride * g.element, 64) + threads * w.worker_bytes


cdef void scatter(const Gather* g, const char* dy, char* dx, int threads, char* scratch) noexcept nogil:
    cdef Work w
    cdef int64_t t
    plan(g, &w)
    w.dy, w.dx, w.weights = dy, dx, scratch
    w.workers = scratch + round_up(g.n * w.stride * g.element, 64)
    for t in range(taps_of(g)):
        g.gemm.pack(g.n, g.K, g.weight + tap_weight_at(g, t) * g.element, g.wj, g.wk, w.weights + t * g.K * g.element, w.stride)
    g.gemm.pad(g.n, w.row, w.weights, w.stride)
    parallel(g.N * w.down, threads, body, &w)
