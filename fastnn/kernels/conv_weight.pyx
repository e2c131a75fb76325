"""Convolution, weight gradient: dw[tap][i][o] = sum over pixels of x[pixel moved by tap][i] * dy[pixel][o].

The result has the memory order (kD, kH, kW, I, O).  A unit of work is a part of the target rows, some taps and a strip
of output channels; parts are cut by shape, summed apart and added in order, so the result does not depend on threads.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv cimport (
    Axis, Gather, ceil_div, fn_conv_outer, fn_conv_run, is_pointwise, pixels_of, round_up, source_row, target_row, taps_of,
    WINOGRAD_)
from fastnn.kernels.conv_band cimport Band, band_bytes, copy_band, make_band, wants_band, wants_thin
from fastnn.kernels.conv_geometry cimport forward_gather
from fastnn.kernels.conv_pointwise cimport pointwise_weight, pointwise_weight_bytes
from fastnn.kernels.depthwise cimport depthwise_weight, depthwise_weight_bytes, is_depthwise
from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, threads_for
from fastnn.kernels.phased cimport phased_weight, phased_weight_bytes, worth_phased_weight
from fastnn.kernels.winograd cimport winograd_weight, winograd_weight_bytes, worth_winograd_weight

cdef enum:
    CHUNK = 384                 # pixels summed before the tile is put back: their rows stay in the second-level cache
    UNITS = 16                  # units wanted
    PART_PIXELS = 192           # a part has at least as many

cdef struct Work:
    Gather g
    Band band
    bint banded
    bint thin                   # pixels fill the lanes: dy is copied channel by channel
    const char* dy
    char* dw
    char* partial               # parts - 1 more copies of dw
    char* workers
    int64_t width
    int64_t strips              # of one group
    int64_t taps
    int64_t rows                # of dw per tap: channels, or kernel columns times channels
    int64_t parts
    int64_t tap_blocks
    int64_t chunks              # of target pixels, over all parts
    int64_t across              # direct: chunks are some target rows, or pieces of a long one
    int64_t columns
    int64_t lines
    int64_t down
    int64_t worker_bytes


cdef int64_t dw_bytes(const Gather* g) noexcept nogil:
    return taps_of(g) * g.K * g.n * g.groups * g.element


cdef void plan(const Gather* g, Work* w) noexcept nogil:
    cdef int64_t pixels = pixels_of(g), units
    memset(w, 0, sizeof(Work))
    w.parts = 1
    if pixels == 0:
        return
    w.g = g[0]
    w.width = min(g.kernels.columns, round_up(g.n, g.kernels.lanes))
    w.strips = ceil_div(g.n, w.width)
    w.banded = wants_band(g)
    make_band(g, CHUNK, &w.band)
    w.taps, w.rows = taps_of(g), g.K
    if w.banded:
        w.taps, w.rows = w.band.taps, w.band.K
    w.chunks = g.N * g.axis[0].count * w.band.down * w.band.across
    if not w.banded and w.band.down == 1 and w.band.across == 1:        # small maps: several images to a chunk
        w.lines = max(1, CHUNK // max(1, w.band.rows * w.band.columns))
        w.lines = min(w.lines, max(1, w.chunks))
        w.chunks = ceil_div(w.chunks, w.lines)
    else:
        w.lines = 1
    w.parts = max(1, min(w.chunks, min(ceil_div(UNITS, w.strips * g.groups), pixels // PART_PIXELS)))
    units = w.parts * w.strips * g.groups
    w.tap_blocks = 1 if w.banded else max(1, min(w.taps, ceil_div(UNITS, units)))
    w.thin = wants_thin(g)
    w.worker_bytes = round_up(w.lines * w.band.rows * sizeof(fn_conv_run), 64) + (band_bytes(g, &w.band) if w.banded else 0)
    if w.thin:
        w.worker_bytes += thin_dy_bytes(w) + taps_of(g) * g.n * g.kernels.lanes * g.element


cdef int64_t thin_dy_bytes(const Work* w) noexcept nogil:
    return round_up(w.g.n * w.band.rows * w.band.columns * w.g.element + 64, 64)


cdef int64_t fill_runs(const Work* w, int64_t chunk, int64_t tap, fn_conv_run* run) noexcept nogil:
    """Where x and dy lie for one tap and the target rows of a chunk."""
    cdef const Gather* g = &w.g
    cdef const Axis* x = &g.axis[0]
    cdef const Band* b = &w.band
    cdef int64_t t2 = tap % x[2].taps, t1 = tap // x[2].taps % x[1].taps, t0 = tap // x[2].taps // x[1].taps
    cdef int64_t j2 = chunk % b.across * b.columns, first = chunk // b.across % b.down * b.rows, high, low, s0, s1, s2, runs = 0
    cdef int64_t plane = chunk // b.across // b.down * w.lines, line, j1, n, j0, e = g.element
    cdef int64_t columns = min(b.columns, x[2].count - j2)
    s2 = x[2].a * j2 + x[2].b + t2 * x[2].bstep
    low = 0 if s2 >= 0 else ceil_div(-s2, x[2].a)
    high = 0 if s2 >= x[2].source else min(columns, (x[2].source - 1 - s2) // x[2].a + 1)
    if low >= high:
        return 0
    for line in range(plane, min(plane + w.lines, g.N * x[0].count)):
        n, j0 = line // x[0].count, line % x[0].count
        s0 = x[0].a * j0 + x[0].b + t0 * x[0].bstep
        if s0 < 0 or s0 >= x[0].source:
            continue
        for j1 in range(first, min(first + b.rows, x[1].count)):
            s1 = x[1].a * j1 + x[1].b + t1 * x[1].bstep
            if s1 < 0 or s1 >= x[1].source:
                continue
            run[runs].x = g.source + (source_row(g, n, s0, s1) + s2 + low * x[2].a) * g.groups * g.K * e
            run[runs].y = w.dy + (target_row(g, n, j0, j1) + j2 + low) * g.groups * g.n * e
            run[runs].count = high - low
            runs += 1
    return runs


cdef int64_t fill_band_runs(const Work* w, int64_t chunk, int64_t tap, const char* band, fn_conv_run* run) noexcept nogil:
    cdef const Gather* g = &w.g
    cdef const Axis* x = &g.axis[0]
    cdef const Band* b = &w.band
    cdef int64_t j2 = chunk % b.across * b.columns, first = chunk // b.across % b.down * b.rows
    cdef int64_t plane = chunk // b.across // b.down, n = plane // x[0].count, j0 = plane % x[0].count, j1, r = 0, at
    cdef int64_t across = 1 if b.merged else x[2].taps, row = tap // across, t2 = tap % across
    for j1 in range(first, min(first + b.rows, x[1].count)):
        at = (row // x[1].taps * b.height + r * x[1].a + row % x[1].taps * x[1].bstep) * b.width + t2 * x[2].bstep
        run[r].x = band + at * g.K * g.element
        run[r].y = w.dy + (target_row(g, n, j0, j1) + j2) * g.groups * g.n * g.element
        run[r].count = min(b.columns, x[2].count - j2)
        r += 1
    return r


cdef void thin_part(const Work* w, int64_t part, char* band, fn_conv_run* run) noexcept nogil:
    """A part of the target rows: dy turned to planes, sums lane by lane, folded at the end."""
    cdef const Gather* g = &w.g
    cdef const Axis* x = &g.axis[0]
    cdef const Band* b = &w.band
    cdef int64_t first = part * w.chunks // w.parts, chunk, plane, tap, r, runs, e = g.element, ystep = b.rows * b.columns
    cdef int64_t vector = g.kernels.lanes * e
    cdef char* dy = <char*>run + round_up(w.lines * b.rows * sizeof(fn_conv_run), 64)
    cdef char* sums = dy + thin_dy_bytes(w)
    for chunk in range(first, (part + 1) * w.chunks // w.parts):
        plane = chunk // b.across // b.down
        copy_band(g, b, 0, plane // x[0].count, plane % x[0].count, chunk // b.across % b.down * b.rows,
                  chunk % b.across * b.columns, band)
        for tap in range(w.taps):
            runs = fill_band_runs(w, chunk, tap, band, run)
            for r in range(runs):
                if tap == 0:
                    g.gemm.pack(g.n, run[r].count, <const char*>run[r].y, 1, g.n, dy + r * b.columns * e, ystep)
                run[r].y = dy + r * b.columns * e
            g.kernels.thin_outer(runs, run, w.rows, g.n, ystep, sums + tap * w.rows * g.n * vector, chunk > first)
    g.kernels.thin_fold(w.taps * w.rows * g.n, sums, w.dw if part == 0 else w.partial + (part - 1) * dw_bytes(g))


cdef void body(void* context, int64_t unit, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef const Band* b = &w.band
    cdef int64_t all_strips = g.groups * w.strips, e = g.element, O = g.groups * g.n
    cdef int64_t strip = unit % all_strips, part = unit // all_strips // w.tap_blocks
    cdef int64_t tap_block = unit // all_strips % w.tap_blocks, tap, chunk, plane
    cdef int64_t first_tap = tap_block * w.taps // w.tap_blocks, last_tap = (tap_block + 1) * w.taps // w.tap_blocks
    cdef int64_t group = strip // w.strips, j = strip % w.strips * w.width, column = group * g.n + j
    cdef char* band = w.workers + worker * w.worker_bytes
    cdef fn_conv_run* run = <fn_conv_run*>(band + (band_bytes(g, b) if w.banded else 0))
    cdef char* dw = w.dw if part == 0 else w.partial + (part - 1) * dw_bytes(g)
    cdef fn_conv_outer s
    if w.thin:
        thin_part(w, part, band, run)
        return
    s.rows, s.n, s.run = w.rows, min(w.width, g.n - j), run
    s.xskip, s.yskip = 0 if w.banded else group * g.K, column
    s.xstep, s.ystep = g.axis[2].a * (g.K if w.banded else g.groups * g.K), O
    s.rsc = O
    s.load = 0
    s.next_x = s.next_y = NULL
    for chunk in range(part * w.chunks // w.parts, (part + 1) * w.chunks // w.parts):
        if w.banded:
            plane = chunk // b.across // b.down
            copy_band(g, b, group, plane // g.axis[0].count, plane % g.axis[0].count, chunk // b.across % b.down * b.rows,
                      chunk % b.across * b.columns, band)
        for tap in range(first_tap, last_tap):
            s.runs = fill_band_runs(w, chunk, tap, band, run) if w.banded else fill_runs(w, chunk, tap, run)
            s.c = dw + (tap * w.rows * O + column) * e
            g.kernels.outer(&s)
        s.load = 1


cdef void add_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef int64_t n = dw_bytes(&w.g) // w.g.element, first = block * 16384, part
    for part in range(w.parts - 1):
        w.g.kernels.add(min(16384, n - first), w.partial + part * dw_bytes(&w.g) + first * w.g.element,
                        w.dw + first * w.g.element)


cdef int64_t weight_gradient_scratch(const fn_call* call) noexcept nogil:
    cdef Gather g
    cdef Work w
    forward_gather(call, &g)
    if is_depthwise(call):
        return depthwise_weight_bytes(&g, threads_for(call))
    if worth_winograd_weight(&g, call.size[WINOGRAD_]):
        return winograd_weight_bytes(&g, threads_for(call))
    if worth_phased_weight(&g, call.size[WINOGRAD_]):
        return phased_weight_bytes(&g, threads_for(call))
    if is_pointwise(&g):
        return pointwise_weight_bytes(&g, threads_for(call))
    plan(&g, &w)
    return threads_for(call) * w.worker_bytes + (w.parts - 1) * dw_bytes(&g)


cdef void weight_gradient(fn_call* call) noexcept nogil:
    cdef Gather g
    cdef Work w
    forward_gather(call, &g)
    g.source = <const char*>call.slot[0]
    if is_depthwise(call):
        depthwise_weight(&g, <const char*>call.slot[1], <char*>call.slot[2], threads_for(call), <char*>call.scratch)
        return
    if worth_winograd_weight(&g, call.size[WINOGRAD_]):
        winograd_weight(&g, <const char*>call.slot[1], <char*>call.slot[2], threads_for(call), <char*>call.scratch)
        return
    if worth_phased_weight(&g, call.size[WINOGRAD_]):
        phased_weight(&g, <const char*>call.slot[1], <char*>call.slot[2], threads_for(call), <char*>call.scratch)
        return
    if is_pointwise(&g):
        pointwise_weight(&g, <const char*>call.slot[1], <char*>call.slot[2], threads_for(call), <char*>call.scratch)
        return
    plan(&g, &w)
    w.dy, w.dw = <const char*>call.slot[1], <char*>call.slot[2]
    w.workers = <char*>call.scratch
    w.partial = w.workers + threads_for(call) * w.worker_bytes
    if pixels_of(&g) == 0:
        memset(w.dw, 0, dw_bytes(&g))
        return
    parallel(w.parts * w.tap_blocks * g.groups * w.strips, threads_for(call), body, &w)
    if w.parts > 1:
        parallel(ceil_div(dw_bytes(&g) // g.element, 16384), threads_for(call), add_body, &w)


cdef fn_kernel CONV_WEIGHT_GRADIENT
declare(&CONV_WEIGHT_GRADIENT, "conv_weight_gradient", "x:in dy:in dw:out", weight_gradient, weight_gradient_scratch)
