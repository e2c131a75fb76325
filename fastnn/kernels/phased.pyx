"""Large strided kernels over few channels: Winograd's F(4x4, 4x4) over the phases of the source.

With stride 2, a kernel of up to 8x8 is one of up to 4x4 with stride 1 over four times as many channels, the phases of the
source: 49 instead of up to 16 * 64 multiplications per 4x4 pixels and 4 channels.  The products are short, so they are summed
and transformed back in registers.  A unit of work is a row of tiles.  docs/convolution.md has the error and the rule.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv cimport (
    Axis, Gather, ceil_div, fn_conv_end, fn_conv_outer, fn_conv_run, round_up, tap_weight_at, target_row)
from fastnn.kernels.conv_band cimport TAIL, Band, copy_band
from fastnn.kernels.native cimport parallel, table

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_phased_product:
        int64_t tiles
        int64_t K
        int64_t n
        const void* v
        int64_t vtile
        const void* u
        void* half
        void** pixel
        const fn_conv_end* end
    ctypedef struct fn_phased_table:
        void (*interleave)(int64_t count, int64_t phases, int64_t n, const void* x, int64_t xphase, void* y) noexcept nogil
        void (*source_rows)(int64_t n, const void* x, int64_t row, void* y) noexcept nogil
        void (*source_columns)(int64_t tiles, int64_t K, const void* x, int64_t row, void* v, int64_t vtile) noexcept nogil
        void (*product)(const fn_phased_product* s) noexcept nogil
        void (*weight)(int64_t n, const void** tap, int64_t k, int64_t K, void* u) noexcept nogil
        void (*gradient)(int64_t n, const void** pixel, void* z, int64_t stride) noexcept nogil
        void (*weight_gradient)(int64_t n, const void* p, int64_t stride, void** tap) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_phased_table* phased[2]

cdef enum:
    POINTS = 49
    TILES = 32                  # of a unit at most
    STEP = 4                    # the product takes a multiple of as many
    WEIGHT_BYTES = 655360       # of transformed weights, which stay in the second-level cache
    PARTS = 8                   # of the weight gradient
    ADDED = 16384               # elements added at a time
    AVX2 = 8                    # lanes of the one set whose 16 registers and two multiply-adds per cycle make the product wait for loads

cdef struct Work:
    Gather g
    const fn_phased_table* kernels
    int64_t K                   # channels of all phases
    int64_t phases              # of rows, and of columns
    int64_t phases_across
    int64_t down                # rows of tiles of an image, and units of such a row
    int64_t across
    int64_t tiles               # of a unit
    int64_t units
    int64_t width               # columns of the weights: whole vectors
    Band band
    int64_t row                 # elements between the phased patch's rows
    int64_t vtile
    int64_t patch_bytes
    int64_t v_bytes
    int64_t half_bytes
    int64_t worker_bytes
    char* u
    char* zero
    char* workers
    const char* dy
    char* dw
    char* partial
    int64_t parts


cdef inline int64_t tiles_of(int64_t count) noexcept nogil:
    return ceil_div(count, 4)


cdef void plan(const Gather* g, Work* w) noexcept nogil:
    cdef const Axis* h = &g.axis[1]
    cdef const Axis* v = &g.axis[2]
    cdef int64_t e = g.element, lanes = g.kernels.lanes
    memset(w, 0, sizeof(Work))
    w.g = g[0]
    w.kernels = (<const tables*>table).phased[g.dtype]
    w.phases, w.phases_across = h.a, v.a
    w.K = g.K * w.phases * w.phases_across
    w.down, w.across = tiles_of(h.count), ceil_div(tiles_of(v.count), TILES)
    w.tiles = ceil_div(tiles_of(v.count), w.across)
    w.units = g.N * w.down * w.across
    w.width = round_up(g.n, lanes)
    w.band.height, w.band.width = 7 * w.phases, (4 * w.tiles + 3) * w.phases_across
    w.row = round_up((4 * w.tiles + 3) * w.K, lanes) + lanes
    w.vtile = POINTS * w.K + 16
    w.patch_bytes = round_up((7 * w.row + lanes) * e, 64)
    w.v_bytes = round_up(round_up(w.tiles, STEP) * w.vtile * e, 64)


cdef inline int64_t band_bytes(const Work* w) noexcept nogil:
    return round_up(w.band.height * w.band.width * w.g.K * w.g.element + TAIL, 64)


cdef inline int64_t source_bytes(const Work* w) noexcept nogil:
    """The patch as it is copied, its phases, their rows transformed, the tiles."""
    return max(band_bytes(w), w.patch_bytes) + w.patch_bytes + w.v_bytes


# ---- the rule --------------------------------------------------------------------------------------------------------

cdef bint can_phase(const Gather* g) noexcept nogil:
    cdef const Axis* a = &g.axis[0]
    cdef const Axis* x
    cdef int i
    if g.dtype != 0 or g.groups != 1 or g.K == 0 or g.n < g.kernels.lanes:
        return False
    if a.source != 1 or a.target != 1 or a.taps != 1 or a.b != 0:
        return False
    for i in range(1, 3):
        x = &g.axis[i]
        if x.a > 2 or x.bstep != 1 or x.step != 1 or x.taps > 4 * x.a or x.count == 0:
            return False
    return g.N > 0


cdef bint pays(const Gather* g, double product, double weights, double transforms) noexcept nogil:
    """Vector operations: of the product, per channel and vector of weights, per tile and vector of either map."""
    cdef const Axis* h = &g.axis[1]
    cdef const Axis* v = &g.axis[2]
    cdef double K = <double>g.K * h.a * v.a, n = ceil_div(g.n, g.kernels.lanes)
    cdef double tiles = <double>g.N * tiles_of(h.count) * tiles_of(v.count), vectors = ceil_div(<int64_t>K, g.kernels.lanes)
    cdef double direct = <double>g.N * h.count * v.count * h.taps * v.taps * g.K * n
    if POINTS * K * round_up(g.n, g.kernels.lanes) * g.element > WEIGHT_BYTES:
        return False
    return direct > product * POINTS * tiles * K * n + weights * K * n + transforms * tiles * (vectors + n)


cdef bint worth_phased(const Gather* g, bint allowed) noexcept nogil:
    if not allowed or not can_phase(g):
        return False
    return pays(g, 2.2, 600.0, 500.0) if g.kernels.lanes == AVX2 else pays(g, 1.2, 300.0, 250.0)


cdef bint worth_phased_weight(const Gather* g, bint allowed) noexcept nogil:
    return allowed and can_phase(g) and pays(g, 1.3, 300.0 * PARTS, 400.0)


# ---- transforms ------------------------------------------------------------------------------------------------------

cdef int64_t tap_of(const Work* w, int64_t k, int64_t i, int64_t j) noexcept nogil:
    """The tap of the kernel that is tap (i, j) of phased channel k; -1 where the kernel has ended."""
    cdef const Axis* h = &w.g.axis[1]
    cdef const Axis* v = &w.g.axis[2]
    cdef int64_t phase = k // w.g.K, row = i * w.phases + phase // w.phases_across
    cdef int64_t column = j * w.phases_across + phase % w.phases_across
    return row * v.taps + column if row < h.taps and column < v.taps else -1


cdef void weight_body(void* context, int64_t k, int worker) noexcept nogil:
    """One phased channel of the weights: put in order, then transformed."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t i, t, e = g.element
    cdef char* packed = w.workers + worker * w.worker_bytes
    cdef const void* tap[16]
    for i in range(16):
        t = tap_of(w, k, i // 4, i % 4)
        tap[i] = NULL
        if t >= 0:
            tap[i] = packed + i * w.width * e
            g.gemm.pack(1, g.n, g.weight + (tap_weight_at(g, t) + k % g.K * g.wk) * e, g.wk, g.wj, packed + i * w.width * e, w.width)
    w.kernels.weight(g.n, tap, k, w.K, w.u)


cdef void unit_of(const Work* w, int64_t unit, int64_t* n, int64_t* h, int64_t* v, int64_t* tiles) noexcept nogil:
    """Image, first target pixel and tiles of a unit."""
    v[0] = unit % w.across * w.tiles * 4
    h[0] = unit // w.across % w.down * 4
    n[0] = unit // w.across // w.down
    tiles[0] = min(w.tiles, tiles_of(w.g.axis[2].count - v[0]))


cdef void transform_source(const Work* w, int64_t n, int64_t h, int64_t v, int64_t tiles, char* buffer) noexcept nogil:
    """The tiles of a unit, to the end of its buffer of source_bytes()."""
    cdef const Gather* g = &w.g
    cdef int64_t i, e = g.element, piece = w.phases_across * g.K, row = w.band.width * g.K, used = (4 * w.tiles + 3) * w.K
    cdef char* patch = buffer + max(band_bytes(w), w.patch_bytes)
    cdef char* points = buffer                              # the patch is done with
    copy_band(g, &w.band, 0, n, 0, h, v, buffer)
    for i in range(7):
        w.kernels.interleave(4 * w.tiles + 3, w.phases, piece, buffer + i * w.phases * row * e, row, patch + i * w.row * e)
        memset(patch + (i * w.row + used) * e, 0, g.kernels.lanes * e)      # transformed as well
    w.kernels.source_rows(used, patch, w.row, points)
    w.kernels.source_columns(tiles, w.K, points, w.row, patch + w.patch_bytes, w.vtile)


cdef void point_target(const Work* w, const char* target, int64_t n, int64_t h, int64_t v, char* outside, void** pixel) noexcept nogil:
    """The 16 pixels of a tile; `outside` for those that lie below or beside the map."""
    cdef const Gather* g = &w.g
    cdef int64_t i, j, step = g.n * g.element
    cdef char* row
    for i in range(4):
        row = <char*>target + (target_row(g, n, 0, h + i) + v) * step
        for j in range(4):
            pixel[i * 4 + j] = row + j * step if h + i < g.axis[1].count and v + j < g.axis[2].count else outside


# ---- forward ---------------------------------------------------------------------------------------------------------

cdef void body(void* context, int64_t unit, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef int64_t n, h, v, tiles, t
    cdef char* buffer = w.workers + worker * w.worker_bytes
    cdef void* pixel[16 * TILES]
    cdef fn_phased_product s
    unit_of(w, unit, &n, &h, &v, &tiles)
    transform_source(w, n, h, v, tiles, buffer)
    s.tiles, s.K, s.n, s.vtile, s.u = round_up(tiles, STEP), w.K, w.g.n, w.vtile, w.u
    s.half = buffer + source_bytes(w)
    s.v = <char*>s.half - w.v_bytes
    s.pixel, s.end = pixel, &w.g.end
    memset(<char*>s.v + tiles * w.vtile * w.g.element, 0, (s.tiles - tiles) * w.vtile * w.g.element)
    for t in range(tiles):
        point_target(w, w.g.target, n, h, v + 4 * t, NULL, pixel + 16 * t)
    memset(pixel + 16 * tiles, 0, 16 * (s.tiles - tiles) * sizeof(void*))       # the others only fill up the product
    w.kernels.product(&s)


cdef int64_t weights_bytes(const Work* w) noexcept nogil:
    return POINTS * w.K * w.width * w.g.element


cdef void plan_forward(const Gather* g, Work* w) noexcept nogil:
    plan(g, w)
    w.half_bytes = round_up(w.tiles, STEP) * 28 * g.kernels.lanes * g.element
    w.worker_bytes = round_up(max(source_bytes(w) + w.half_bytes, 16 * w.width * g.element), 64)


cdef int64_t phased_bytes(const Gather* g, int threads) noexcept nogil:
    cdef Work w
    plan_forward(g, &w)
    return weights_bytes(&w) + threads * w.worker_bytes


cdef void phased(const Gather* g, int threads, char* scratch) noexcept nogil:
    cdef Work w
    plan_forward(g, &w)
    w.u, w.workers = scratch, scratch + weights_bytes(&w)
    parallel(w.K, threads, weight_body, &w)
    parallel(w.units, threads, body, &w)


# ---- weight gradient -------------------------------------------------------------------------------------------------

cdef int64_t dw_bytes(const Work* w) noexcept nogil:
    return w.g.axis[1].taps * w.g.axis[2].taps * w.g.K * w.g.n * w.g.element


cdef inline int64_t sums_bytes(const Work* w) noexcept nogil:
    """A worker's sums over tiles: point, phased channel, target channel."""
    return POINTS * w.K * w.width * w.g.element


cdef void sum_tiles(const Work* w, int64_t n, int64_t h, int64_t v, int64_t tiles, const char* source, char* z, char* sums,
                    bint load) noexcept nogil:
    cdef const Gather* g = &w.g
    cdef int64_t e = g.element, ztile = POINTS * w.width + 16, t, p
    cdef void* pixel[16]
    cdef fn_conv_run run
    cdef fn_conv_outer s
    for t in range(tiles):
        point_target(w, w.dy, n, h, v + 4 * t, w.zero, pixel)
        w.kernels.gradient(g.n, <const void**>pixel, z + t * ztile * e, w.width)
    memset(&s, 0, sizeof(s))
    run.count = tiles
    s.rows, s.runs, s.run, s.xstep, s.ystep, s.rsc, s.load = w.K, 1, &run, w.vtile, ztile, w.width, load
    for p in range(POINTS):
        run.x, run.y = source + p * w.K * e, z + p * w.width * e
        s.yskip = 0
        while s.yskip < w.width:
            s.n = min(g.kernels.columns, w.width - s.yskip)
            s.c = sums + (p * w.K * w.width + s.yskip) * e
            g.kernels.outer(&s)
            s.yskip += s.n


cdef void part_body(void* context, int64_t part, int worker) noexcept nogil:
    """Some units, summed in the transformed space, and back to taps."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t first = part * w.units // w.parts, unit, n, h, v, tiles, k, i, tap, e = g.element
    cdef char* buffer = w.workers + worker * w.worker_bytes
    cdef char* z = buffer + source_bytes(w)
    cdef char* sums = z + w.half_bytes
    cdef char* dw = w.dw if part == 0 else w.partial + (part - 1) * dw_bytes(w)
    cdef void* at[16]
    for unit in range(first, (part + 1) * w.units // w.parts):
        unit_of(w, unit, &n, &h, &v, &tiles)
        transform_source(w, n, h, v, tiles, buffer)
        sum_tiles(w, n, h, v, tiles, z - w.v_bytes, z, sums, unit > first)
    for k in range(w.K):
        for i in range(16):
            tap = tap_of(w, k, i // 4, i % 4)
            at[i] = dw + (tap * g.K + k % g.K) * g.n * e if tap >= 0 else NULL
        w.kernels.weight_gradient(g.n, sums + k * w.width * e, w.K * w.width, at)


cdef void add_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef int64_t n = dw_bytes(w) // w.g.element, first = block * ADDED, part
    for part in range(w.parts - 1):
        w.g.kernels.add(min(ADDED, n - first), w.partial + part * dw_bytes(w) + first * w.g.element, w.dw + first * w.g.element)


cdef void plan_weight(const Gather* g, Work* w) noexcept nogil:
    plan(g, w)
    w.parts = min(PARTS, w.units)
    w.half_bytes = round_up(w.tiles * (POINTS * w.width + 16) * g.element, 64)
    w.worker_bytes = round_up(source_bytes(w) + w.half_bytes + sums_bytes(w), 64)


cdef int64_t phased_weight_bytes(const Gather* g, int threads) noexcept nogil:
    cdef Work w
    plan_weight(g, &w)
    return w.width * g.element + (w.parts - 1) * dw_bytes(&w) + threads * w.worker_bytes + 64


cdef void phased_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil:
    cdef Work w
    plan_weight(g, &w)
    w.dy, w.dw = dy, dw
    w.zero, w.workers = scratch, scratch + round_up(w.width * g.element, 64)
    w.partial = w.workers + threads * w.worker_bytes
    memset(w.zero, 0, w.width * g.element)
    parallel(w.parts, threads, part_body, &w)
    if w.parts > 1:
        parallel(ceil_div(dw_bytes(&w) // g.element, ADDED), threads, add_body, &w)
