"""Whole sequences of recurrent cells, backward: against time, to the gradients of the sums and of the initial states.

Blocks of rows as in the forward driver.  The gradients of the weights are products over all steps, which the op makes.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, threads_for
from fastnn.kernels.recurrent_walk cimport *

# Slots: gates activated; dgates: gradients of the sums; dh: gradient of h per row or absent; dhidden: the hidden side of a GRU's n,
# where it differs from dgates; dh_total: with a projection, the whole gradient of h per row.
cdef enum:
    GATES, W_HH, H0, C0, PROJECTION, SIZES, H, C, DH, DH_LAST, DC_LAST, DH0, DC0, DGATES, DHIDDEN, DH_TOTAL

cdef struct Backward:
    Sequence s
    int64_t width                       # columns of a panel
    int64_t weight_bytes, worker_bytes
    char* weight                        # panels of (gates H, P)
    char* projection                    # panels of (P, H), or NULL
    char* workers

# Regions of memory, each in lines of 64 bytes.
cdef struct Coming:
    const char* near[FN_CELL_REGIONS]
    int64_t lines[FN_CELL_REGIONS]

# W[k][n] at strides `row`, `column`, on its way into panels.
cdef struct Packing:
    const Backward* l
    int64_t K, N, row, column
    const char* weight
    char* panels

cdef enum:
    NEAR_WEIGHT = 1024 * 1024
    PACK_BYTES = 256 * 1024     # weights that are packed by more than one thread


cdef int64_t panels_bytes(const Backward* l, int64_t K, int64_t N) noexcept nogil:
    return aligned(ceil_div(N, l.width) * l.width * K * l.s.element)


cdef void lay_out(Backward* l, fn_call* call) noexcept nogil:
    cdef Sequence* s = &l.s
    describe(s, call, SIZES)
    l.width = 4 * s.lanes
    l.weight_bytes = panels_bytes(l, s.gates * s.H, s.P)
    # the gradient of h so far, of c so far, and of the unprojected h
    l.worker_bytes = aligned(s.rows * s.P * s.element) + 2 * aligned(s.rows * s.H * s.element)


cdef int64_t backward_scratch(const fn_call* call) noexcept nogil:
    cdef Backward l
    lay_out(&l, <fn_call*>call)
    return (l.weight_bytes + (panels_bytes(&l, l.s.P, l.s.H) if call.slot[PROJECTION] != NULL else 0)
            + threads_for(call) * l.worker_bytes)


cdef void pack(const Backward* l, int64_t K, int64_t N, const void* weight, int64_t row, int64_t column, char* panels) noexcept nogil:
    """W[k][n] at strides `row`, `column` into panels `width` wide."""
    cdef Packing p
    p.l, p.K, p.N, p.weight, p.row, p.column, p.panels = l, K, N, <const char*>weight, row, column, panels
    parallel(ceil_div(N, l.width), threads_for(l.s.call) if K * N * l.s.element > PACK_BYTES else 1, pack_panel, &p)


cdef void pack_panel(void* context, int64_t number, int worker) noexcept nogil:
    cdef const Packing* p = <const Packing*>context
    cdef const Sequence* s = &p.l.s
    cdef int64_t n = number * p.l.width, columns = min(p.l.width, p.N - n)
    cdef char* panel = p.panels + n * p.K * s.element
    if columns < p.l.width:
        memset(panel, 0, p.l.width * p.K * s.element)
    s.gemm.pack(p.K, columns, p.weight + n * p.column * s.element, p.row, p.column, panel, p.l.width)


cdef void product(const Backward* l, int64_t M, int64_t N, int64_t K, const char* a, const char* panels, char* c, bint load,
                  int64_t split, const char* rest, const Coming* coming) noexcept nogil:
    """c (+)= a times the panels; of a GRU, from column `split` on a is `rest`."""
    cdef int64_t i, n, columns, e = l.s.element, count = ceil_div(N, l.width)
    cdef const char* panel
    for i in range(count):
        n = i * l.width
        columns = min(l.width, N - n)
        panel = panels + n * K * e
        if coming != NULL and columns == l.width and M >= l.s.cell.step_rows:
            product_near(l, M, split, a, K, panel, c + n * e, N, load, coming, i, count)
        else:
            strip(&l.s, M, columns, split, a, K, panel, l.width, True, c + n * e, N, load, NULL)
        if split < K:
            strip(&l.s, M, columns, K - split, rest, K - split, panel + split * l.width * e, l.width, True, c + n * e, N, True, NULL)


cdef void product_near(const Backward* l, int64_t M, int64_t K, const char* a, int64_t rsa, const char* panel, char* c, int64_t rsc,
                       bint load, const Coming* coming, int64_t share, int64_t shares) noexcept nogil:
    """A strip that brings near its share of what the next step needs."""
    cdef fn_cell_product f
    cdef int64_t i, first
    f.M, f.K, f.a, f.rsa, f.panel, f.c, f.rsc, f.load = M, K, a, rsa, panel, c, rsc, load
    for i in range(FN_CELL_REGIONS):
        first = coming.lines[i] * share // shares
        f.near[i] = coming.near[i] + 64 * first
        f.near_lines[i] = coming.lines[i] * (share + 1) // shares - first
    l.s.cell.product(&f)


cdef void bring(Coming* coming, int region, const void* array, int64_t bytes_before, int64_t length) noexcept nogil:
    if array != NULL:
        coming.near[region], coming.lines[region] = <const char*>array + bytes_before, ceil_div(length, 64)


cdef bint what_comes(const Backward* l, const Walk* w, Coming* coming) noexcept nogil:
    """What the step after this one reads and writes: it lies beyond the second-level cache.  Not for large weights, which fill that."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef int64_t h = s.H * s.element, by = s.B if s.reverse else -s.B, row = w.base + w.start + by, rows = w.active
    if s.sizes != NULL or w.carried != w.active or l.weight_bytes > NEAR_WEIGHT:
        return False
    memset(coming, 0, sizeof(Coming))
    bring(coming, 0, call.slot[DGATES], row * s.gates * h, rows * s.gates * h)
    if s.kind >= LSTM:
        bring(coming, 1, call.slot[GATES], row * s.gates * h, rows * s.gates * h)
    if s.kind == GRU:
        bring(coming, 2, call.slot[C], row * h, rows * h)
        bring(coming, 3, call.slot[DHIDDEN], row * h, rows * h)
    elif s.kind == LSTM and (w.step + 2 < s.T):
        bring(coming, 2, call.slot[C], (row + by) * h, rows * h)
    if call.size[DH_STRIDE] == s.P:
        bring(coming, 4, call.slot[DH], row * s.P * s.element, rows * s.P * s.element)
    if s.kind != LSTM and s.h_stride == s.P:
        row += by if s.kind == GRU and w.step + 2 < s.T else 0
        bring(coming, 5, call.slot[H], row * s.P * s.element, rows * s.P * s.element)
    return True


cdef void backward(fn_call* call) noexcept nogil:
    cdef Backward l
    lay_out(&l, call)
    l.weight = <char*>call.scratch
    l.workers = l.weight + l.weight_bytes
    l.projection = NULL
    pack(&l, l.s.gates * l.s.H, l.s.P, call.slot[W_HH], call.size[W_ROW], call.size[W_COLUMN], l.weight)
    if call.slot[PROJECTION] != NULL:
        l.projection = l.workers
        l.workers += panels_bytes(&l, l.s.P, l.s.H)
        pack(&l, l.s.P, l.s.H, call.slot[PROJECTION], call.size[P_ROW], call.size[P_COLUMN], l.projection)
    parallel(l.s.blocks, threads_for(call), backward_block, &l)


cdef void backward_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Backward* l = <Backward*>context
    cdef Sequence s = l.s
    cdef Walk w
    cdef int64_t begun = 0
    # against time: the walk of the other direction, with what was before it in the forward run put right
    s.reverse = not l.s.reverse
    begin_walk(&s, &w, block)
    while next_step(&s, &w):
        from_before(&l.s, &w)
        if w.active:
            backward_step(l, &w, begun, l.workers + worker * l.worker_bytes)
            begun = max(begun, w.active)


cdef void from_before(const Sequence* s, Walk* w) noexcept nogil:
    """Which rows of this step had a state from the step before in the forward run, and where that lies."""
    w.carried, w.before = 0, w.base
    if s.reverse and w.t + 1 < s.T:
        w.carried = clamp(rows_at(s, w.t + 1) - w.start, w.active)
        w.before = w.base + rows_at(s, w.t)
    elif not s.reverse and w.t:
        w.carried = clamp(rows_at(s, w.t - 1) - w.start, w.active)
        w.before = w.base - rows_at(s, w.t - 1)


cdef void copy_or_zero(char* target, const void* source, int64_t offset, int64_t bytes) noexcept nogil:
    if source == NULL:
        memset(target, 0, bytes)
    else:
        memcpy(target, <const char*>source + offset, bytes)


cdef void backward_step(const Backward* l, const Walk* w, int64_t begun, char* scratch) noexcept nogil:
    """One step of one block, against time.  Rows from `begun` on come in here: with the gradient of their last state."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, b, h_bytes = s.P * e, c_bytes = s.H * e, row = w.base + w.start, width = s.gates * s.H
    cdef char* dh = scratch
    cdef char* dc = dh + aligned(s.rows * h_bytes)
    cdef char* up = dh
    cdef const char* more = NULL
    cdef Coming coming
    if w.active > begun:
        copy_or_zero(dh + begun * h_bytes, call.slot[DH_LAST], (w.start + begun) * h_bytes, (w.active - begun) * h_bytes)
        if s.kind == LSTM:
            copy_or_zero(dc + begun * c_bytes, call.slot[DC_LAST], (w.start + begun) * c_bytes, (w.active - begun) * c_bytes)
    if call.slot[DH] != NULL:
        more = <const char*>call.slot[DH] + row * call.size[DH_STRIDE] * e
    if l.projection != NULL:
        up = dc + aligned(s.rows * c_bytes)
        if more != NULL:
            for b in range(w.active):
                s.cell.add(s.P, more + b * call.size[DH_STRIDE] * e, dh + b * h_bytes)
            more = NULL
        memcpy(<char*>call.slot[DH_TOTAL] + row * h_bytes, dh, w.active * h_bytes)
        product(l, w.active, s.H, s.P, dh, l.projection, up, False, s.P, NULL, NULL)
    gradients(l, w, 0, w.carried, up, dc, more)
    gradients(l, w, w.carried, w.active - w.carried, up, dc, more)
    if w.carried or call.slot[DH0] != NULL:
        product(l, w.active, s.P, width, <char*>call.slot[DGATES] + row * width * e, l.weight, dh, s.kind == GRU,
                2 * s.H if s.kind == GRU else width, <char*>call.slot[DHIDDEN] + row * s.H * e if s.kind == GRU else NULL,
                &coming if what_comes(l, w, &coming) else NULL)
    # The rows that started from h0, c0 here: their gradients are complete.
    b = w.start + w.carried
    if call.slot[DH0] != NULL:
        memcpy(<char*>call.slot[DH0] + b * h_bytes, dh + w.carried * h_bytes, (w.active - w.carried) * h_bytes)
    if call.slot[DC0] != NULL:
        memcpy(<char*>call.slot[DC0] + b * c_bytes, dc + w.carried * c_bytes, (w.active - w.carried) * c_bytes)


cdef void gradients(const Backward* l, const Walk* w, int64_t offset, int64_t M, char* up, char* dc, const char* more) noexcept nogil:
    """The cell on M rows of the block from `offset` on: all of them carried, or all fresh."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, row = w.base + w.start + offset, at = w.start + offset, before = w.before + w.start + offset
    cdef int64_t width = s.gates * s.H
    cdef fn_cell_gradient g
    if M == 0:
        return
    memset(&g, 0, sizeof(g))
    g.M, g.n, g.width, g.relu, g.rs_gates = M, s.H, s.H, s.kind == RNN_RELU, width
    g.dgates = <char*>call.slot[DGATES] + row * width * e
    g.dh, g.dc = up + offset * s.H * e, dc + offset * s.H * e
    if more != NULL:
        g.more, g.rs_more = more + offset * call.size[DH_STRIDE] * e, call.size[DH_STRIDE]
    if s.kind >= LSTM:
        g.gates = <char*>call.slot[GATES] + row * width * e
        g.state, g.rs_state = <char*>call.slot[C] + row * s.H * e, s.H
    if s.kind == LSTM:
        g.before = (<char*>call.slot[C] + before * s.H * e if offset < w.carried else <char*>call.slot[C0] + at * s.H * e)
        g.rs_before = s.H
        s.cell.lstm_gradient(&g)
    elif s.kind == GRU:
        g.dhidden = <char*>call.slot[DHIDDEN] + row * s.H * e
        if offset < w.carried:
            g.before, g.rs_before = <char*>call.slot[H] + before * s.h_stride * e, s.h_stride
        else:
            g.before, g.rs_before = <char*>call.slot[H0] + at * s.P * e, s.P
        s.cell.gru_gradient(&g)
    else:
        g.state, g.rs_state = <char*>call.slot[H] + row * s.h_stride * e, s.h_stride
        s.cell.rnn_gradient(&g)


cdef fn_kernel RECURRENT_GRADIENT
declare(&RECURRENT_GRADIENT, "recurrent_gradient",
        "gates:in w_hh:in h0:in c0:in projection:in sizes:in h:in c:in dh:in dh_last:in dc_last:in dh0:out dc0:out dgates:out "
        "dhidden:out dh_total:out", backward, backward_scratch)
