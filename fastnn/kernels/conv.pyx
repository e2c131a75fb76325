"""Convolution: forward and input gradient as products whose rows are gathered by pointers.

No matrix of patches is written.  A block of target pixels gets one pointer per tap and pixel (a row of zeros where a
tap falls into the padding) and the micro-kernel walks them.  The input gradient is the same sum with source and target
exchanged: with a stride, each residue of the target pixel ("phase") sees its own regular subset of the taps.
docs/convolution.md gives the reasons for the numbers below.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv_band cimport Band, band_bytes, copy_band, make_band, wants_band, wants_thin
from fastnn.kernels.conv_geometry cimport forward_gather, phase_gather, phases_of
from fastnn.kernels.depthwise cimport depthwise, depthwise_bytes, is_depthwise
from fastnn.kernels.gemm cimport gemm, gemm_args, gemm_scratch
from fastnn.kernels.gemm_parts cimport suits_parts
from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, threads_for
from fastnn.kernels.phased cimport phased, phased_bytes, worth_phased
from fastnn.kernels.scatter cimport scatter, scatter_bytes, worth_scattering
from fastnn.kernels.winograd cimport winograd, winograd_bytes, worth_winograd

cdef enum:
    BLOCK = 96                  # target pixels of a block
    BLOCKS = 16                 # blocks wanted before columns are cut too
    FEW_BLOCKS = 8              # wanted of a small map, as long as they have FEW_PIXELS
    FEW_PIXELS = 16
    BAND = 384                  # target pixels of a band: the fewer bands, the fewer source rows are copied twice
    PANEL_BYTES = 262144        # of weights that stay in the second-level cache while a block's tiles pass
    LONG_PANEL_BYTES = 524288   # the same where it spares cutting the sum: the next pixels can be fetched only whole
    IN_PLACE_BYTES = 131072     # the same where rows are as far apart as in the whole weight and share few sets
    POINTERS = 16384            # per block
    SHARED_PIXELS = 768         # up to so many, putting weights in order is a hundredth of the work
    SHALLOW = 128               # channels up to which parts (csrc/parts.h) gain nothing


# ---- the product -----------------------------------------------------------------------------------------------------

cdef struct Work:
    Gather g
    Band band
    bint banded
    int64_t width               # columns of a strip
    int64_t strips              # of one group
    int64_t taps                # as the micro-kernel sees them
    int64_t K
    int64_t taps_at_once        # of a panel
    int64_t K_at_once
    bint pack
    bint packed_already         # as the weights lie: threads that share what one of them wrote wait for every line
    bint pack_here              # each panel just before its only use
    int64_t rsb
    int64_t pixels              # of a block
    int64_t pixel_blocks
    int64_t strip_blocks
    int64_t weights_bytes       # scratch: packed weights, tap table, zeros, then each worker's part
    int64_t table_bytes
    int64_t zero_bytes
    int64_t worker_bytes
    char* weights
    int64_t* tap
    char* zero
    char* workers


cdef bint by_strips(const Gather* g, int64_t strips, int threads) noexcept nogil:
    """Should whoever puts a strip of 1x1 weights in order use it for all pixels, so that it never leaves that core's cache?"""
    cdef int64_t units = g.groups * strips
    return (taps_of(g) == 1 and pixels_of(g) <= SHARED_PIXELS and g.groups * g.K * g.n * g.element > PANEL_BYTES
            and (units % threads == 0 or units >= 4 * threads))


cdef bint in_order(const Gather* g, int64_t width) noexcept nogil:
    """Are the weights one strip, as packing would make it?"""
    cdef int64_t t
    if g.groups != 1 or g.n != width or g.wj != 1 or g.wk != g.n:
        return False
    for t in range(taps_of(g)):
        if tap_weight_at(g, t) != t * g.K * g.n:
            return False
    return True


cdef void plan(const Gather* g, int threads, Work* w) noexcept nogil:
    cdef int64_t pixels = pixels_of(g), e = g.element, wanted, all_taps = taps_of(g), limit, panel
    cdef bint shared
    memset(w, 0, sizeof(Work))
    if pixels == 0:
        return
    w.g = g[0]
    w.width = min(g.kernels.columns, round_up(g.n, g.kernels.lanes))
    w.strips = ceil_div(g.n, w.width)
    w.banded = wants_band(g)
    w.taps, w.K = all_taps, g.K
    shared = not w.banded and by_strips(g, w.strips, threads)
    if w.banded:
        make_band(g, max(BLOCK, min(BAND, pixels // BLOCKS)), &w.band)
        w.taps, w.K = w.band.taps, w.band.K
        w.pixels = w.band.rows * w.band.columns
        w.pixel_blocks = g.N * g.axis[0].count * w.band.down * w.band.across
    else:
        limit = pixels if shared else max(12, min(BLOCK, POINTERS // max(1, all_taps)))
        w.pixel_blocks = max(1, ceil_div(pixels, limit))
        if all_taps * g.K * g.n * e <= PANEL_BYTES:         # cheap to read once more
            w.pixel_blocks = max(w.pixel_blocks, min(FEW_BLOCKS, pixels // FEW_PIXELS))
        w.pixels = ceil_div(pixels, w.pixel_blocks)
    w.pack = w.banded or g.wj != 1 or g.n % g.kernels.lanes != 0 or pixels > BLOCK
    w.packed_already = w.pack and in_order(g, w.width)
    panel = (LONG_PANEL_BYTES if shared else PANEL_BYTES) if w.pack else IN_PLACE_BYTES
    w.K_at_once = min(max(1, w.K), max(64, panel // (w.width * e)))
    w.taps_at_once = max(1, panel // (w.width * e * w.K_at_once)) if w.K_at_once == w.K else 1
    w.rsb = w.width if w.pack else g.wk
    wanted = max(1, min(BLOCKS, 2 * pixels * all_taps * g.K * g.n * g.groups // 400_000))
    w.strip_blocks = g.groups * w.strips if shared else max(1, min(g.groups * w.strips, ceil_div(wanted, w.pixel_blocks)))
    w.pack_here = w.pack and not (w.packed_already or w.banded) and w.pixel_blocks == 1
    if w.pack and not (w.packed_already or w.pack_here):
        w.weights_bytes = round_up(g.groups * w.strips * all_taps * g.K * w.width * e, 64)
    w.table_bytes = round_up((w.taps + w.taps_at_once) * 8, 64)
    w.zero_bytes = 0 if w.banded else round_up(g.groups * g.K * e + 64, 64)
    w.worker_bytes = round_up((w.taps + 1) * w.pixels * 8, 64) + (band_bytes(g, &w.band) if w.banded else 0)
    if w.pack_here:
        w.worker_bytes += round_up(w.taps_at_once * w.K_at_once * w.width * e, 64)


cdef int64_t work_bytes(const Work* w, int threads) noexcept nogil:
    return w.weights_bytes + w.table_bytes + w.zero_bytes + threads * w.worker_bytes


cdef void pack_body(void* context, int64_t block, int worker) noexcept nogil:
    """One tap's panel of one strip."""
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef int64_t taps = taps_of(g), t = block % taps, strip = block // taps
    cdef int64_t group = strip // w.strips, j = strip % w.strips * w.width
    cdef char* panel = w.weights + block * g.K * w.width * g.element
    g.gemm.pack(g.K, min(w.width, g.n - j), g.weight + (group * g.wg + tap_weight_at(g, t) + j * g.wj) * g.element, g.wk, g.wj,
                panel, w.width)
    g.gemm.pad(g.K, min(w.width, g.n - j), panel, w.width)


cdef void point_source(const Work* w, int64_t n, int64_t j0, int64_t j1, int64_t j2, int64_t count,
                       const void** a) noexcept nogil:
    """The pointers of all taps for `count` pixels of one target row."""
    cdef const Gather* g = &w.g
    cdef const Axis* x = &g.axis[0]
    cdef int64_t t0, t1, t2, s0, s1, s2, i, pixel = g.groups * g.K * g.element
    cdef const char* row
    cdef bint inside
    for t0 in range(x[0].taps):
        s0 = x[0].a * j0 + x[0].b + t0 * x[0].bstep
        for t1 in range(x[1].taps):
            s1 = x[1].a * j1 + x[1].b + t1 * x[1].bstep
            inside = 0 <= s0 < x[0].source and 0 <= s1 < x[1].source
            row = g.source + source_row(g, n, s0, s1) * pixel if inside else NULL
            for t2 in range(x[2].taps):
                s2 = x[2].a * j2 + x[2].b + t2 * x[2].bstep
                for i in range(count):
                    a[i] = row + s2 * pixel if inside and <size_t>s2 < <size_t>x[2].source else w.zero
                    s2 += x[2].a
                a += w.pixels


cdef void point_target(const Gather* g, int64_t n, int64_t j0, int64_t j1, int64_t j2, int64_t count, void** c) noexcept nogil:
    cdef int64_t i, pixel = g.groups * g.n * g.element
    cdef char* at = g.target + (target_row(g, n, j0, j1) + g.axis[2].start + g.axis[2].step * j2) * pixel
    for i in range(count):
        c[i] = at + i * g.axis[2].step * pixel


cdef inline const char* strip_weight(const Work* w, int64_t strip) noexcept nogil:
    return w.g.weight + (strip // w.strips * w.g.wg + strip % w.strips * w.width * w.g.wj) * w.g.element


cdef void multiply(const Work* w, int64_t first_strip, int64_t last_strip, const void** a, char* panel,
                   fn_conv_gather* s) noexcept nogil:
    """All strips of a block of pixels that a and s.c point to; panels of weights in the order of the sum."""
    cdef const Gather* g = &w.g
    cdef int64_t e = g.element, strip, group, j, t, k, i
    cdef const char* b
    cdef bint last, fetched = not w.pack
    cdef int64_t pitch = g.K if is_pointwise(g) and w.K_at_once == g.K else 0
    s.lda, s.rsb = w.pixels, w.rsb
    for strip in range(first_strip, last_strip):
        group, j = strip // w.strips, strip % w.strips * w.width
        s.n = min(w.width, g.n - j)
        s.column = group * g.n + j
        if w.pack and not w.pack_here:
            b = w.weights + strip * w.taps * w.K * w.width * e
        else:
            b = strip_weight(w, strip)
        t = k = 0
        while True:
            s.taps, s.K = min(w.taps_at_once, w.taps - t), min(w.K_at_once, w.K - k)
            s.a, s.tap = a + t * w.pixels, w.tap + t
            s.skip = (0 if w.banded else group * g.K) + k
            s.b = b + k * w.rsb * e
            if w.pack_here:
                for i in range(s.taps):
                    g.gemm.pack(s.K, s.n, b + (tap_weight_at(g, t + i) + k * g.wk) * e, g.wk, g.wj,
                                panel + i * s.K * w.width * e, w.width)
                g.gemm.pad(s.taps * s.K, s.n, panel, w.width)
                s.b, s.tap = panel, w.tap
            s.load = t > 0 or k > 0
            last = t + s.taps >= w.taps and k + s.K >= w.K
            s.end = &g.end if last else NULL
            k += s.K
            if k >= w.K:
                k = 0
                t += s.taps
            s.ahead, s.next = NULL, pitch if strip == first_strip else 0
            if fetched and not last:
                s.ahead, s.ahead_tap, s.next = b + k * g.wk * e, w.tap + t, g.wk
            elif fetched and strip + 1 < last_strip:
                s.ahead, s.ahead_tap, s.next = strip_weight(w, strip + 1), w.tap, g.wk
            g.kernels.gather(s)
            if last:
                break


cdef void pixel_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef const Axis* x = &g.axis[0]
    cdef int64_t pixel = block % w.pixel_blocks * w.pixels, part = block // w.pixel_blocks, all_strips = g.groups * w.strips
    cdef int64_t rows = min(w.pixels, pixels_of(g) - pixel), at = 0, row, j0, j1, j2, n, count
    cdef const void** a = <const void**>(w.workers + worker * w.worker_bytes)
    cdef void** c = <void**>(a + w.taps * w.pixels)
    cdef fn_conv_gather s
    while at < rows:
        row, j2 = (pixel + at) // x[2].count, (pixel + at) % x[2].count
        j1, n = row % x[1].count, row // x[1].count
        j0, n = n % x[0].count, n // x[0].count
        count = min(rows - at, x[2].count - j2)
        point_source(w, n, j0, j1, j2, count, a + at)
        point_target(g, n, j0, j1, j2, count, c + at)
        at += count
    s.rows, s.c = rows, c
    multiply(w, part * all_strips // w.strip_blocks, (part + 1) * all_strips // w.strip_blocks, a,
             <char*>a + round_up((w.taps + 1) * w.pixels * 8, 64), &s)


cdef void band_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Work* w = <const Work*>context
    cdef const Gather* g = &w.g
    cdef const Axis* x = &g.axis[0]
    cdef const Band* b = &w.band
    cdef int64_t part = block // w.pixel_blocks, all_strips = g.groups * w.strips, rest = block % w.pixel_blocks
    cdef int64_t j2 = rest % b.across * b.columns, j1 = rest // b.across % b.down * b.rows
    cdef int64_t j0 = rest // b.across // b.down % x[0].count, n = rest // b.across // b.down // x[0].count
    cdef int64_t rows = min(b.rows, x[1].count - j1), columns = min(b.columns, x[2].count - j2)
    cdef int64_t first = part * all_strips // w.strip_blocks, last = (part + 1) * all_strips // w.strip_blocks
    cdef int64_t group, r, i, t, t2, at, across = 1 if b.merged else x[2].taps, pixel = g.K * g.element
    cdef char* band = w.workers + worker * w.worker_bytes
    cdef const void** a = <const void**>(band + band_bytes(g, b))
    cdef void** c = <void**>(a + w.taps * w.pixels)
    cdef fn_conv_gather s
    if rows <= 0 or columns <= 0:
        return
    if wants_thin(g):
        copy_band(g, b, 0, n, j0, j1, j2, band)
        for r in range(rows):
            thin_row(w, band, r, a, n, j0, j1 + r, j2, columns)
        return
    for r in range(rows):
        point_target(g, n, j0, j1 + r, j2, columns, c + r * columns)
        for t in range(x[0].taps * x[1].taps):
            for t2 in range(across):
                at = (t // x[1].taps * b.height + r * x[1].a + t % x[1].taps * x[1].bstep) * b.width + t2 * x[2].bstep
                for i in range(columns):
                    a[(t * across + t2) * w.pixels + r * columns + i] = band + (at + i * x[2].a) * pixel
    s.rows, s.c = rows * columns, c
    for group in range(first // w.strips, ceil_div(last, w.strips)):
        copy_band(g, b, group, n, j0, j1, j2, band)
        multiply(w, max(first, group * w.strips), min(last, (group + 1) * w.strips), a, NULL, &s)


cdef void thin_row(const Work* w, const char* band, int64_t row, const void** a, int64_t n, int64_t j0, int64_t j1, int64_t j2,
                   int64_t columns) noexcept nogil:
    """One target row of a block; `row` counts in the band."""
    cdef const Gather* g = &w.g
    cdef const Axis* x = &g.axis[0]
    cdef int64_t t
    cdef fn_conv_thin s
    s.count, s.n, s.rows, s.columns = columns, g.n, x[0].taps * x[1].taps, x[2].taps
    for t in range(s.rows):
        a[t] = band + (t // x[1].taps * w.band.height + row * x[1].a + t % x[1].taps * x[1].bstep) * w.band.width * g.element
    s.x, s.w, s.rsw, s.bias, s.relu = a, w.weights, w.width, g.end.bias, g.end.relu
    s.y = g.target + (target_row(g, n, j0, j1) + x[2].start + x[2].step * j2) * g.n * g.element
    s.ystep = x[2].step * g.n
    g.kernels.thin(&s)


cdef void run_gather(const Gather* g, int threads, char* scratch) noexcept nogil:
    cdef Work w
    cdef int64_t t
    if pixels_of(g) == 0 or g.n == 0:
        return
    plan(g, threads, &w)
    w.weights = <char*>g.weight if w.packed_already else scratch
    w.tap = <int64_t*>(scratch + w.weights_bytes)
    w.zero = scratch + w.weights_bytes + w.table_bytes
    w.workers = w.zero + w.zero_bytes
    memset(w.zero, 0, w.zero_bytes)
    for t in range(w.taps):
        w.tap[t] = t * w.K * w.width if w.pack else tap_weight_at(g, t)
    if w.taps:
        for t in range(w.taps_at_once):                 # what is fetched ahead may be fewer taps: the last one again
            w.tap[w.taps + t] = w.tap[w.taps - 1]
    if w.weights_bytes:
        parallel(g.groups * w.strips * taps_of(g), threads, pack_body, &w)
    parallel(w.pixel_blocks * w.strip_blocks, threads, band_body if w.banded else pixel_body, &w)


# ---- kernels ---------------------------------------------------------------------------------------------------------

cdef fn_kernel CONV_FORWARD, CONV_INPUT_GRADIENT


cdef int64_t norm_bytes(const fn_call* call) noexcept nogil:
    """Scale and shift of a joined batch norm."""
    if not call.size[NORM_]:
        return 0
    return round_up(2 * call.size[O_] * (8 if call.dtype == 1 else 4), 64)


cdef void join_norm(fn_call* call, Gather* g) noexcept nogil:
    cdef char* scale = <char*>call.scratch
    cdef char* shift = scale + g.n * g.element
    g.kernels.norm_scale(g.n, call.slot[NORM_WEIGHT_], call.slot[NORM_VAR_], call.scalar[0], scale)
    memset(shift, 0, g.n * g.element)
    g.end.mean, g.end.scale = call.slot[NORM_MEAN_], scale
    g.end.shift = call.slot[NORM_BIAS_] if call.slot[NORM_BIAS_] != NULL else shift


cdef bint is_product(const Gather* g, gemm_args* p) noexcept nogil:
    """Is it a product that the machine's matrix units do faster?  Shallow ones wait for memory, few pixels by the packing of weights."""
    if not is_pointwise(g) or g.K <= SHALLOW or pixels_of(g) <= BLOCK:
        return False
    memset(p, 0, sizeof(gemm_args))
    p.M, p.N, p.K = pixels_of(g), g.n, g.K
    p.A, p.rsA, p.csA = g.source, g.K, 1
    p.B, p.rsB, p.csB = g.weight, g.wk, g.wj
    p.C, p.rsC, p.csC = g.target, g.n, 1
    return suits_parts(g.dtype, p)


cdef void end_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Gather* g = <const Gather*>context
    cdef int64_t first = block * BLOCK
    g.kernels.ending(min(BLOCK, pixels_of(g) - first), g.n, g.target + first * g.n * g.element, &g.end)


cdef void multiply_whole(const Gather* g, gemm_args* p, int threads, char* scratch) noexcept nogil:
    """The product, with what follows it."""
    cdef bint more = g.end.scale != NULL or g.end.residual != 0
    if not more:
        p.bias, p.relu = g.end.bias, g.end.relu
    gemm(g.dtype, p, threads, scratch)
    if more:
        parallel(ceil_div(pixels_of(g), BLOCK), threads, end_body, <void*>g)


cdef int64_t gather_scratch(const fn_call* call, const Gather* g) noexcept nogil:
    cdef Work w
    cdef gemm_args product
    if is_depthwise(call):
        return depthwise_bytes(g, threads_for(call))
    if worth_winograd(g, call.size[WINOGRAD_]):
        return winograd_bytes(g, threads_for(call))
    if worth_phased(g, call.size[WINOGRAD_]):
        return phased_bytes(g, threads_for(call))
    if is_product(g, &product):
        return gemm_scratch(g.dtype, &product, threads_for(call))
    plan(g, threads_for(call), &w)
    return work_bytes(&w, threads_for(call))


cdef void gather(fn_call* call, Gather* g) noexcept nogil:
    cdef char* scratch = <char*>call.scratch + norm_bytes(call)
    cdef gemm_args product
    g.source, g.weight, g.end.bias = <const char*>call.slot[0], <const char*>call.slot[1], call.slot[2]
    g.target = <char*>call.slot[Y_]
    if is_depthwise(call):
        depthwise(g, threads_for(call), scratch)
    elif worth_winograd(g, call.size[WINOGRAD_]):
        winograd(g, threads_for(call), scratch)
    elif worth_phased(g, call.size[WINOGRAD_]):
        phased(g, threads_for(call), scratch)
    elif is_product(g, &product):
        multiply_whole(g, &product, threads_for(call), scratch)
    else:
        run_gather(g, threads_for(call), scratch)


cdef int64_t forward_scratch(const fn_call* call) noexcept nogil:
    cdef Gather g
    forward_gather(call, &g)
    return norm_bytes(call) + gather_scratch(call, &g)


cdef void forward(fn_call* call) noexcept nogil:
    cdef Gather g
    forward_gather(call, &g)
    if call.size[NORM_]:
        join_norm(call, &g)
    if call.slot[RESIDUAL_] != NULL:
        g.end.residual = <const char*>call.slot[RESIDUAL_] - <const char*>call.slot[Y_]
    gather(call, &g)


cdef bint takes_norm(const fn_call* call) noexcept nogil:
    """Depthwise rows and those of one source channel end with bias and relu only."""
    cdef Gather g
    forward_gather(call, &g)
    return call.size[G_] == 1 and not wants_thin(&g)


cdef int64_t input_gradient_scratch(const fn_call* call) noexcept nogil:
    cdef Gather g
    cdef int64_t phase, most = 0
    forward_gather(call, &g)
    if worth_scattering(&g):
        return scatter_bytes(&g, threads_for(call))
    for phase in range(phases_of(call)):
        phase_gather(call, phase, &g)
        most = max(most, gather_scratch(call, &g))
    return most


cdef void input_gradient(fn_call* call) noexcept nogil:
    cdef Gather g
    cdef int64_t phase
    forward_gather(call, &g)
    if worth_scattering(&g):
        g.weight, g.end.bias = <const char*>call.slot[1], call.slot[2]
        scatter(&g, <const char*>call.slot[0], <char*>call.slot[3], threads_for(call), <char*>call.scratch)
        return
    for phase in range(phases_of(call)):
        phase_gather(call, phase, &g)
        gather(call, &g)


declare(&CONV_FORWARD, "conv_forward", "x:in weight:in bias:in y:out norm_weight:in norm_bias:in mean:in var:in residual:in",
        forward, forward_scratch)
declare(&CONV_INPUT_GRADIENT, "conv_input_gradient", "dy:in weight:in bias:in dx:out", input_gradient, input_gradient_scratch)
