"""Weight gradient of a 1x1 convolution: dw[i][o] = sum over pixels of x[pixel][i] * dy[pixel][o], a product with a very long sum.

The pixels are cut into parts that are summed apart and added in order; a part into chunks.  A chunk's block of x is copied
into rows that share no sets of the cache, and while it is multiplied the next chunk is fetched from memory.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv cimport Gather, ceil_div, fn_conv_outer, fn_conv_run, pixels_of, round_up
from fastnn.kernels.gemm cimport gemm, gemm_args, gemm_scratch
from fastnn.kernels.native cimport parallel

cdef enum:
    CHUNK = 256                 # pixels at a time
    ROWS = 192                  # channels of x at a time: with CHUNK pixels, a fifth of the second-level cache
    PAD = 16                    # elements between the copied rows
    UNITS = 16                  # units wanted
    PART_PIXELS = 512           # a part has at least as many: then adding it costs a hundredth of it
    PARTIAL_BYTES = 4194304     # of all parts' sums
    ADDED = 16384               # elements added at a time

cdef struct Work:
    Gather g
    const char* dy
    char* dw
    char* partial               # parts - 1 more copies of dw
    char* workers
    int64_t parts
    int64_t row_blocks
    int64_t rows                # of a block
    int64_t strips
    int64_t strip_blocks
    int64_t worker_bytes


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


cdef void plan(const Gather* g, Work* w) noexcept nogil:
    memset(w, 0, sizeof(Work))
    w.g = g[0]
    w.strips = ceil_div(g.n, g.kernels.columns)
    w.parts = max(1, min(min(UNITS, pixels_of(g) // PART_PIXELS), PARTIAL_BYTES // max(1, dw_bytes(g))))
    w.row_blocks = max(1, ceil_div(g.K, ROWS))
    w.rows = round_up(ceil_div(g.K, w.row_blocks), 6)
    w.row_blocks = max(1, ceil_div(g.K, w.rows))
    w.strip_blocks = max(1, min(w.strips, ceil_div(UNITS, w.parts * w.row_blocks)))
    w.worker_bytes = round_up(CHUNK * (w.rows + PAD) * g.element, 64)


cdef void body(void* context, int64_t unit, int worker) noexcept nogil:
    """Some pixels, a block of x's channels, some strips of dy's."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t strips = unit % w.strip_blocks, row = unit // w.strip_blocks % w.row_blocks * w.rows, e = g.element
    cdef int64_t part = unit // w.strip_blocks // w.row_blocks, rows = min(w.rows, g.K - row), strip, chunk, p, next_p
    cdef int64_t first = part * pixels_of(g) // w.parts, pixels = (part + 1) * pixels_of(g) // w.parts - first
    cdef int64_t chunks = max(1, ceil_div(pixels, CHUNK))
    cdef char* copy = w.workers + worker * w.worker_bytes
    cdef char* dw = w.dw if part == 0 else w.partial + (part - 1) * dw_bytes(g)
    cdef fn_conv_run run
    cdef fn_conv_outer s
    memset(&s, 0, sizeof(s))
    s.rows, s.runs, s.run = rows, 1, &run
    s.xstep, s.ystep, s.rsc, s.next_xstep = w.rows + PAD, g.n, g.n, g.K
    for chunk in range(chunks):
        p, next_p = first + chunk * pixels // chunks, first + (chunk + 1) * pixels // chunks
        run.count = next_p - p
        g.gemm.pack(run.count, rows, g.source + (p * g.K + row) * e, g.K, 1, copy, s.xstep)
        s.next_x = g.source + (next_p * g.K + row) * e if chunk + 1 < chunks else NULL
        for strip in range(strips * w.strips // w.strip_blocks, (strips + 1) * w.strips // w.strip_blocks):
            s.yskip = strip * g.kernels.columns
            s.n = min(g.kernels.columns, g.n - s.yskip)
            run.x, run.y = copy, w.dy + p * g.n * e
            s.next_y = w.dy + (next_p * g.n + s.yskip) * e if chunk + 1 < chunks else NULL
            s.c, s.load = dw + (row * g.n + s.yskip) * e, chunk > 0
            g.kernels.outer(&s)
            s.next_x = NULL


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
    return threads * w.worker_bytes + (w.parts - 1) * dw_bytes(g)


cdef void pointwise_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil:
    cdef Work w
    cdef gemm_args product
    if is_narrow(g):
        general(g, &product)
        product.A, product.B, product.C = g.source, dy, dw
        gemm(g.dtype, &product, threads, scratch)
        return
    plan(g, &w)
    w.dy, w.dw, w.workers = dy, dw, scratch
    w.partial = scratch + threads * w.worker_bytes
    parallel(w.parts * w.row_blocks * w.strip_blocks, threads, body, &w)
    if w.parts > 1:
        parallel(ceil_div(g.K * g.n, ADDED), threads, add_body, &w)
