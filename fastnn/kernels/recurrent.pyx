"""Whole sequences of recurrent cells, forward: one call per layer and direction.

Rows of all time steps lie one after the other: step t has batch_sizes[t] rows (all B without packing; fewer at the end of
packed sequences, sorted by length).

The hidden units are cut into chunks.  A chunk's columns of W_ih and W_hh, all gates side by side, are packed into one panel,
so that a step of a chunk is two products into a small array of sums, followed by the cell on these sums: nothing of it
leaves the first-level cache but what is to be kept.

Work is shared in one of two ways, by shape alone.  A batch of several blocks of rows: each block runs through all of time
on one thread, without a barrier.  One block of few rows: the threads share the chunks of every step (csrc/stages.h).
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.gemm cimport gemm_args, gemm_pack_b, gemm_packed_bytes, gemm_scratch, gemm_serial
from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for

cdef extern from "fastnn.h" nogil:
    ctypedef struct tables "fn_table":
        const fn_cell_table* cell[2]
        const fn_gemm_table* gemm[2]

cdef extern from "stages.h" nogil:
    ctypedef struct fn_part:
        pass
    void fn_parts_begin(fn_part* parts, int count)
    bint fn_part_claim(fn_part* part, int64_t stage)
    void fn_part_done(fn_part* part, int64_t stage)
    bint fn_part_ready(fn_part* part, int64_t stage)
    void fn_part_wait(fn_part* part, int64_t stage)
    ctypedef struct fn_row:
        pass
    bint fn_row_begin(fn_row* row)
    void fn_row_end(fn_row* row)

cdef enum:
    SMALL_BLOCK = 16
    LARGE_BLOCK = 32
    LARGE_WEIGHT = 512 * 1024   # bytes: then a block of more rows reads it less often
    DEEP = 512                  # rows of a panel that a strip goes through before the next tile comes to them
    FEW_ROWS = 16               # rows in all of a block below which packing the weights does not pay
    THIN_ROWS = 3               # up to here tiles are wide, and a step so short that the number of its chunks counts
    GROUP_ROWS = 24             # the input side is multiplied for so many rows at a time
    PACK_BYTES = 256 * 1024     # weights that are packed by more than one thread
    SINGLE_VECTORS = 2000       # a single step of fewer is over before a second thread has taken part
    PART_VECTORS = 1500         # multiply-adds of a vector, or reads, that are worth a thread's part of a step


cdef void describe(Sequence* s, fn_call* call, int sizes_slot) noexcept nogil:
    cdef int which = 1 if call.dtype == FN_F64 else 0
    s.call = call
    s.dtype = call.dtype
    s.cell = (<const tables*>table).cell[which]
    s.gemm = (<const tables*>table).gemm[which]
    s.lanes = s.gemm.lanes
    s.element = 8 if which else 4
    s.kind, s.T, s.B, s.H = call.size[KIND], call.size[STEPS], call.size[BATCH], call.size[HIDDEN]
    s.P, s.reverse, s.h_stride, s.I = call.size[OUT_WIDTH], call.size[REVERSE], call.size[H_STRIDE], call.size[INPUTS]
    s.gates = 4 if s.kind == LSTM else 3 if s.kind == GRU else 1
    s.sizes = <const int64_t*>call.slot[sizes_slot]
    s.rows = LARGE_BLOCK if s.gates * s.H * s.P * s.element > LARGE_WEIGHT else SMALL_BLOCK
    s.blocks = max(1, s.B // s.rows)
    s.rows = ceil_div(s.B, s.blocks)
    s.blocks = ceil_div(s.B, s.rows) if s.rows else 0


cdef void begin_walk(const Sequence* s, Walk* w, int64_t block) noexcept nogil:
    cdef int64_t t
    w.step = -1
    w.start = block * s.rows
    w.most = clamp(s.B - w.start, s.rows)
    w.base = w.before = 0
    if s.reverse:
        for t in range(s.T):
            w.base += rows_at(s, t)


cdef bint next_step(const Sequence* s, Walk* w) noexcept nogil:
    if w.step >= 0:
        w.before = w.base
        if not s.reverse:
            w.base += rows_at(s, w.t)
    w.step += 1
    if w.step >= s.T:
        return False
    w.t = s.T - 1 - w.step if s.reverse else w.step
    if s.reverse:
        w.base -= rows_at(s, w.t)
    w.active = clamp(rows_at(s, w.t) - w.start, w.most)
    w.carried = 0
    if w.step:
        w.carried = clamp(rows_at(s, w.t + 1 if s.reverse else w.t - 1) - w.start, w.active)
    return True


cdef void strip(const Sequence* s, int64_t M, int64_t N, int64_t K, const void* a, int64_t rsa, const void* b, int64_t rsb,
                bint padded, void* c, int64_t rsc, bint load, const void* bias) noexcept nogil:
    cdef fn_gemm_strip g
    cdef int64_t i, k
    if M <= 0:
        return
    memset(&g, 0, sizeof(g))
    g.M, g.n = M, N
    g.rsa, g.csa, g.rsb, g.csb, g.padded = rsa, 1, rsb, 1, padded
    g.c, g.rsc = c, rsc
    for i in range(max(1, ceil_div(K, DEEP))):
        k = i * DEEP
        g.K = min(K - k, DEEP)
        g.a = <const char*>a + k * s.element
        g.b = <const char*>b + k * rsb * s.element
        g.load = load or k > 0
        g.bias = bias if k + DEEP >= K else NULL
        s.gemm.strip(&g)


# ---- chunks of units ------------------------------------------------------------------------------------------------
# Slots: gates, c: what backward will want, NULL where there is none; unprojected: o tanh(c) before an LSTM's projection.
cdef enum:
    X, W_IH, W_HH, B_IH, B_HH, H0, C0, PROJECTION, SIZES, GATES, H, C, H_LAST, C_LAST, UNPROJECTED

cdef struct Layer:
    Sequence s
    bint packed
    int64_t units, chunks               # of a chunk; the last may have fewer
    int64_t span                        # steps whose input side is multiplied at once
    int64_t panel_bytes, sums_bytes, worker_bytes
    char* panels                        # per chunk: rows of W_ih, of W_hh, the bias of each side
    char* sums                          # per chunk, of `span` steps; with a span of one a worker's own scratch
    char* workers
    char* bias                          # of the input side: without packing; but for a GRU that of the hidden side is in it
    const void* projection              # packed, or NULL
    fn_part* parts                      # shares of the chunks in every step
    int64_t shares
    bint single                         # one step of few rows
    int threads

# A chunk: units from `first` on, their sums `columns` wide in rows of `stride`.
cdef struct Chunk:
    int64_t first, n, columns, stride
    char* panel
    char* sums


cdef void lay_out(Layer* l, fn_call* call) noexcept nogil:
    cdef Sequence* s = &l.s
    cdef int64_t widest, vectors
    cdef gemm_args g
    describe(s, call, SIZES)
    l.packed = (s.T * s.rows >= FEW_ROWS or call.size[I_ROW] != 1 or call.size[W_ROW] != 1) and s.rows > 0
    l.units = 4 * s.lanes
    if l.packed and s.gates > 1 and s.rows > THIN_ROWS:
        l.units = s.lanes
    elif l.packed and s.gates > 1 and s.H > l.units:        # an even number of chunks, alike
        l.units = ceil_div(ceil_div(s.H, 2 * ceil_div(s.H, 2 * l.units)), s.lanes) * s.lanes
    l.chunks = ceil_div(s.H, l.units)
    l.span = max(1, GROUP_ROWS // max(s.rows, 1)) if l.packed and s.blocks == 1 else 1
    widest = s.gates * l.units
    vectors = l.chunks * s.gates * (l.units // s.lanes) * s.P
    l.panel_bytes = aligned((s.I + s.P + 2) * widest * s.element) if l.packed else 0
    l.sums_bytes = aligned(l.span * s.rows * widest * s.element)
    l.worker_bytes = l.sums_bytes * (2 if s.kind == GRU else 1)
    if call.slot[PROJECTION] != NULL:
        l.projection = NULL
        project_args(l, &g)
        l.worker_bytes += aligned(gemm_scratch(s.dtype, &g, 1))
    l.threads = threads_for(call)
    l.shares = 0
    l.single = s.T == 1 and not l.packed and call.slot[PROJECTION] == NULL and vectors > SINGLE_VECTORS
    if l.single:
        l.threads = call.threads
    elif s.blocks == 1 and call.slot[PROJECTION] == NULL:
        l.shares = max(1, min(s.rows * vectors // PART_VECTORS, min(l.threads, l.chunks)))


cdef int64_t forward_scratch(const fn_call* call) noexcept nogil:
    cdef Layer l
    lay_out(&l, <fn_call*>call)
    return give_scratch(&l, NULL)


cdef int64_t give_scratch(Layer* l, char* scratch) noexcept nogil:
    """Lay the arrays of a call one after the other; returns their bytes."""
    cdef const Sequence* s = &l.s
    cdef char* end = scratch
    l.panels = end
    end += l.chunks * l.panel_bytes
    l.projection = NULL
    if s.call.slot[PROJECTION] != NULL and l.packed:
        l.projection = end
        end += aligned(gemm_packed_bytes(s.dtype, s.H, s.P))
    l.bias = NULL
    if s.call.slot[B_IH] != NULL and not l.packed:
        l.bias = end
        end += aligned(s.gates * s.H * s.element)
    l.sums = end
    if l.span > 1:
        end += l.chunks * l.sums_bytes
    l.parts = <fn_part*>end
    end += l.shares * <int64_t>sizeof(fn_part)
    l.workers = end
    return end + l.threads * l.worker_bytes - scratch


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
cdef void input_side(const Layer* l, const Chunk* k, int64_t M, int64_t row, char* sums) noexcept nogil:
    """sums = x W_ih' and its bias, for M rows."""
    cdef const Sequence* s = &l.s
    cdef char* x = <char*>s.call.slot[X] + row * s.I * s.element
    if l.packed:
        strip(s, M, k.columns, s.I, x, s.I, k.panel, k.stride, True, sums, k.columns, False,
              NULL if s.call.slot[B_IH] == NULL else k.panel + (s.I + s.P) * k.stride * s.element)
    else:
        unpacked(l, k, M, s.I, x, s.I, W_IH, 0, l.bias, False, sums)


cdef void hidden_side(const Layer* l, const Chunk* k, int64_t M, char* h, int64_t stride, char* sums) noexcept nogil:
    """sums += h W_hh'; a GRU's have an array and a bias of their own."""
    hidden_units(l, k, M, 0, l.s.P, h, stride, sums)


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
        hidden_units(l, k, w.carried, first, end, h, stride, sums)
        first = end


cdef void hidden_units(const Layer* l, const Chunk* k, int64_t M, int64_t first, int64_t end, char* h, int64_t stride,
                       char* sums) noexcept nogil:
    """What h's units `first` to `end` add to the sums."""
    cdef const Sequence* s = &l.s
    cdef bint own = s.kind == GRU, load = not own or first > 0
    cdef const char* bias = NULL
    h += first * s.element
    if l.packed:
        if own and end == s.P and s.call.slot[B_HH] != NULL:
            bias = k.panel + (s.I + s.P + 1) * k.stride * s.element
        strip(s, M, k.columns, end - first, h, stride, k.panel + (s.I + first) * k.stride * s.element, k.stride, True, sums, k.columns,
              load, bias)
    else:
        if own and end == s.P:
            bias = <const char*>s.call.slot[B_HH]
        unpacked(l, k, M, end - first, h, stride, W_HH, first, bias, load, sums)


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


cdef void step_chunk(const Layer* l, const Walk* w, int64_t number, char* scratch) noexcept nogil:
    """`carried` rows have a state from the step before, the others start from h0, c0."""
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
        step_rows(l, w, &k, 0, w.carried, h, s.h_stride)
        step_rows(l, w, &k, w.carried, fresh, h0, s.P)
    else:
        step_parts(l, w, &k, h, h0, scratch)
    if call.slot[PROJECTION] == NULL:
        keep_last(s, w, k.first, k.n)


cdef bint whole_step(const Layer* l, const Walk* w, const Chunk* k) noexcept nogil:
    """Products and cell in one: a panel four vectors wide, rows that fill its tiles."""
    cdef const Sequence* s = &l.s
    cdef int64_t least = s.cell.step_rows
    return (l.packed and l.span == 1 and l.shares <= 1 and s.kind != GRU and k.columns == 4 * s.lanes
            and (w.carried == 0 or w.carried >= least) and (w.carried == w.active or w.active - w.carried >= least))


cdef void step_rows(const Layer* l, const Walk* w, const Chunk* k, int64_t offset, int64_t M, char* h, int64_t stride) noexcept nogil:
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
    f.bias = NULL if s.call.slot[B_IH] == NULL else k.panel + (s.I + s.P) * k.stride * e
    if s.kind == LSTM:
        s.cell.lstm_step(&f)
    else:
        s.cell.rnn_step(&f)


cdef void step_parts(const Layer* l, const Walk* w, const Chunk* k, char* h, char* h0, char* scratch) noexcept nogil:
    """The products into an array of sums, then the cell."""
    cdef const Sequence* s = &l.s
    cdef int64_t e = s.element, fresh = w.active - w.carried
    cdef char* sums = scratch
    cdef char* hidden
    if l.span == 1:
        input_side(l, k, w.active, w.base + w.start, sums)
    else:
        sums = k.sums + group_row(l, w, k) * k.columns * e
    hidden = scratch + l.sums_bytes if s.kind == GRU else sums
    if l.shares > 1 and w.carried:
        hidden_side_shared(l, w, k, h, s.h_stride, hidden)
    else:
        hidden_side(l, k, w.carried, h, s.h_stride, hidden)
    hidden_side(l, k, fresh, h0, s.P, hidden + w.carried * k.columns * e)
    cells(l, w, k, 0, w.carried, sums, hidden)
    cells(l, w, k, w.carried, fresh, sums, hidden)


cdef int64_t group_row(const Layer* l, const Walk* w, const Chunk* k) noexcept nogil:
    """Where the step's rows lie among the sums of its group of steps; the first step of a group to come has them made."""
    cdef const Sequence* s = &l.s
    cdef int64_t first = w.t // l.span * l.span, end = min(first + l.span, s.T), before = 0, rows = 0, t
    if s.sizes == NULL:
        before, rows = (w.t - first) * s.B, (end - first) * s.B
    else:
        for t in range(first, end):
            if t < w.t:
                before += s.sizes[t]
            rows += s.sizes[t]
    if w.t == (end - 1 if s.reverse else first):
        input_side(l, k, rows, w.base - before, k.sums)
    return before


cdef void cells(const Layer* l, const Walk* w, const Chunk* k, int64_t offset, int64_t M, char* sums, char* hidden) noexcept nogil:
    """The cell on M rows of the block from `offset` on: all of them carried, or all fresh."""
    cdef const Sequence* s = &l.s
    cdef fn_cell_rows r
    if M == 0:
        return
    r = rows_of(l, w, k, offset, M)
    offset *= k.columns * s.element
    r.sums, r.hidden, r.rs_sums = sums + offset, hidden + offset, k.columns
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


# ---- all steps ------------------------------------------------------------------------------------------------------
cdef void forward_block(void* context, int64_t block, int worker) noexcept nogil:
    """Some rows through all of time."""
    cdef Layer* l = <Layer*>context
    cdef char* scratch = l.workers + worker * l.worker_bytes
    cdef Walk w
    cdef int64_t number
    begin_walk(&l.s, &w, block)
    while next_step(&l.s, &w):
        for number in range(l.chunks):
            step_chunk(l, &w, number, scratch)
        if l.s.call.slot[PROJECTION] != NULL:
            project(l, &w, scratch + l.sums_bytes)


cdef void forward_together(void* context, int64_t own, int worker) noexcept nogil:
    """All rows through all of time: in every step its own share of the chunks, and those that nobody has taken.  Nobody waits at the
    end of a step, but in the next one where a share's h is needed (or its sums, where somebody else has begun it)."""
    cdef Layer* l = <Layer*>context
    cdef char* scratch = l.workers + worker * l.worker_bytes
    cdef Walk w
    cdef int64_t turn, share
    begin_walk(&l.s, &w, 0)
    while next_step(&l.s, &w):
        for turn in range(l.shares):
            share = (own + turn) % l.shares
            if fn_part_claim(&l.parts[share], w.step):
                fn_part_wait(&l.parts[share], w.step - 1)
                share_step(l, &w, share, scratch)
                fn_part_done(&l.parts[share], w.step)


cdef int64_t share_begin(const Layer* l, int64_t share) noexcept nogil:
    return share * l.chunks // l.shares


cdef void share_step(Layer* l, const Walk* w, int64_t share, char* scratch) noexcept nogil:
    """Chunks to and fro: what a step read last lies nearest to the next one."""
    cdef int64_t first = share_begin(l, share), end = share_begin(l, share + 1), i
    if w.step == 0 and l.packed:
        for i in range(first, end):
            pack_chunk(l, i, 0)
    for i in range(end - first):
        step_chunk(l, w, end - 1 - i if w.step % 2 else first + i, scratch)


cdef fn_row single_steps


cdef void forward_once(void* context, int64_t number, int worker) noexcept nogil:
    """One chunk of a single step."""
    cdef Layer* l = <Layer*>context
    cdef Walk w
    begin_walk(&l.s, &w, 0)
    next_step(&l.s, &w)
    step_chunk(l, &w, number, l.workers + worker * l.worker_bytes)


cdef void forward(fn_call* call) noexcept nogil:
    cdef Layer l
    lay_out(&l, call)
    give_scratch(&l, <char*>call.scratch)
    if l.bias != NULL:
        memcpy(l.bias, call.slot[B_IH], l.s.gates * l.s.H * l.s.element)
        if l.s.kind != GRU:
            l.s.cell.add(l.s.gates * l.s.H, call.slot[B_HH], l.bias)
    if l.single:
        if l.threads > 1 and fn_row_begin(&single_steps):
            parallel(l.chunks, l.threads, forward_once, &l)
            fn_row_end(&single_steps)
        else:
            parallel(l.chunks, 1, forward_once, &l)
        return
    if l.shares:
        fn_parts_begin(l.parts, l.shares)
        parallel(l.shares, l.threads, forward_together, &l)
        return
    if l.packed:
        parallel(l.chunks, l.threads if l.chunks * l.panel_bytes > PACK_BYTES else 1, pack_chunk, &l)
    if l.projection != NULL:
        gemm_pack_b(l.s.dtype, l.s.H, l.s.P, call.slot[PROJECTION], call.size[P_COLUMN], call.size[P_ROW], <char*>l.projection)
    parallel(l.s.blocks, l.threads, forward_block, &l)


cdef fn_kernel RECURRENT
declare(&RECURRENT, "recurrent",
        "x:in w_ih:in w_hh:in b_ih:in b_hh:in h0:in c0:in projection:in sizes:in gates:out h:out c:out h_last:out c_last:out "
        "unprojected:out", forward, forward_scratch)
