"""Forward: one step of one chunk of hidden units.

A chunk's columns of W_ih and W_hh, all gates side by side, are packed into one panel, so that a step of a chunk is two products into a
small array of sums, followed by the cell on these sums: nothing of it leaves the first-level cache but what is to be kept.  Where the
panel fills the cell's own tiles, the sums do not even leave the registers.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.gemm cimport gemm_args, gemm_serial
from fastnn.kernels.native cimport fn_call
from fastnn.kernels.recurrent_walk cimport *

cdef enum:
    NEAR_BYTES = 16 * 1024      # of W_hh that come to the first-level cache while the cell runs: half of it
    WAIT_ROWS = 32              # more rows make a step so long that threads may as well meet before it


cdef int64_t share_begin(const Layer* l, int64_t share) noexcept nogil:
    return share * l.chunks // l.shares


cdef Chunk chunk_at(const Layer* l, int64_t number) noexcept nogil:
    cdef const Sequence* s = &l.s
    cdef Chunk k
    k.first = number * l.units
    k.n = min(l.units, s.H - k.first)
    k.columns = s.gates * k.n
    k.stride = ceil_div(k.columns, s.lanes) * s.lanes
    k.panel = l.panels + number * l.panel_bytes
    k.sums = l.sums + number * l.sums_bytes
    return k


cdef void pack_chunk(void* context, int64_t number, int worker) noexcept nogil:
    cdef Layer* l = <Layer*>context
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef Chunk k = chunk_at(l, number)
    cdef int64_t e = s.element, g, unit, rows = s.I + s.P
    cdef char* target
    if k.columns < k.stride:
        memset(k.panel, 0, (rows + 2) * k.stride * e)
    for g in range(s.gates):
        unit = g * s.H + k.first
        target = k.panel + g * k.n * e
        s.gemm.pack(s.I, k.n, <char*>call.slot[W_IH] + unit * call.size[I_ROW] * e, call.size[I_COLUMN], call.size[I_ROW], target,
                    k.stride)
        target += s.I * k.stride * e
        s.gemm.pack(s.P, k.n, <char*>call.slot[W_HH] + unit * call.size[W_ROW] * e, call.size[W_COLUMN], call.size[W_ROW], target,
                    k.stride)
        if call.slot[B_IH] == NULL:
            continue
        target += s.P * k.stride * e
        memcpy(target, <char*>call.slot[B_IH] + unit * e, k.n * e)
        if s.kind == GRU:
            target += k.stride * e
            memcpy(target, <char*>call.slot[B_HH] + unit * e, k.n * e)
        else:
            s.cell.add(k.n, <char*>call.slot[B_HH] + unit * e, target)


# ---- one step of one chunk ------------------------------------------------------------------------------------------
cdef char* x_at(const Sequence* s, int64_t row) noexcept nogil:
    return <char*>s.call.slot[X] + row * s.I * s.element


cdef void input_side(const Layer* l, const Chunk* k, int64_t M, const char* x, int64_t stride, char* sums) noexcept nogil:
    """sums = x W_ih' and its bias, for M rows."""
    cdef const Sequence* s = &l.s
    if l.packed:
        strip(s, M, k.columns, s.I, x, stride, k.panel, k.stride, True, sums, k.columns, False,
              NULL if s.call.slot[B_IH] == NULL else k.panel + (s.I + s.P) * k.stride * s.element)
    else:
        unpacked(l, k, M, s.I, x, stride, W_IH, 0, l.bias, False, sums)


cdef void hidden_side(const Layer* l, const Walk* w, const Chunk* k, int64_t M, char* h, int64_t stride, char* sums) noexcept nogil:
    """sums += h W_hh'; a GRU's have an array and a bias of their own."""
    if M:
        hidden_units(l, w, k, M, 0, l.s.P, h, stride, sums)


cdef void hidden_side_shared(const Layer* l, const Walk* w, const Chunk* k, char* h, int64_t stride, char* sums) noexcept nogil:
    """The same of the carried rows, as far as the shares of the step before are done: whoever is ahead need not wait for the others
    before he comes to their units."""
    cdef int64_t share = 0, first = 0, end
    while share < l.shares:
        fn_part_wait(&l.parts[share], w.step - 1)
        share += 1
        while share < l.shares and fn_part_ready(&l.parts[share], w.step - 1):
            share += 1
        end = min(share_begin(l, share) * l.units, l.s.P)
        hidden_units(l, w, k, w.carried, first, end, h, stride, sums)
        first = end


cdef void hidden_units(const Layer* l, const Walk* w, const Chunk* k, int64_t M, int64_t first, int64_t end, char* h, int64_t stride,
                       char* sums) noexcept nogil:
    """What h's units `first` to `end` add to the sums."""
    cdef const Sequence* s = &l.s
    cdef bint own = s.kind == GRU, load = not own or first > 0
    cdef const char* bias = NULL
    h += first * s.element
    if l.packed:
        if own and end == s.P and s.call.slot[B_HH] != NULL:
            bias = k.panel + (s.I + s.P + 1) * k.stride * s.element
        if l.streams:
            stream(l, w, k, first, end, h, sums, load, bias)
            return
        strip(s, M, k.columns, end - first, h, stride, k.panel + (s.I + first) * k.stride * s.element, k.stride, True, sums, k.columns,
              load, bias)
    else:
        if own and end == s.P:
            bias = <const char*>s.call.slot[B_HH]
        unpacked(l, k, M, end - first, h, stride, W_HH, first, bias, load, sums)


cdef int64_t first_ahead(const Sequence* s, int64_t group) noexcept nogil:
    """The first step of a group; the last one begins early enough to be whole."""
    return min(group * FN_CELL_AHEAD, s.T - FN_CELL_AHEAD)


cdef char* rows_ahead(const Sequence* s, int64_t group) noexcept nogil:
    """Its x, in the order of the steps."""
    cdef int64_t step = first_ahead(s, group)
    return x_at(s, s.T - 1 - step if s.reverse else step)


cdef void stream(const Layer* l, const Walk* w, const Chunk* k, int64_t first, int64_t end, const char* h, char* sums, bint load,
                 const char* bias) noexcept nogil:
    """The same of one row, and beside it its part of the input side of the next group of steps."""
    cdef const Sequence* s = &l.s
    cdef int64_t e = s.element, group = w.step // FN_CELL_AHEAD + 1, turn = w.step % FN_CELL_AHEAD, begin, count
    cdef fn_cell_stream f
    memset(&f, 0, sizeof(f))
    f.vectors, f.load, f.K, f.inputs = k.columns // s.lanes, load, end - first, s.I
    f.h, f.panel, f.bias, f.sums = h, k.panel + (s.I + first) * k.stride * e, bias, sums
    if group * FN_CELL_AHEAD < s.T:
        begin = f.vectors * turn // FN_CELL_AHEAD
        count = f.vectors * (turn + 1) // FN_CELL_AHEAD - begin
        f.first, f.end = begin + count * first // s.P, begin + count * end // s.P
        f.x, f.rs_x = rows_ahead(s, group), -s.I if s.reverse else s.I
        f.x_panel = k.panel
        f.x_bias = NULL if s.call.slot[B_IH] == NULL else k.panel + (s.I + s.P) * k.stride * e
        f.x_sums = k.sums + group % 2 * FN_CELL_AHEAD * k.columns * e
    s.cell.stream(&f)


cdef void unpacked(const Layer* l, const Chunk* k, int64_t M, int64_t K, const char* a, int64_t rsa, int weight, int64_t first,
                   const char* bias, bint load, char* sums) noexcept nogil:
    """Few rows, weights where they lie, from input `first` on."""
    cdef const Sequence* s = &l.s
    cdef int64_t e = s.element, rsb = s.call.size[I_COLUMN if weight == W_IH else W_COLUMN], g
    cdef const char* b = <char*>s.call.slot[weight] + (first * rsb + k.first) * e
    cdef fn_cell_sums f
    if bias != NULL:
        bias += k.first * e
    if s.rows == 1 and s.gates > 1:
        if M == 0:
            return
        f.gates, f.n, f.K, f.width, f.rsb, f.load = s.gates, k.n, K, s.H, rsb, load
        f.a, f.b, f.bias, f.sums = a, b, bias, sums
        s.cell.sums(&f)
        return
    for g in range(s.gates):
        strip(s, M, k.n, K, a, rsa, b + g * s.H * e, rsb, False, sums + g * k.n * e, k.columns, load, bias)
        if bias != NULL:
            bias += s.H * e


cdef void step_chunk(const Layer* l, const Walk* w, int64_t number, int64_t next, char* scratch) noexcept nogil:
    """`carried` rows have a state from the step before, the others start from h0, c0.  `next`: the thread's next chunk."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef Chunk k = chunk_at(l, number)
    cdef int64_t e = s.element, fresh = w.active - w.carried
    cdef char* h = <char*>call.slot[H]
    cdef char* h0 = <char*>call.slot[H0] + (w.start + w.carried) * s.P * e
    if w.active == 0:
        return
    h += (w.before + w.start) * s.h_stride * e
    if whole_step(l, w, &k):
        if l.shares > 1 and w.carried:
            wait_for_all(l.parts, l.shares, w.step - 1)
        step_rows(l, w, &k, 0, w.carried, next, h, s.h_stride)
        step_rows(l, w, &k, w.carried, fresh, next, h0, s.P)
    else:
        step_parts(l, w, &k, next, h, h0, scratch)
    if call.slot[PROJECTION] == NULL:
        keep_last(s, w, k.first, k.n)


cdef bint whole_step(const Layer* l, const Walk* w, const Chunk* k) noexcept nogil:
    """Products and cell in one: a panel as wide as the cell's tiles, rows that fill them."""
    cdef const Sequence* s = &l.s
    cdef int64_t least = s.cell.step_rows
    return (l.packed and l.span == 1 and (l.shares <= 1 or s.rows > WAIT_ROWS) and k.columns == (3 if s.kind == GRU else 4) * s.lanes
            and (w.carried == 0 or w.carried >= least) and (w.carried == w.active or w.active - w.carried >= least))


cdef void step_rows(const Layer* l, const Walk* w, const Chunk* k, int64_t offset, int64_t M, int64_t next, char* h,
                    int64_t stride) noexcept nogil:
    """M rows of the block from `offset` on: all of them carried, or all fresh."""
    cdef const Sequence* s = &l.s
    cdef int64_t e = s.element
    cdef fn_cell_step f
    if M == 0:
        return
    f.rows = rows_of(l, w, k, offset, M)
    f.inputs, f.width = s.I, s.P
    f.x, f.rs_x = <char*>s.call.slot[X] + (w.base + w.start + offset) * s.I * e, s.I
    f.h, f.rs_h = h, stride
    f.panel = k.panel
    f.bias = f.hidden_bias = f.near = NULL
    f.near_bytes = 0
    if l.passing and k.panel != l.panels + next * l.panel_bytes:
        f.near, f.near_bytes = l.panels + next * l.panel_bytes, l.panel_bytes
    if s.call.slot[B_IH] != NULL:
        f.bias = k.panel + (s.I + s.P) * k.stride * e
        f.hidden_bias = <const char*>f.bias + k.stride * e
    if s.kind == LSTM:
        s.cell.lstm_step(&f)
    elif s.kind == GRU:
        s.cell.gru_step(&f)
    else:
        s.cell.rnn_step(&f)


cdef void step_parts(const Layer* l, const Walk* w, const Chunk* k, int64_t next, char* h, char* h0, char* scratch) noexcept nogil:
    """The products into an array of sums, then the cell."""
    cdef const Sequence* s = &l.s
    cdef int64_t e = s.element, fresh = w.active - w.carried
    cdef char* sums = scratch
    cdef char* hidden
    if l.span == 1:
        input_side(l, k, w.active, x_at(s, w.base + w.start), s.I, sums)
    else:
        sums = k.sums + group_row(l, w, k) * k.columns * e
    hidden = scratch + l.sums_bytes if s.kind == GRU else sums
    if l.shares > 1 and w.carried:
        hidden_side_shared(l, w, k, h, s.h_stride, hidden)
    else:
        hidden_side(l, w, k, w.carried, h, s.h_stride, hidden)
    hidden_side(l, w, k, fresh, h0, s.P, hidden + w.carried * k.columns * e)
    cells(l, w, k, 0, w.carried, next, sums, hidden)
    cells(l, w, k, w.carried, fresh, next, sums, hidden)


cdef int64_t group_row(const Layer* l, const Walk* w, const Chunk* k) noexcept nogil:
    """Where the step's rows lie among the sums of its group of steps; the first step of a group to come has them made."""
    cdef const Sequence* s = &l.s
    cdef int64_t first, end, before = 0, rows = 0, t
    if l.streams:
        if w.step == 0:
            input_side(l, k, FN_CELL_AHEAD, rows_ahead(s, 0), -s.I if s.reverse else s.I, k.sums)
        t = w.step // FN_CELL_AHEAD
        return t % 2 * FN_CELL_AHEAD + w.step - first_ahead(s, t)
    first = w.t // l.span * l.span
    end = min(first + l.span, s.T)
    if s.sizes == NULL:
        before, rows = (w.t - first) * s.B, (end - first) * s.B
    else:
        for t in range(first, end):
            if t < w.t:
                before += s.sizes[t]
            rows += s.sizes[t]
    if w.t == (end - 1 if s.reverse else first):
        input_side(l, k, rows, x_at(s, w.base - before), s.I, k.sums)
    return before


cdef void cells(const Layer* l, const Walk* w, const Chunk* k, int64_t offset, int64_t M, int64_t next, char* sums,
                char* hidden) noexcept nogil:
    """The cell on M rows of the block from `offset` on: all of them carried, or all fresh."""
    cdef const Sequence* s = &l.s
    cdef fn_cell_rows r
    if M == 0:
        return
    r = rows_of(l, w, k, offset, M)
    offset *= k.columns * s.element
    r.sums, r.hidden, r.rs_sums = sums + offset, hidden + offset, k.columns
    if l.streams:               # the next step waits for W_hh
        r.near = l.panels + next * l.panel_bytes + s.I * k.stride * s.element
        r.near_lines = min(s.P * k.stride * s.element, NEAR_BYTES) // 64 * s.lanes // k.n
    if s.kind == LSTM:
        s.cell.lstm(&r)
    elif s.kind == GRU:
        s.cell.gru(&r)
    else:
        s.cell.rnn(&r)


cdef fn_cell_rows rows_of(const Layer* l, const Walk* w, const Chunk* k, int64_t offset, int64_t M) noexcept nogil:
    """What the cell reads and writes, but for the sums."""
    cdef const Sequence* s = &l.s
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, row = w.base + w.start + offset, at = w.start + offset, before = w.before + w.start + offset
    cdef bint carried = offset < w.carried
    cdef fn_cell_rows r
    memset(&r, 0, sizeof(r))
    r.M, r.n, r.width, r.relu = M, k.n, s.H, s.kind == RNN_RELU
    if call.slot[GATES] != NULL:
        r.gates, r.rs_gates = <char*>call.slot[GATES] + (row * s.gates * s.H + k.first) * e, s.gates * s.H
    r.h, r.rs_h = <char*>call.slot[H] + (row * s.h_stride + k.first) * e, s.h_stride
    if s.kind == LSTM:
        if call.slot[PROJECTION] != NULL:
            r.h, r.rs_h = <char*>call.slot[UNPROJECTED] + (row * s.H + k.first) * e, s.H
        if call.slot[C] != NULL:
            r.state = <char*>call.slot[C] + (row * s.H + k.first) * e
            r.before = <char*>call.slot[C] + (before * s.H + k.first) * e
        else:                           # nobody will ask for all of c: the last one is kept up to date
            r.before = r.state = <char*>call.slot[C_LAST] + (at * s.H + k.first) * e
        if not carried:
            r.before = <char*>call.slot[C0] + (at * s.H + k.first) * e
        r.rs_state = r.rs_before = s.H
    elif s.kind == GRU:
        if call.slot[C] != NULL:
            r.state, r.rs_state = <char*>call.slot[C] + (row * s.H + k.first) * e, s.H
        if carried:
            r.before, r.rs_before = <char*>call.slot[H] + (before * s.h_stride + k.first) * e, s.h_stride
        else:
            r.before, r.rs_before = <char*>call.slot[H0] + (at * s.P + k.first) * e, s.P
    return r


cdef void keep_last(const Sequence* s, const Walk* w, int64_t first, int64_t n) noexcept nogil:
    """Copy h and c of the rows whose last step this is, units from `first` on."""
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, b, ended = 0, at, row
    if not s.reverse and w.t + 1 < s.T:
        ended = clamp(rows_at(s, w.t + 1) - w.start, w.active)
    elif s.reverse and w.t:
        ended = w.active
    for b in range(ended, w.active):
        at, row = w.start + b, w.base + w.start + b
        memcpy(<char*>call.slot[H_LAST] + (at * s.P + first) * e, <char*>call.slot[H] + (row * s.h_stride + first) * e,
               min(n, s.P - first) * e)      # one piece of all P with a projection
        if s.kind == LSTM and call.slot[C] != NULL:
            memcpy(<char*>call.slot[C_LAST] + (at * s.H + first) * e, <char*>call.slot[C] + (row * s.H + first) * e, n * e)


cdef void project_args(const Layer* l, gemm_args* g) noexcept nogil:
    cdef const Sequence* s = &l.s
    memset(g, 0, sizeof(gemm_args))
    g.M, g.N, g.K = s.rows, s.P, s.H
    g.rsA, g.csA, g.rsC, g.csC = s.H, 1, s.h_stride, 1
    g.B, g.rsB, g.csB = s.call.slot[PROJECTION], s.call.size[P_COLUMN], s.call.size[P_ROW]
    if l.projection != NULL:
        g.B, g.packed = l.projection, True


cdef void project(const Layer* l, const Walk* w, char* scratch) noexcept nogil:
    """h = W_hr (o tanh c)"""
    cdef const Sequence* s = &l.s
    cdef int64_t row = w.base + w.start
    cdef gemm_args g
    if w.active == 0:
        return
    project_args(l, &g)
    g.M = w.active
    g.A = <char*>s.call.slot[UNPROJECTED] + row * s.H * s.element
    g.C = <char*>s.call.slot[H] + row * s.h_stride * s.element
    gemm_serial(s.dtype, &g, scratch)
    keep_last(s, w, 0, s.H)
