"""Weight gradient of a 1x1 convolution: dw[i][o] = sum over pixels of x[pixel][i] * dy[pixel][o], a product with a very long sum.

The pixels are cut into parts that are summed apart and added in order; a part into chunks.  Both operands are read where they lie,
and while a chunk's strip is multiplied the next one is fetched from memory into the second-level cache.  Where the machine multiplies
parts of bfloat16 (csrc/parts.h), a unit packs what it needs of a chunk.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv cimport Gather, ceil_div, fn_conv_outer, fn_conv_run, pixels_of, round_up
from fastnn.kernels.gemm cimport gemm, gemm_args, gemm_scratch
from fastnn.kernels.gemm_parts cimport (
    FN_PARTS, FN_PARTS_PANEL, FN_PARTS_STEP, FN_PARTS_TILE, PAIR, fn_parts_block, fn_parts_table, parts_tables, suits_parts)
from fastnn.kernels.native cimport parallel, table

cdef enum:
    CHUNK = 192                 # pixels at a time
    ROWS = 256                  # channels of x at a time: with CHUNK pixels, a fifth of the second-level cache
    UNITS = 16                  # units wanted
    PART_PIXELS = 512           # a part has at least as many: then adding it costs a hundredth of it
    PARTIAL_BYTES = 4194304     # of all parts' sums
    ADDED = 4096                # elements added at a time
    PACKED = 256                # by parts: pixels and columns at once; their panels and those of ROWS channels share the second-level cache

cdef struct Work:
    Gather g
    const char* dy
    char* dw
    char* partial               # parts - 1 more copies of dw
    int64_t parts
    int64_t row_blocks
    int64_t rows                # of a block
    int64_t strips
    int64_t strip_blocks
    int threads
    const fn_parts_table* by_parts      # or NULL
    char* workers               # by parts: each worker's panels

cdef struct Unit:
    int64_t part
    int64_t row                 # of dw
    int64_t low                 # strips
    int64_t high
    int64_t first               # pixel
    int64_t pixels
    int64_t chunks


cdef int64_t dw_bytes(const Gather* g) noexcept nogil:
    return g.K * g.n * g.element


cdef bint is_narrow(const Gather* g) noexcept nogil:
    """Too few output channels to fill a tile: the general product turns itself."""
    return 2 * g.n <= g.kernels.columns


cdef void general(const Gather* g, gemm_args* product) noexcept nogil:
    memset(product, 0, sizeof(gemm_args))
    product.M, product.N, product.K = g.K, g.n, pixels_of(g)
    product.rsA, product.csA = 1, g.K
    product.rsB, product.csB = g.n, 1
    product.rsC, product.csC = g.n, 1


cdef inline int64_t panel_bytes(int64_t count, int64_t pixels) noexcept nogil:
    return ceil_div(count, FN_PARTS_PANEL) * ceil_div(pixels, FN_PARTS_STEP) * FN_PARTS * FN_PARTS_TILE


cdef inline int64_t worker_bytes() noexcept nogil:
    return panel_bytes(ROWS, PACKED) + panel_bytes(PACKED, PACKED)


cdef void plan(const Gather* g, Work* w) noexcept nogil:
    cdef gemm_args product
    memset(w, 0, sizeof(Work))
    w.g = g[0]
    general(g, &product)
    if suits_parts(g.dtype, &product):
        w.by_parts = (<const parts_tables*>table).parts
    w.strips = ceil_div(g.n, g.kernels.columns)
    w.row_blocks = max(1, ceil_div(g.K, ROWS))
    w.rows = round_up(ceil_div(g.K, w.row_blocks), PAIR if w.by_parts != NULL else 6)
    w.row_blocks = max(1, ceil_div(g.K, w.rows))
    w.parts = min(ceil_div(UNITS, w.row_blocks), pixels_of(g) // PART_PIXELS)
    w.parts = max(1, min(w.parts, PARTIAL_BYTES // max(1, dw_bytes(g))))
    w.strip_blocks = max(1, min(w.strips, ceil_div(UNITS, w.parts * w.row_blocks)))


cdef Unit unit_of(const Work* w, int64_t index) noexcept nogil:
    cdef int64_t strips = index % w.strip_blocks, pixels = pixels_of(&w.g)
    cdef Unit u
    u.part = index // w.strip_blocks // w.row_blocks
    u.row = index // w.strip_blocks % w.row_blocks * w.rows
    u.low, u.high = strips * w.strips // w.strip_blocks, (strips + 1) * w.strips // w.strip_blocks
    u.first = u.part * pixels // w.parts
    u.pixels = (u.part + 1) * pixels // w.parts - u.first
    u.chunks = max(1, ceil_div(u.pixels, CHUNK))
    return u


cdef void fetch(const Work* w, const Unit* u, int64_t pixel, fn_conv_outer* s) noexcept nogil:
    """A unit's first strip, from a pixel on, is what comes next."""
    s.next_x = w.g.source + (pixel * w.g.K + u.row) * w.g.element
    s.next_y = w.dy + (pixel * w.g.n + u.low * w.g.kernels.columns) * w.g.element


cdef void body(void* context, int64_t index, int worker) noexcept nogil:
    """Some pixels, a block of x's channels, some strips of dy's."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef Unit u = unit_of(w, index), after = unit_of(w, index + w.threads)
    cdef int64_t strip, chunk, p, next_p, e = g.element
    cdef char* dw = w.dw if u.part == 0 else w.partial + (u.part - 1) * dw_bytes(g)
    cdef fn_conv_run run
    cdef fn_conv_outer s
    memset(&s, 0, sizeof(s))
    s.rows, s.runs, s.run = min(w.rows, g.K - u.row), 1, &run
    s.xskip, s.xstep, s.next_xstep, s.ystep, s.rsc = u.row, g.K, g.K, g.n, g.n
    for chunk in range(u.chunks):
        p, next_p = u.first + chunk * u.pixels // u.chunks, u.first + (chunk + 1) * u.pixels // u.chunks
        run.x, run.y, run.count = g.source + p * g.K * e, w.dy + p * g.n * e, next_p - p
        s.load = chunk > 0
        for strip in range(u.low, u.high):
            s.yskip = strip * g.kernels.columns
            s.n = min(g.kernels.columns, g.n - s.yskip)
            s.c = dw + (u.row * g.n + s.yskip) * e
            s.next_x = s.next_y = NULL
            if strip + 1 < u.high:
                s.next_y = <const char*>run.y + (s.yskip + g.kernels.columns) * e
            elif chunk + 1 < u.chunks:
                fetch(w, &u, next_p, &s)
            elif after.part < w.parts:          # this thread's next unit, if the threads take turns
                fetch(w, &after, after.first, &s)
            g.kernels.outer(&s)


cdef struct Refusal:            # a block of sums that parts are not to be relied on for,
    fn_conv_outer product       # and how it is done without
    void (*outer)(const fn_conv_outer* s) noexcept nogil


cdef void refuse(void* context, int64_t column, int64_t columns) noexcept nogil:
    cdef const Refusal* r = <const Refusal*>context
    cdef fn_conv_outer s = r.product
    s.yskip += column
    s.c = <float*>s.c + column
    s.n = columns
    r.outer(&s)


cdef void parts_body(void* context, int64_t index, int worker) noexcept nogil:
    """The same unit by parts: panels of a chunk's channels of x, then of some columns of dy at a time."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef Unit u = unit_of(w, index)
    cdef int64_t chunk, p, depth, piece, column, pair, row, end = u.first + u.pixels, rows = min(w.rows, g.K - u.row)
    cdef int64_t first = u.low * g.kernels.columns, last = min(u.high * g.kernels.columns, g.n)
    cdef const float* x = <const float*>g.source + u.row
    cdef const float* dy = <const float*>w.dy
    cdef float* dw = <float*>(w.dw if u.part == 0 else w.partial + (u.part - 1) * dw_bytes(g)) + u.row * g.n
    cdef char* panels = w.workers + worker * worker_bytes()
    cdef char* of_dy = panels + panel_bytes(ROWS, PACKED)
    cdef fn_conv_run run
    cdef fn_parts_block s
    cdef Refusal r
    memset(&s, 0, sizeof(s))
    memset(&r, 0, sizeof(r))
    r.outer = g.kernels.outer
    r.product.runs, r.product.run, r.product.xstep, r.product.ystep, r.product.rsc = 1, &run, g.K, g.n, g.n
    s.refused, s.context, s.rsc, s.a_parts, s.b_parts = refuse, &r, g.n, FN_PARTS, FN_PARTS
    for chunk in range(ceil_div(u.pixels, PACKED)):
        p = u.first + chunk * PACKED
        depth = min(PACKED, end - p)
        s.steps, s.load = ceil_div(depth, FN_PARTS_STEP), p > u.first
        run.x, run.y, run.count = x + p * g.K, dy + p * g.n, depth
        w.by_parts.pack(rows, depth, x + p * g.K, 1, g.K, False, FN_PARTS, panels)
        for piece in range(ceil_div(last - first, PACKED)):
            column = first + piece * PACKED
            s.columns = min(PACKED, last - column)
            w.by_parts.pack(s.columns, depth, dy + p * g.n + column, 1, g.n, True, FN_PARTS, of_dy)
            s.b = of_dy
            w.by_parts.begin()
            for pair in range(ceil_div(rows, PAIR)):
                row = pair * PAIR
                s.rows = r.product.rows = min(PAIR, rows - row)
                s.a, s.c = panels + panel_bytes(row, depth), dw + row * g.n + column
                r.product.xskip, r.product.yskip, r.product.c, r.product.load = row, column, s.c, s.load
                w.by_parts.block(&s)
            w.by_parts.end()


cdef void add_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef int64_t n = w.g.K * w.g.n, first = block * ADDED, e = w.g.element, part
    for part in range(w.parts - 1):
        w.g.kernels.add(min(ADDED, n - first), w.partial + (part * n + first) * e, w.dw + first * e)


cdef int64_t pointwise_weight_bytes(const Gather* g, int threads) noexcept nogil:
    cdef Work w
    cdef gemm_args product
    if is_narrow(g):
        general(g, &product)
        return gemm_scratch(g.dtype, &product, threads)
    plan(g, &w)
    return round_up((w.parts - 1) * dw_bytes(g), 64) + (threads * worker_bytes() if w.by_parts != NULL else 0)


cdef void pointwise_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil:
    cdef Work w
    cdef gemm_args product
    if is_narrow(g):
        general(g, &product)
        product.A, product.B, product.C = g.source, dy, dw
        gemm(g.dtype, &product, threads, scratch)
        return
    plan(g, &w)
    w.dy, w.dw, w.partial, w.threads = dy, dw, scratch, threads
    w.workers = scratch + round_up((w.parts - 1) * dw_bytes(g), 64)
    parallel(w.parts * w.row_blocks * w.strip_blocks, threads, parts_body if w.by_parts != NULL else body, &w)
    if w.parts > 1:
        parallel(ceil_div(g.K * g.n, ADDED), threads, add_body, &w)
