"""Depthwise convolution: rows of pixels times rows of weights, vectors of channels."""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv cimport (
    Axis, Gather, ceil_div, fn_conv_depthwise, fn_conv_run, fn_conv_slide, fn_conv_square, round_up, source_row, tap_weight_at, target_row,
    taps_of)
from fastnn.kernels.native cimport parallel

cdef enum:
    BLOCK_BYTES = 16384         # of target rows in a block
    PARTS = 16                  # partial sums of the weight gradient

cdef struct Rows:
    Gather g
    int64_t rows                # target rows of a block
    int64_t all_rows
    int64_t blocks
    int64_t low                 # target columns that see the whole kernel: low <= j < high
    int64_t high
    int64_t worker_bytes
    char* workers               # of each: whether its weights are turned, then as row_body has it
    const char* dy
    char* partial


cdef void plan(const Gather* g, Rows* r, int64_t most_blocks) noexcept nogil:
    cdef const Axis* x = &g.axis[2]
    cdef int64_t row_bytes = max(1, x.count * g.groups * g.element)
    r.g = g[0]
    r.all_rows = g.N * g.axis[0].count * g.axis[1].count
    r.blocks = max(1, min(r.all_rows, r.all_rows * row_bytes // BLOCK_BYTES))
    if most_blocks:
        r.blocks = min(r.blocks, most_blocks)
    r.rows = ceil_div(max(1, r.all_rows), r.blocks)
    r.blocks = ceil_div(r.all_rows, r.rows)
    r.low = min(x.count, max(0, ceil_div(-x.b, x.a))) if x.b < 0 else 0
    r.high = x.source - 1 - x.b - (x.taps - 1) * x.bstep
    r.high = max(r.low, min(x.count, r.high // x.a + 1 if r.high >= 0 else 0))


cdef void row_of(const Rows* r, int64_t row, int64_t* n, int64_t* j0, int64_t* j1) noexcept nogil:
    j1[0] = row % r.g.axis[1].count
    row //= r.g.axis[1].count
    j0[0] = row % r.g.axis[0].count
    n[0] = row // r.g.axis[0].count


# ---- forward and input gradient ----------------------------------------------------------------------------------

cdef void pixel(const Rows* r, fn_conv_depthwise* s, const void** x, const void** w, int64_t rows, int64_t j, char* y,
                const void** edge_x, const void** edge_w) noexcept nogil:
    """One target pixel whose window reaches over the edge of the row."""
    cdef const Axis* a = &r.g.axis[2]
    cdef int64_t s2 = a.a * j + a.b, first = 0, last = a.taps, i, e = r.g.element
    cdef fn_conv_depthwise edge = s[0]
    while first < last and s2 + first * a.bstep < 0:
        first += 1
    while last > first and s2 + (last - 1) * a.bstep >= a.source:
        last -= 1
    for i in range(rows):
        edge_x[i] = <const char*>x[i] + (s2 + first * a.bstep) * r.g.groups * e
        edge_w[i] = <const char*>w[i] + first * s.wcolumn * e
    edge.count, edge.rows, edge.columns = 1, rows if last > first else 0, last - first
    edge.x, edge.w, edge.y = edge_x, edge_w, y + j * s.ystep * e
    r.g.kernels.depthwise(&edge)


cdef int64_t rows_seen(const Rows* r, int64_t row, const char* weights, const void** x, const void** w, int64_t* first) noexcept nogil:
    """How many source rows a target row sees, where they begin and their weights; `first`: the place of the first along axis 1."""
    cdef const Gather* g = &r.g
    cdef const Axis* a = &g.axis[0]
    cdef int64_t n, j0, j1, t0, t1, s0, s1, rows = 0, at = g.groups * g.element
    row_of(r, row, &n, &j0, &j1)
    for t0 in range(a[0].taps):
        s0 = a[0].a * j0 + a[0].b + t0 * a[0].bstep
        for t1 in range(a[1].taps):
            s1 = a[1].a * j1 + a[1].b + t1 * a[1].bstep
            if 0 <= s0 < a[0].source and 0 <= s1 < a[1].source and a[2].taps > 0:
                if rows == 0:
                    first[0] = s1
                x[rows] = g.source + source_row(g, n, s0, s1) * at
                w[rows] = weights + (t0 * a[1].taps + t1) * a[2].taps * at
                rows += 1
    return rows


cdef char* target_of(const Rows* r, int64_t row) noexcept nogil:
    cdef int64_t n, j0, j1
    row_of(r, row, &n, &j0, &j1)
    return r.g.target + (target_row(&r.g, n, j0, j1) + r.g.axis[2].start) * r.g.groups * r.g.element


cdef bint slides(const Rows* r) noexcept nogil:
    """Three neighbouring columns of at most three kernel rows, at most one of them outside on either side."""
    cdef const Axis* a = &r.g.axis[0]
    return (a[0].taps == 1 and a[1].taps <= 3 and a[2].taps == 3 and a[2].a == 1 and a[2].bstep == 1 and -1 <= a[2].b <= 0
            and a[2].b + a[2].count + 1 <= a[2].source and a[2].count > 0)


cdef bint pairs(const Rows* r, int64_t row, int64_t first) noexcept nogil:
    """Do this target row and the next one see the four source rows from `first` on, all there?"""
    cdef const Axis* a = &r.g.axis[1]
    return (a.taps == 3 and a.a == 1 and a.bstep == 1 and row % a.count + 1 < a.count and first == row % a.count + a.b
            and first + 3 < a.source)


cdef void row_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Rows* r = <const Rows*>context
    cdef const Gather* g = &r.g
    cdef const Axis* a = &g.axis[2]
    cdef int64_t e = g.element, most = g.axis[0].taps * g.axis[1].taps + 2, row = block * r.rows, end, first = 0, rows, j, i
    cdef char* own = r.workers + worker * r.worker_bytes
    cdef const void** x = <const void**>(own + 64)
    cdef const void** w = x + most
    cdef const void** edge_x = w + most
    cdef const void** edge_w = edge_x + most
    cdef char* weights = own + 64 + round_up(4 * 8 * most, 64)
    cdef bint sliding = slides(r)
    cdef char* y
    cdef fn_conv_depthwise s
    cdef fn_conv_slide p
    p.count, p.C, p.ystep, p.x, p.w = a.count, g.groups, a.step * g.groups, edge_x, w
    p.left, p.right = a.b < 0, a.b + a.count + 1 >= a.source
    p.bias, p.relu = g.end.bias, g.end.relu
    s.C, s.xstep, s.xcolumn, s.wcolumn, s.ystep = g.groups, a.a * g.groups, a.bstep * g.groups, g.groups, p.ystep
    s.bias, s.relu = g.end.bias, g.end.relu
    end = min(r.all_rows, (block + 1) * r.rows)
    if not (<int64_t*>own)[0]:          # every thread for itself: what another has just written comes slowly
        turn_weights(g, weights)
        (<int64_t*>own)[0] = 1
    while row < end:
        rows = rows_seen(r, row, weights, x, w, &first)
        y = target_of(r, row)
        if sliding and 0 < rows <= 3:
            p.rows, p.targets, p.y[0] = <int>rows, 1, y
            if row + 1 < end and rows == 3 and pairs(r, row, first):
                x[3] = <const char*>x[2] + (<const char*>x[2] - <const char*>x[1])
                p.rows, p.targets, p.y[1] = 4, 2, target_of(r, row + 1)
            for i in range(p.rows):
                edge_x[i] = <const char*>x[i] + a.b * g.groups * e
            g.kernels.depthwise_slide(&p)
            row += p.targets
            continue
        row += 1
        for j in range(r.low):
            pixel(r, &s, x, w, rows, j, y, edge_x, edge_w)
        if r.high > r.low:
            for i in range(rows):
                edge_x[i] = <const char*>x[i] + (a.a * r.low + a.b) * g.groups * e
            s.count, s.rows, s.columns = r.high - r.low, rows, a.taps
            s.x, s.w, s.y = edge_x, w, y + r.low * s.ystep * e
            g.kernels.depthwise(&s)
        for j in range(r.high, a.count):
            pixel(r, &s, x, w, rows, j, y, edge_x, edge_w)


cdef int64_t worker_bytes(const Gather* g) noexcept nogil:
    """Of a flag, four lists of rows, and the weights."""
    return 64 + round_up(4 * 8 * (g.axis[0].taps * g.axis[1].taps + 2), 64) + round_up(max(1, taps_of(g)) * g.groups * g.element + 64, 64)


cdef int64_t depthwise_bytes(const Gather* g, int threads) noexcept nogil:
    return threads * worker_bytes(g)


cdef void turn_weights(const Gather* g, char* w) noexcept nogil:
    """The weights as [tap][channel]; at once where taps follow each other at equal steps, up or down."""
    cdef int64_t t, taps = taps_of(g), row = g.groups * g.element, at = tap_weight_at(g, 0), step = 0
    cdef bint even = True
    for t in range(1, taps):
        step = tap_weight_at(g, 1) - at
        even = even and tap_weight_at(g, t) == at + t * step
    if even and step > 0:
        g.gemm.pack(taps, g.groups, g.weight + at * g.element, step, g.wg, w, g.groups)
    elif even and step < 0:
        g.gemm.pack(taps, g.groups, g.weight + (at + (taps - 1) * step) * g.element, -step, g.wg, w + (taps - 1) * row, -g.groups)
    else:
        for t in range(taps):
            g.gemm.pack(1, g.groups, g.weight + tap_weight_at(g, t) * g.element, 0, g.wg, w + t * row, g.groups)


cdef void depthwise(const Gather* g, int threads, char* scratch) noexcept nogil:
    cdef Rows r
    cdef int i
    if g.N * g.axis[0].count * g.axis[1].count * g.axis[2].count == 0:
        return
    plan(g, &r, 0)
    r.workers = scratch
    r.worker_bytes = worker_bytes(g)
    for i in range(threads):
        (<int64_t*>(r.workers + i * r.worker_bytes))[0] = 0
    parallel(r.blocks, threads, row_body, &r)


# ---- weight gradient ---------------------------------------------------------------------------------------------

cdef bint is_square(const Rows* r) noexcept nogil:
    """Up to three kernel rows of three neighbouring columns, at most one of them outside: then all are summed at once."""
    cdef const Axis* a = &r.g.axis[0]
    return a[1].taps <= 3 and a[2].taps == 3 and a[2].a == 1 and a[2].bstep == 1 and a[2].b >= -1 and a[2].b + a[2].count + 1 <= a[2].source


cdef void part_body(void* context, int64_t block, int worker) noexcept nogil:
    """The weight gradient of some rows: [tap][channel]."""
    cdef const Rows* r = <const Rows*>context
    cdef const Gather* g = &r.g
    cdef const Axis* a = &g.axis[0]
    cdef int64_t C = g.groups, e = g.element, row, n, j0, j1, t0, t1, s0, s1
    cdef char* dw = r.partial + block * taps_of(g) * C * e
    cdef const char* x
    cdef const char* y
    cdef bint square = is_square(r)
    cdef fn_conv_square s
    s.count, s.C, s.left, s.right = a[2].count, C, a[2].b < 0, a[2].b + a[2].count + 1 >= a[2].source
    memset(dw, 0, taps_of(g) * C * e)
    for row in range(block * r.rows, min(r.all_rows, (block + 1) * r.rows)):
        row_of(r, row, &n, &j0, &j1)
        y = r.dy + target_row(g, n, j0, j1) * C * e
        for t0 in range(a[0].taps):
            s0 = a[0].a * j0 + a[0].b + t0 * a[0].bstep
            s.rows, s.y = 0, y
            for t1 in range(a[1].taps):
                s1 = a[1].a * j1 + a[1].b + t1 * a[1].bstep
                if 0 <= s0 < a[0].source and 0 <= s1 < a[1].source:
                    x = g.source + source_row(g, n, s0, s1) * C * e
                    if square:
                        s.x[s.rows], s.c[s.rows] = x + a[2].b * C * e, dw + (t0 * a[1].taps + t1) * a[2].taps * C * e
                        s.rows += 1
                    else:
                        row_sums(r, x, y, dw + (t0 * a[1].taps + t1) * a[2].taps * C * e)
            if s.rows:
                g.kernels.depthwise_square(&s)


cdef void row_sums(const Rows* r, const char* x, const char* y, char* dw) noexcept nogil:
    """Add one row's share to all columns of one kernel row: together where all are inside, one by one at the edges."""
    cdef const Gather* g = &r.g
    cdef const Axis* a = &g.axis[2]
    cdef int64_t C = g.groups, e = g.element, t = 0, j, s2
    cdef int columns
    cdef fn_conv_run run
    while t < a.taps and r.high > r.low:
        columns = <int>min(3, a.taps - t)
        run.x = x + (a.a * r.low + a.b + t * a.bstep) * C * e
        run.y = y + r.low * C * e
        run.count = r.high - r.low
        g.kernels.depthwise_outer(1, &run, C, columns, a.a * C, a.bstep * C, C, dw + t * C * e, C)
        t += columns
    for j in range(a.count):
        if r.low <= j < r.high:
            continue
        t = 0
        while t < a.taps:                   # runs of up to three taps inside
            s2 = a.a * j + a.b + t * a.bstep
            columns = 0
            while columns < 3 and t + columns < a.taps and 0 <= s2 + columns * a.bstep < a.source:
                columns += 1
            if columns:
                run.x, run.y, run.count = x + s2 * C * e, y + j * C * e, 1
                g.kernels.depthwise_outer(1, &run, C, columns, C, a.bstep * C, C, dw + t * C * e, C)
            t += max(1, columns)


cdef int64_t depthwise_weight_bytes(const Gather* g, int threads) noexcept nogil:
    return PARTS * taps_of(g) * g.groups * g.element


cdef void depthwise_weight(const Gather* g, const char* dy, char* dw, int threads, char* scratch) noexcept nogil:
    cdef Rows r
    cdef int64_t n = taps_of(g) * g.groups, part
    if g.N * g.axis[0].count * g.axis[1].count * g.axis[2].count == 0:
        memset(dw, 0, n * g.element)
        return
    plan(g, &r, PARTS)
    r.dy, r.partial = dy, scratch
    parallel(r.blocks, threads, part_body, &r)
    memset(dw, 0, n * g.element)
    for part in range(r.blocks):
        g.kernels.add(n, r.partial + part * n * g.element, dw)
