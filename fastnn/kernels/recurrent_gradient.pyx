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
    int64_t shares                      # of the units, where one block of rows is shared by them
    bint passing                        # a thread's part of the weight does not stay in its second-level cache
    char* weight                        # panels of (gates H, P)
    char* projection                    # panels of (P, H), or NULL
    fn_part* parts
    char* workers                       # or shares

# Units `first` to `first + n`, panels `panel` to `end` of the weight.  With a projection all of them.
cdef struct Units:
    int64_t first, n, panel, end
    int64_t columns                     # of dh
    char* dh
    char* dc
    char* up                            # dh, but for the gradient of the unprojected h

# c (+)= a times panels; from k `split` on a is `rest` (of a GRU).
cdef struct Product:
    int64_t M, N, K, split, rsc
    const char* a
    const char* rest
    const char* panels
    char* c
    int64_t first, end                  # panels; c begins with the first of them
    bint load, back, passing            # from the last panel to the first; panels are brought near, piece by piece

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
    cdef int64_t weight, panels
    describe(s, call, SIZES)
    l.width = 4 * s.lanes
    l.weight_bytes = panels_bytes(l, s.gates * s.H, s.P)
    l.shares = 0
    if s.blocks == 1 and call.slot[PROJECTION] == NULL:
        weight, panels = s.gates * s.H * ceil_div(s.P, s.lanes), ceil_div(s.P, l.width)
        l.shares = shares_for(threads_for(call), s.rows * weight, panels)
    l.passing = l.weight_bytes // max(l.shares, 1) > NEAR_WEIGHT
    # the gradient of h so far, of c so far, and of the unprojected h
    l.worker_bytes = aligned(s.rows * s.P * s.element) + 2 * aligned(s.rows * s.H * s.element)


cdef int64_t backward_scratch(const fn_call* call) noexcept nogil:
    cdef Backward l
    lay_out(&l, <fn_call*>call)
    return (l.weight_bytes + (panels_bytes(&l, l.s.P, l.s.H) if call.slot[PROJECTION] != NULL else 0)
            + l.shares * <int64_t>sizeof(fn_part) + max(l.shares, threads_for(call)) * l.worker_bytes)


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


cdef void product(const Backward* l, const Product* p, const Coming* coming) noexcept nogil:
    cdef int64_t i, k, depth, deep = DEEP if p.passing else p.K
    for i in range(p.end - p.first):
        k = 0
        while k < p.K:
            depth = min(deep, (p.split if k < p.split else p.K) - k)
            piece(l, p, p.end - 1 - i if p.back else p.first + i, k, depth, coming)
            k += depth


cdef void piece(const Backward* l, const Product* p, int64_t panel, int64_t k, int64_t depth, const Coming* coming) noexcept nogil:
    """`depth` rows of a panel, from row k on, and meanwhile something is brought near."""
    cdef int64_t e = l.s.element, n = min(l.width, p.N - panel * l.width), row = l.width * e
    cdef int64_t next = panel - 1 if p.back else panel + 1, i, first
    cdef const char* here = p.panels + (panel * p.K + k) * row
    cdef char* c = p.c + (panel - p.first) * row
    cdef const char* a = p.a + k * e
    cdef int64_t rsa = p.K
    cdef bint load = p.load or k > 0
    cdef fn_cell_product f
    if k >= p.split:
        a, rsa = p.rest + (k - p.split) * e, p.K - p.split
    if n < l.width or p.M < l.s.cell.step_rows:
        strip(&l.s, p.M, n, depth, a, rsa, here, l.width, True, c, p.rsc, load, NULL)
        return
    memset(&f, 0, sizeof(f))
    f.M, f.K, f.a, f.rsa, f.panel, f.c, f.rsc, f.load = p.M, depth, a, rsa, here, c, p.rsc, load
    if p.passing:
        f.near[0], f.near_lines[0] = here + depth * row, ceil_div(depth * row, 64)
        if k + depth == p.K:
            f.near[0] = p.panels + next * p.K * row
            if next < p.first or next == p.end:
                f.near_lines[0] = 0
    elif coming != NULL and k == 0:
        for i in range(FN_CELL_REGIONS):
            first = coming.lines[i] * (panel - p.first) // (p.end - p.first)
            f.near[i] = coming.near[i] + 64 * first
            f.near_lines[i] = coming.lines[i] * (panel - p.first + 1) // (p.end - p.first) - first
    l.s.cell.product(&f)


cdef void bring(Coming* coming, int region, const void* array, int64_t bytes_before, int64_t length) noexcept nogil:
    if array != NULL:
        coming.near[region], coming.lines[region] = <const char*>array + bytes_before, ceil_div(length, 64)


cdef bint what_comes(const Backward* l, const Walk* w, Coming* coming) noexcept nogil:
    """What the step after this one reads and writes, which lies beyond the second-level cache.  Not for large weights: they fill that."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef int64_t h = s.H * s.element, by = s.B if s.reverse else -s.B, row = w.base + w.start + by, rows = w.active
    if s.sizes != NULL or w.carried != w.active or l.passing or l.shares > 1:
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
    if l.shares:
        l.parts = <fn_part*>l.workers
        l.workers += l.shares * <int64_t>sizeof(fn_part)
        fn_parts_begin(l.parts, l.shares)
        parallel(l.shares, threads_for(call), backward_together, &l)
    else:
        parallel(l.s.blocks, threads_for(call), backward_block, &l)


cdef Units units_of(const Backward* l, int64_t share, int64_t shares, char* scratch) noexcept nogil:
    cdef const Sequence* s = &l.s
    cdef int64_t panels = ceil_div(s.P, l.width)
    cdef Units u
    u.panel, u.end = share * panels // shares, (share + 1) * panels // shares
    u.first = u.panel * l.width
    u.columns = min(u.end * l.width, s.P) - u.first
    u.n = s.H if l.projection != NULL else u.columns
    u.dh = scratch
    u.dc = u.dh + aligned(s.rows * s.P * s.element)
    u.up = u.dh if l.projection == NULL else u.dc + aligned(s.rows * s.H * s.element)
    return u


cdef void backward_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Backward* l = <Backward*>context
    cdef Sequence s = l.s
    cdef Units u = units_of(l, 0, 1, l.workers + worker * l.worker_bytes)
    cdef Walk w
    cdef int64_t begun = 0
    # against time: the walk of the other direction, with what was before it in the forward run put right
    s.reverse = not l.s.reverse
    begin_walk(&s, &w, block)
    while next_step(&s, &w):
        from_before(&l.s, &w)
        if w.active:
            cells(l, &w, begun, &u)
            states(l, &w, &u)
            begun = max(begun, w.active)


cdef void backward_together(void* context, int64_t own, int worker) noexcept nogil:
    """All rows through all of time: in every step the cells of some units, then, when those of all units are done, the gradient of
    their states.  A share that nobody has taken is taken by whoever comes first, as in recurrent.pyx."""
    cdef Backward* l = <Backward*>context
    cdef Sequence s = l.s
    cdef Units u
    cdef Walk w
    cdef int64_t begun = 0, phase, turn, share, stage, held = 0, does
    s.reverse = not l.s.reverse
    begin_walk(&s, &w, 0)
    while next_step(&s, &w):
        from_before(&l.s, &w)
        for phase in range(2):
            stage = 2 * w.step + phase
            for turn in range(l.shares):
                share = (own + turn) % l.shares
                if phase == 0:
                    does = claim(&l.parts[share], w.step, 2, held >> share & 1)
                    held = held & ~(<int64_t>1 << share) | does << share
                if not held >> share & 1:
                    continue
                u = units_of(l, share, l.shares, l.workers + share * l.worker_bytes)
                fn_part_wait(&l.parts[share], stage - 1)
                if phase == 0:
                    cells(l, &w, begun, &u)
                else:
                    wait_for_all(l.parts, l.shares, stage - 1)
                    states(l, &w, &u)
                fn_part_done(&l.parts[share], stage)
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


cdef void begin_states(char* rows, int64_t columns, const char* last, int64_t width, int64_t first, int64_t count,
                       int64_t e) noexcept nogil:
    """`count` rows: columns from `first` on of the gradient of the last states, or 0."""
    cdef int64_t b
    for b in range(count):
        if last == NULL:
            memset(rows + b * columns * e, 0, columns * e)
        else:
            memcpy(rows + b * columns * e, last + (b * width + first) * e, columns * e)


cdef void end_states(const char* rows, int64_t columns, char* states, int64_t width, int64_t first, int64_t count,
                     int64_t e) noexcept nogil:
    """The other way round."""
    cdef int64_t b
    for b in range(count):
        memcpy(states + (b * width + first) * e, rows + b * columns * e, columns * e)


cdef char* row_of(const fn_call* call, int slot, int64_t row, int64_t width) noexcept nogil:
    return NULL if call.slot[slot] == NULL else <char*>call.slot[slot] + row * width


cdef void cells(const Backward* l, const Walk* w, int64_t begun, const Units* u) noexcept nogil:
    """One step of one block, against time, up to dgates.  Rows from `begun` on come in here: with the gradient of their last state."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, b, row = w.base + w.start, at = w.start + begun
    cdef const char* more = row_of(call, DH, row, call.size[DH_STRIDE] * e)
    cdef Product p
    if w.active > begun:
        begin_states(u.dh + begun * u.columns * e, u.columns, row_of(call, DH_LAST, at, s.P * e), s.P, u.first, w.active - begun, e)
        if s.kind == LSTM:
            begin_states(u.dc + begun * u.n * e, u.n, row_of(call, DC_LAST, at, s.H * e), s.H, u.first, w.active - begun, e)
    if l.projection != NULL:
        if more != NULL:
            for b in range(w.active):
                s.cell.add(s.P, more + b * call.size[DH_STRIDE] * e, u.dh + b * s.P * e)
            more = NULL
        memcpy(<char*>call.slot[DH_TOTAL] + row * s.P * e, u.dh, w.active * s.P * e)
        memset(&p, 0, sizeof(p))
        p.M, p.N, p.K, p.split, p.rsc, p.a, p.panels, p.c = w.active, s.H, s.P, s.P, s.H, u.dh, l.projection, u.up
        p.end = ceil_div(s.H, l.width)
        product(l, &p, NULL)
    gradients(l, w, 0, w.carried, u, more)
    gradients(l, w, w.carried, w.active - w.carried, u, more)


cdef void states(const Backward* l, const Walk* w, const Units* u) noexcept nogil:
    """From all of the step's dgates to the gradients of the states before it."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, row = w.base + w.start, width = s.gates * s.H, fresh = w.active - w.carried, at = w.start + w.carried
    cdef Product p
    cdef Coming coming
    if w.carried or call.slot[DH0] != NULL:
        p.M, p.N, p.K, p.split, p.rsc, p.load = w.active, s.P, width, 2 * s.H if s.kind == GRU else width, u.columns, s.kind == GRU
        p.a, p.rest = row_of(call, DGATES, row, width * e), row_of(call, DHIDDEN, row, s.H * e)
        p.panels, p.first, p.end, p.c = l.weight, u.panel, u.end, u.dh
        p.passing, p.back = l.passing, w.step % 2 == 1
        product(l, &p, &coming if what_comes(l, w, &coming) else NULL)
    # The rows that started from h0, c0 here: their gradients are complete.
    if call.slot[DH0] != NULL:
        end_states(u.dh + w.carried * u.columns * e, u.columns, row_of(call, DH0, at, s.P * e), s.P, u.first, fresh, e)
    if call.slot[DC0] != NULL:
        end_states(u.dc + w.carried * u.n * e, u.n, row_of(call, DC0, at, s.H * e), s.H, u.first, fresh, e)


cdef void gradients(const Backward* l, const Walk* w, int64_t offset, int64_t M, const Units* u, const char* more) noexcept nogil:
    """The cell on M rows of the block from `offset` on: all of them carried, or all fresh."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, row = w.base + w.start + offset, at = w.start + offset, before = w.before + w.start + offset
    cdef int64_t width = s.gates * s.H, first = u.first * e
    cdef fn_cell_gradient g
    if M == 0:
        return
    memset(&g, 0, sizeof(g))
    g.M, g.n, g.width, g.relu, g.rs_gates = M, u.n, s.H, s.kind == RNN_RELU, width
    g.dgates = <char*>call.slot[DGATES] + row * width * e + first
    g.dh, g.dc = u.up + offset * u.n * e, u.dc + offset * u.n * e
    if more != NULL:
        g.more, g.rs_more = more + offset * call.size[DH_STRIDE] * e + first, call.size[DH_STRIDE]
    if s.kind >= LSTM:
        g.gates = <char*>call.slot[GATES] + row * width * e + first
        g.state, g.rs_state = <char*>call.slot[C] + row * s.H * e + first, s.H
    if s.kind == LSTM:
        g.before = (<char*>call.slot[C] + before * s.H * e if offset < w.carried else <char*>call.slot[C0] + at * s.H * e) + first
        g.rs_before = s.H
        s.cell.lstm_gradient(&g)
    elif s.kind == GRU:
        g.dhidden = <char*>call.slot[DHIDDEN] + row * s.H * e + first
        if offset < w.carried:
            g.before, g.rs_before = <char*>call.slot[H] + before * s.h_stride * e + first, s.h_stride
        else:
            g.before, g.rs_before = <char*>call.slot[H0] + at * s.P * e + first, s.P
        s.cell.gru_gradient(&g)
    else:
        g.state, g.rs_state = <char*>call.slot[H] + row * s.h_stride * e + first, s.h_stride
        s.cell.rnn_gradient(&g)


cdef fn_kernel RECURRENT_GRADIENT
declare(&RECURRENT_GRADIENT, "recurrent_gradient",
        "gates:in w_hh:in h0:in c0:in projection:in sizes:in h:in c:in dh:in dh_last:in dc_last:in dh0:out dc0:out dgates:out "
        "dhidden:out dh_total:out", backward, backward_scratch)
