"""Winograd's algorithm F(4x4, 3x3): a 3x3 convolution with stride 1 as 36 matrix products, a quarter of the arithmetic.

Tiles of 4x4 target pixels are worked off in batches whose transforms fit the cache: transform the source, multiply,
transform back.  The weight gradient is F(3x3, 4x4) on the same points.  docs/convolution.md has the error and the rule.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv cimport (
    Axis, Gather, ceil_div, fn_conv_gather, fn_conv_outer, fn_conv_run, round_up, source_row, tap_weight_at, target_row)
from fastnn.kernels.native cimport parallel, table
from fastnn.kernels.winograd_fused cimport fits_fused, fused, fused_bytes

cdef extern from "fastnn.h" nogil:
    ctypedef struct tables "fn_table":
        const fn_winograd_table* winograd[2]

cdef enum:
    BATCH_BYTES = 4194304       # of transformed tiles at a time
    WEIGHT_BYTES = 4194304      # of transformed weights at a time, where all tiles are one batch
    ROWS = 96                   # tiles of one product
    CHANNELS = 128              # rows of weights transformed at a time
    TILES = 8                   # tiles transformed at a time
    FAR_BYTES = 4194304         # of weights that no second-level cache holds: they arrive more slowly than a few tiles use them

cdef struct Work:
    Gather g
    const fn_winograd_table* kernels
    int64_t down                # tiles of an image
    int64_t across
    int64_t tiles
    int64_t batch               # tiles at a time
    int64_t first               # tile of the batch
    int64_t count               # tiles of the batch
    int64_t width               # columns of a strip
    int64_t strips
    int64_t first_strip         # strips whose transformed weights are at hand
    int64_t some_strips
    int64_t row_blocks
    int64_t ustride             # elements between the points
    int64_t vstride
    int64_t mstride
    int64_t vrow                # elements between the tiles
    int64_t mrow
    char* u
    char* v
    char* m
    char* zero
    char* workers
    int64_t worker_bytes
    const char* dy
    char* dw


cdef const fn_winograd_table* winograd_kernels(const Gather* g) noexcept nogil:
    return (<const tables*>table).winograd[g.dtype]


cdef void plan(const Gather* g, Work* w) noexcept nogil:
    cdef int64_t most
    memset(w, 0, sizeof(Work))
    w.g = g[0]
    w.kernels = winograd_kernels(g)
    w.down, w.across = ceil_div(g.axis[1].count, 4), ceil_div(g.axis[2].count, 4)
    w.tiles = g.N * w.down * w.across
    most = max(32, BATCH_BYTES // (POINTS * (g.K + g.n) * g.element))
    w.batch = ceil_div(w.tiles, ceil_div(w.tiles, most))
    w.width = min(g.kernels.columns, round_up(g.n, g.kernels.lanes))
    w.strips = ceil_div(g.n, w.width)
    w.some_strips = w.strips
    if w.batch >= w.tiles:              # then each strip of weights is used once, while it is in the cache
        w.some_strips = max(1, min(w.strips, WEIGHT_BYTES // (POINTS * g.K * w.width * g.element)))
    w.ustride = spread(w.some_strips * g.K * w.width)
    w.vrow, w.mrow = round_up(g.K, 16) + 16, round_up(g.n, 16) + 16       # no power of two: such rows share few sets
    w.vstride, w.mstride = spread(w.batch * w.vrow), spread(w.batch * w.mrow)
    w.worker_bytes = 9 * CHANNELS * w.width * g.element


cdef bint can_winograd(const Gather* g) noexcept nogil:
    cdef const Axis* a = &g.axis[0]
    cdef const Axis* h = &g.axis[1]
    cdef const Axis* v = &g.axis[2]
    if g.dtype != 0 or g.groups != 1 or g.planar or g.K < 16 or g.n < 16:
        return False
    if a.source != 1 or a.target != 1 or a.taps != 1 or a.b != 0:
        return False
    return h.taps == 3 and h.a == 1 and h.step == 1 and h.bstep == 1 and v.taps == 3 and v.a == 1 and v.step == 1 and v.bstep == 1


cdef bint pays(const Gather* g, double product, double weights, double transforms) noexcept nogil:
    """The written rule, a count of vector operations: per pixel and pair of channels, per pair, per tile and channel."""
    cdef const Axis* h = &g.axis[1]
    cdef const Axis* v = &g.axis[2]
    cdef double pair = <double>g.K * g.n, tiles = <double>(g.N * ceil_div(h.count, 4) * ceil_div(v.count, 4))
    return 9.0 * g.N * h.count * v.count * pair > product * POINTS * tiles * pair + weights * pair + transforms * tiles * (g.K + g.n)


cdef bint worth_winograd(const Gather* g, bint allowed) noexcept nogil:
    if not allowed or not can_winograd(g):
        return False
    cdef double weights = 300.0 if 9 * g.K * g.n * g.element > FAR_BYTES else 150.0
    return pays(g, 1.2, weights, 250.0) if fits_fused(g) else pays(g, 1.3, 600.0, 600.0)


cdef bint worth_winograd_weight(const Gather* g, bint allowed) noexcept nogil:
    return allowed and can_winograd(g) and pays(g, 1.3, 600.0, 600.0)


# ---- transforms --------------------------------------------------------------------------------------------------

cdef void weight_body(void* context, int64_t block, int worker) noexcept nogil:
    """Some rows of one strip: gathered from whatever order the weight has, then transformed."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t strip = block % w.some_strips, k = block // w.some_strips * CHANNELS, e = g.element, t, i
    cdef int64_t j = (w.first_strip + strip) * w.width
    cdef int64_t rows = min(CHANNELS, g.K - k), columns = min(w.width, g.n - j)
    if columns <= 0:
        return
    cdef char* taps = w.workers + worker * w.worker_bytes
    for t in range(9):
        g.gemm.pack(rows, columns, g.weight + (tap_weight_at(g, t) + k * g.wk + j * g.wj) * e, g.wk, g.wj,
                    taps + t * CHANNELS * w.width * e, w.width)
    for i in range(rows):
        w.kernels.weight(columns, taps + i * w.width * e, CHANNELS * w.width,
                         w.u + (strip * g.K + k + i) * w.width * e, w.ustride)


cdef void tile_of(const Work* w, int64_t tile, int64_t* n, int64_t* h, int64_t* v) noexcept nogil:
    """Image and first target pixel of a tile."""
    v[0] = tile % w.across * 4
    tile //= w.across
    h[0] = tile % w.down * 4
    n[0] = tile // w.down


cdef void source_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef const Axis* a = &g.axis[0]
    cdef int64_t t, n, h, v, i, j, s1, s2, pixel = g.K * g.element
    cdef const void* at[36]
    cdef const char* row
    for t in range(block * TILES, min(w.count, (block + 1) * TILES)):
        tile_of(w, w.first + t, &n, &h, &v)
        h += a[1].b
        v += a[2].b
        for i in range(6):
            s1 = h + i
            row = g.source + (source_row(g, n, 0, s1) + v) * pixel
            for j in range(6):
                s2 = v + j
                at[i * 6 + j] = row + j * pixel if 0 <= s1 < a[1].source and 0 <= s2 < a[2].source else w.zero
        w.kernels.source(g.K, at, w.v + t * w.vrow * g.element, w.vstride)


cdef void target_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef const Axis* a = &g.axis[0]
    cdef int64_t t, n, h, v, i, j, pixel = g.n * g.element
    cdef void* at[16]
    cdef char* row
    for t in range(block * TILES, min(w.count, (block + 1) * TILES)):
        tile_of(w, w.first + t, &n, &h, &v)
        for i in range(4):
            row = g.target + (target_row(g, n, 0, h + i) + v) * pixel
            for j in range(4):
                at[i * 4 + j] = row + j * pixel if h + i < a[1].count and v + j < a[2].count else NULL
        w.kernels.target(0, g.n, w.m + t * w.mrow * g.element, w.mstride, at, &g.end)


cdef void gradient_body(void* context, int64_t block, int worker) noexcept nogil:
    """The target's gradient, for the weight gradient."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef const Axis* a = &g.axis[0]
    cdef int64_t t, n, h, v, i, j, pixel = g.n * g.element
    cdef const void* at[16]
    cdef const char* row
    for t in range(block * TILES, min(w.count, (block + 1) * TILES)):
        tile_of(w, w.first + t, &n, &h, &v)
        for i in range(4):
            row = w.dy + (target_row(g, n, 0, h + i) + v) * pixel
            for j in range(4):
                at[i * 4 + j] = row + j * pixel if h + i < a[1].count and v + j < a[2].count else w.zero
        w.kernels.gradient(g.n, at, w.m + t * w.mrow * g.element, w.mstride)


cdef void transform(Work* w, int threads, bint gradient) noexcept nogil:
    parallel(ceil_div(w.count, TILES), threads, source_body, w)
    if gradient:
        parallel(ceil_div(w.count, TILES), threads, gradient_body, w)


# ---- forward and input gradient ----------------------------------------------------------------------------------

cdef void multiply_body(void* context, int64_t block, int worker) noexcept nogil:
    """One of the 36 products, some tiles."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t point = block // w.row_blocks, part = block % w.row_blocks, e = g.element, strip, r
    cdef int64_t row = part * w.count // w.row_blocks, zero = 0
    cdef const void* a[ROWS]
    cdef void* c[ROWS]
    cdef fn_conv_gather s
    memset(&s, 0, sizeof(s))
    s.rows = (part + 1) * w.count // w.row_blocks - row
    for r in range(s.rows):
        a[r] = w.v + (point * w.vstride + (row + r) * w.vrow) * e
        c[r] = w.m + (point * w.mstride + (row + r) * w.mrow) * e
    s.taps, s.K, s.a, s.lda, s.tap, s.rsb, s.c = 1, g.K, a, s.rows, &zero, w.width, c
    for strip in range(min(w.some_strips, w.strips - w.first_strip)):
        s.column = (w.first_strip + strip) * w.width
        s.n = min(w.width, g.n - s.column)
        s.b = w.u + (point * w.ustride + strip * g.K * w.width) * e
        g.kernels.gather(&s)


cdef inline int64_t zero_bytes(const Gather* g) noexcept nogil:
    return round_up(max(g.K, g.n) * g.element, 64)


cdef int64_t batch_bytes(const Gather* g, int threads) noexcept nogil:
    cdef Work w
    plan(g, &w)
    return POINTS * (w.ustride + w.vstride + w.mstride) * g.element + zero_bytes(g) + threads * w.worker_bytes


cdef int64_t winograd_bytes(const Gather* g, int threads) noexcept nogil:
    return fused_bytes(g, threads) if fits_fused(g) else batch_bytes(g, threads)


cdef void winograd(const Gather* g, int threads, char* scratch) noexcept nogil:
    cdef Work w
    if fits_fused(g):
        fused(g, threads, scratch)
        return
    plan(g, &w)
    w.u = scratch
    w.v = w.u + POINTS * w.ustride * g.element
    w.m = w.v + POINTS * w.vstride * g.element
    w.zero = w.m + POINTS * w.mstride * g.element
    w.workers = w.zero + zero_bytes(g)
    memset(w.zero, 0, zero_bytes(g))
    cdef int64_t weight_blocks = w.some_strips * ceil_div(g.K, CHANNELS)
    parallel(weight_blocks, threads, weight_body, &w)
    while w.first < w.tiles:
        w.count = min(w.batch, w.tiles - w.first)
        w.row_blocks = ceil_div(w.count, ROWS)
        transform(&w, threads, False)
        parallel(POINTS * w.row_blocks, threads, multiply_body, &w)
        while w.first_strip + w.some_strips < w.strips:     # one batch: the next strips of weights
            w.first_strip += w.some_strips
            parallel(weight_blocks, threads, weight_body, &w)
            parallel(POINTS * w.row_blocks, threads, multiply_body, &w)
        parallel(ceil_div(w.count, TILES), threads, target_body, &w)
        w.first += w.count


# ---- weight gradient ---------------------------------------------------------------------------------------------

cdef void outer_body(void* context, int64_t block, int worker) noexcept nogil:
    """One strip of one of the 36 products, summed over the tiles of the batch; u holds the sums."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t point = block // w.some_strips, strip = block % w.some_strips, e = g.element
    cdef int64_t column = (w.first_strip + strip) * w.width
    cdef fn_conv_run run
    cdef fn_conv_outer s
    if column >= g.n:
        return
    run.x, run.y, run.count = w.v + point * w.vstride * e, w.m + point * w.mstride * e, w.count
    s.rows, s.n, s.runs, s.run = g.K, min(w.width, g.n - column), 1, &run
    s.xskip, s.yskip, s.xstep, s.ystep = 0, column, w.vrow, w.mrow
    s.c, s.rsc, s.load = w.u + (point * w.ustride + strip * g.K * w.width) * e, w.width, w.first > 0
    s.next_x = s.next_y = NULL
    g.kernels.outer(&s)


cdef void back_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t strip = block % w.some_strips, first = block // w.some_strips * CHANNELS, e = g.element, k
    cdef int64_t column = (w.first_strip + strip) * w.width
    if column >= g.n:
        return
    for k in range(first, min(g.K, first + CHANNELS)):
        w.kernels.weight_gradient(min(w.width, g.n - column), w.u + (strip * g.K + k) * w.width * e, w.ustride,
                                  w.dw + (k * g.n + column) * e, g.K * g.n)


cdef int64_t winograd_weight_bytes(const Gather* g, int threads) noexcept nogil:
    return batch_bytes(g, threads)


cdef void winograd_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil:
    cdef Work w
    plan(g, &w)
    w.u = scratch
    w.v = w.u + POINTS * w.ustride * g.element
    w.m = w.v + POINTS * w.vstride * g.element
    w.zero = w.m + POINTS * w.mstride * g.element
    w.dy, w.dw = dy, dw
    memset(w.zero, 0, zero_bytes(g))
    while w.first < w.tiles:
        w.count = min(w.batch, w.tiles - w.first)
        transform(&w, threads, True)
        parallel(POINTS * w.some_strips, threads, outer_body, &w)
        w.first += w.count
    w.first = 0                         # the remaining strips of a single batch start from zero, too
    while True:
        parallel(w.some_strips * ceil_div(g.K, CHANNELS), threads, back_body, &w)
        w.first_strip += w.some_strips
        if w.first_strip >= w.strips:
            return
        parallel(POINTS * w.some_strips, threads, outer_body, &w)
