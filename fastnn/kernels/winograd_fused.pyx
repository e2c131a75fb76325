"""Winograd's algorithm F(4x4, 3x3) for maps and channels of moderate size: a few tiles go through all steps while they are in cache.

A unit of work transforms its tiles of the source, multiplies them and transforms them back, in the worker's own buffers.
Where there are many tiles, units are groups of tiles, and every worker transforms all weights before its first one: to make a line
again takes a tenth of the time that another core's takes to arrive.  Where there are few, units are strips of output channels, and
each transforms the weights that it alone uses.  docs/convolution.md has the figures.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv cimport Axis, Gather, ceil_div, round_up, source_row, tap_weight_at, target_row
from fastnn.kernels.native cimport parallel
from fastnn.kernels.winograd cimport POINTS, fn_winograd_product, fn_winograd_table, spread, winograd_kernels

cdef enum:
    FEW = 16                    # tiles up to which units may be strips
    FEW_TILES = 2               # they are, up to as many per vector of output channels: then the weights cost more than source and tiles
    GROUP = 12                  # tiles of a unit at most
    UNITS = 8                   # wanted, as long as they have 4 tiles
    STRIPS = 4                  # wanted, as long as they have two vectors (one, where there are fewer than four)
    WEIGHT_BYTES = 655360       # of transformed weights that stay in the second-level cache
    FAR_TAPS = 262144           # bytes between taps that share one set of every cache: nine at once would drive each other out
    PACKED = 16                 # rows of weights put in order at a time

cdef struct Work:
    Gather g
    const fn_winograd_table* kernels
    int64_t down                # tiles of an image
    int64_t across
    int64_t tiles
    int64_t groups              # of tiles
    int64_t most                # tiles of a group
    int64_t width               # columns of a strip
    int64_t strips
    bint by_strips
    int64_t depth               # input channels at a time
    int64_t tap                 # elements between the taps of a weight that is read where it lies, else 0
    int64_t upoint              # elements between the points
    int64_t vtile               # between the tiles
    int64_t mtile
    int64_t u_bytes             # a worker's transformed weights
    int64_t v_bytes
    int64_t m_bytes
    int64_t worker_bytes
    char* ready                 # per worker: are its weights transformed?
    char* zero
    char* workers


cdef int64_t tap_step(const Gather* g) noexcept nogil:
    """The step between the nine taps where it is one, output channels are neighbours and all nine fit a cache; else 0."""
    cdef int64_t first = tap_weight_at(g, 0), step = tap_weight_at(g, 1) - first, t
    if g.wj != 1 or max(step, -step) * g.element >= FAR_TAPS:
        return 0
    for t in range(9):
        if tap_weight_at(g, t) != first + t * step:
            return 0
    return step


cdef void plan(const Gather* g, Work* w) noexcept nogil:
    cdef int64_t lanes = g.kernels.lanes, e = g.element, vectors = ceil_div(g.n, lanes)
    memset(w, 0, sizeof(Work))
    w.g = g[0]
    w.kernels = winograd_kernels(g)
    w.down, w.across = ceil_div(g.axis[1].count, 4), ceil_div(g.axis[2].count, 4)
    w.tiles = g.N * w.down * w.across
    w.by_strips = w.tiles <= FEW and g.n > lanes and (
        w.tiles <= FEW_TILES * vectors or POINTS * g.K * vectors * lanes * e > WEIGHT_BYTES)
    w.depth = g.K
    if w.by_strips:
        w.groups = 1
        w.width = max(lanes if g.n < 4 * lanes else 2 * lanes, min(g.kernels.columns, round_up(ceil_div(g.n, STRIPS), lanes)))
        w.depth = ceil_div(g.K, ceil_div(POINTS * g.K * w.width * e, WEIGHT_BYTES))
    else:
        w.groups = max(1, max(ceil_div(w.tiles, GROUP), min(UNITS, w.tiles // 4)))
        w.width = min(g.kernels.columns, round_up(g.n, lanes))
    w.most = ceil_div(w.tiles, w.groups)
    w.strips = ceil_div(g.n, w.width)
    w.tap = tap_step(g)
    w.upoint = spread(w.depth * w.width)
    w.vtile, w.mtile = POINTS * w.depth + 16, POINTS * w.width + 16      # no power of two: such rows share few sets
    w.u_bytes = POINTS * w.upoint * e * (1 if w.by_strips else w.strips)
    w.v_bytes = round_up(w.most * w.vtile * e, 64)
    w.m_bytes = round_up(w.most * w.mtile * e, 64)
    w.worker_bytes = w.v_bytes + w.m_bytes + w.u_bytes
    if w.tap == 0:
        w.worker_bytes += 9 * PACKED * w.width * e


cdef bint fits_fused(const Gather* g) noexcept nogil:
    """Do the transformed weights that a unit uses stay in the cache?"""
    cdef Work w
    plan(g, &w)
    return w.by_strips or w.u_bytes <= WEIGHT_BYTES


cdef inline int64_t zero_bytes(const Gather* g) noexcept nogil:
    return round_up(g.K * g.element, 64)


cdef void transform_weights(const Work* w, int64_t strip, int64_t k, int64_t rows, char* u, char* packed) noexcept nogil:
    """Rows k, k + 1, ... of a strip of weights; u is where row k goes."""
    cdef const Gather* g = &w.g
    cdef int64_t column = strip * w.width, e = g.element, i, t, some
    cdef int64_t columns = min(w.width, g.n - column)
    if w.tap:
        for i in range(rows):
            w.kernels.weight(columns, g.weight + (tap_weight_at(g, 0) + (k + i) * g.wk + column) * e, w.tap, u + i * w.width * e, w.upoint)
        return
    while rows > 0:
        some = min(PACKED, rows)
        for t in range(9):
            g.gemm.pack(some, columns, g.weight + (tap_weight_at(g, t) + k * g.wk + column * g.wj) * e, g.wk, g.wj,
                        packed + t * PACKED * w.width * e, w.width)
        for i in range(some):
            w.kernels.weight(columns, packed + i * w.width * e, PACKED * w.width, u + i * w.width * e, w.upoint)
        u += some * w.width * e
        k += some
        rows -= some


cdef void tile_of(const Work* w, int64_t tile, int64_t* n, int64_t* h, int64_t* v) noexcept nogil:
    """Image and first target pixel of a tile."""
    v[0] = tile % w.across * 4
    tile //= w.across
    h[0] = tile % w.down * 4
    n[0] = tile // w.down


cdef void transform_source(const Work* w, int64_t first, int64_t count, int64_t k, int64_t depth, char* to) noexcept nogil:
    """Some channels of some tiles."""
    cdef const Gather* g = &w.g
    cdef const Axis* a = &g.axis[0]
    cdef int64_t t, n, h, v, i, j, e = g.element, pixel = g.K * e
    cdef const void* at[36]
    cdef const char* row
    cdef bint inside
    for t in range(first, first + count):
        tile_of(w, t, &n, &h, &v)
        h += a[1].b
        v += a[2].b
        row = g.source + (source_row(g, n, 0, h) + v) * pixel + k * e
        if h >= 0 and v >= 0 and h + 6 <= a[1].source and v + 6 <= a[2].source:
            w.kernels.source_inside(depth, row, a[2].source * g.K, g.K, to, depth)
        else:
            for i in range(6):
                inside = 0 <= h + i < a[1].source
                for j in range(6):
                    at[i * 6 + j] = row + j * pixel if inside and 0 <= v + j < a[2].source else w.zero
                row += a[2].source * pixel
            w.kernels.source(depth, at, to, depth)
        to += w.vtile * e


cdef void transform_target(const Work* w, int64_t first, int64_t count, int64_t strip, const char* m) noexcept nogil:
    """One strip of some tiles: pixels below and beside the map are left out."""
    cdef const Gather* g = &w.g
    cdef const Axis* a = &g.axis[0]
    cdef int64_t t, n, h, v, i, j, e = g.element, pixel = g.n * e, column = strip * w.width
    cdef void* at[16]
    cdef char* row
    for t in range(first, first + count):
        tile_of(w, t, &n, &h, &v)
        for i in range(4):
            row = g.target + (target_row(g, n, 0, h + i) + v) * pixel
            for j in range(4):
                at[i * 4 + j] = row + j * pixel if h + i < a[1].count and v + j < a[2].count else NULL
        w.kernels.target(column, min(w.width, g.n - column), m, w.width, at, &g.end)
        m += w.mtile * e


cdef void body(void* context, int64_t unit, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t group = 0 if w.by_strips else unit, first = group * w.tiles // w.groups
    cdef int64_t count = (group + 1) * w.tiles // w.groups - first, k = 0, strip = unit, e = g.element
    cdef char* v = w.workers + worker * w.worker_bytes
    cdef char* m = v + w.v_bytes
    cdef char* own = m + w.m_bytes
    cdef fn_winograd_product s
    s.tiles, s.v, s.m, s.vtile, s.mtile, s.mpoint = count, v, m, w.vtile, w.mtile, w.width
    s.urow, s.upoint = w.width, w.upoint
    if w.by_strips:
        s.u, s.n = own, min(w.width, g.n - strip * w.width)
        while k < g.K:
            s.K = s.vpoint = min(w.depth, g.K - k)
            transform_weights(w, strip, k, s.K, own, own + w.u_bytes)
            transform_source(w, first, count, k, s.K, v)
            s.load = k > 0
            w.kernels.product(&s)
            k += s.K
        transform_target(w, first, count, strip, m)
        return
    if not w.ready[worker]:
        for strip in range(w.strips):
            transform_weights(w, strip, 0, g.K, own + strip * POINTS * w.upoint * e, own + w.u_bytes)
        w.ready[worker] = True
    s.load, s.K, s.vpoint = 0, g.K, g.K
    transform_source(w, first, count, 0, g.K, v)
    for strip in range(w.strips):
        s.u, s.n = own + strip * POINTS * w.upoint * e, min(w.width, g.n - strip * w.width)
        w.kernels.product(&s)
        transform_target(w, first, count, strip, m)


cdef int64_t fused_bytes(const Gather* g, int threads) noexcept nogil:
    cdef Work w
    plan(g, &w)
    return round_up(threads, 64) + zero_bytes(g) + threads * w.worker_bytes


cdef void fused(const Gather* g, int threads, char* scratch) noexcept nogil:
    cdef Work w
    plan(g, &w)
    w.ready = scratch
    w.zero = scratch + round_up(threads, 64)
    w.workers = w.zero + zero_bytes(g)
    memset(scratch, 0, w.workers - scratch)
    parallel(w.strips if w.by_strips else w.groups, threads, body, &w)
