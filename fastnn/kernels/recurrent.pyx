"""Whole sequences of recurrent cells: one call per layer and direction, forward and backward.

Rows of all time steps lie one after the other: step t has batch_sizes[t] rows (all B without packing; fewer at the end of
packed sequences, sorted by length).  The sums of the input side are in `gates` already, made by one matrix product over
all steps; here each step adds the product with the state before, and a cell row turns sums into states.

The batch is cut into blocks of rows, each run through all of time by one thread: no barrier between steps.  The cut
depends on shapes alone.  The hidden weight is packed once per call, unless the sequence is too short to pay for it.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.gemm cimport gemm_args, gemm_pack_b, gemm_packed_bytes, gemm_scratch, gemm_serial
from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_cell_table:
        void (*rnn)(int64_t H, int relu, const void* gates, void* h) noexcept nogil
        void (*rnn_gradient)(int64_t H, int relu, const void* h, const void* dh, void* dgates) noexcept nogil
        void (*lstm)(int64_t H, void* gates, const void* c_before, void* c, void* h) noexcept nogil
        void (*lstm_gradient)(int64_t H, const void* gates, const void* c_before, const void* c, const void* dh, void* dc,
                              void* dgates) noexcept nogil
        void (*gru)(int64_t H, void* gates, const void* hidden, const void* h_before, void* h, void* hidden_n) noexcept nogil
        void (*gru_gradient)(int64_t H, const void* gates, const void* hidden_n, const void* h_before, void* dh, void* dgates,
                             void* dhidden) noexcept nogil
        void (*add)(int64_t n, const void* x, void* y) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_cell_table* cell[2]

cdef enum Kind:
    RNN_TANH, RNN_RELU, LSTM, GRU

# size[]: what the calls share
cdef enum:
    KIND, STEPS, BATCH, HIDDEN, OUT_WIDTH, REVERSE, H_STRIDE, W_ROW, W_COLUMN, P_ROW, P_COLUMN, PACKED_ROWS

cdef enum:
    FEW_ROWS = 8                # products per weight below which packing does not pay
    SMALL_BLOCK = 16
    LARGE_BLOCK = 32
    LARGE_WEIGHT = 512 * 1024   # bytes: then a block of more rows reads it less often

cdef struct Sequence:
    const fn_cell_table* cell
    fn_call* call
    int dtype, kind
    int64_t element, T, B, H, P, gates          # P: width of h; gates: width of the sums
    bint reverse
    int64_t h_stride
    const int64_t* sizes                        # rows of each step, NULL: B
    int64_t rows_per_block, blocks
    const void* weight                          # packed, or NULL
    const void* projection                      # packed, or NULL
    int64_t worker_bytes
    char* workers


cdef inline int64_t rows_at(const Sequence* s, int64_t t) noexcept nogil:
    return s.B if s.sizes == NULL else s.sizes[t]


cdef inline int64_t clamp(int64_t value, int64_t high) noexcept nogil:
    return 0 if value < 0 else high if value > high else value


cdef inline int64_t round_up(int64_t bytes) noexcept nogil:
    return (bytes + 63) // 64 * 64


cdef void describe(Sequence* s, fn_call* call, int sizes_slot) noexcept nogil:
    cdef int64_t weight_bytes
    s.call = call
    s.dtype = call.dtype
    s.cell = (<const tables*>table).cell[1 if call.dtype == FN_F64 else 0]
    s.element = 8 if call.dtype == FN_F64 else 4
    s.kind, s.T, s.B, s.H = call.size[KIND], call.size[STEPS], call.size[BATCH], call.size[HIDDEN]
    s.P, s.reverse, s.h_stride = call.size[OUT_WIDTH], call.size[REVERSE], call.size[H_STRIDE]
    s.gates = s.H * (4 if s.kind == LSTM else 3 if s.kind == GRU else 1)
    s.sizes = <const int64_t*>call.slot[sizes_slot]
    weight_bytes = s.gates * s.P * s.element
    s.rows_per_block = LARGE_BLOCK if weight_bytes > LARGE_WEIGHT else SMALL_BLOCK
    s.blocks = max(1, s.B // s.rows_per_block)
    s.rows_per_block = (s.B + s.blocks - 1) // s.blocks
    s.blocks = (s.B + s.rows_per_block - 1) // s.rows_per_block if s.rows_per_block else 0
    s.weight = s.projection = NULL


cdef inline bint packs(const Sequence* s) noexcept nogil:
    return s.T * s.rows_per_block >= FEW_ROWS


cdef void product(const Sequence* s, int64_t M, int64_t N, int64_t K, const void* a, int64_t rsa, const void* b, int64_t rsb,
                  int64_t csb, const void* packed, void* c, int64_t rsc, bint accumulate, const void* bias,
                  void* scratch) noexcept nogil:
    """c (+)= a b (+ bias) inside a block."""
    cdef gemm_args g
    if M <= 0:
        return
    memset(&g, 0, sizeof(g))
    g.M, g.N, g.K = M, N, K
    g.A, g.rsA, g.csA = a, rsa, 1
    g.B, g.rsB, g.csB = b, rsb, csb
    if packed != NULL:
        g.B, g.packed = packed, True
    g.C, g.rsC, g.csC = c, rsc, 1
    g.accumulate = accumulate
    g.bias = bias
    gemm_serial(s.dtype, &g, scratch)


cdef int64_t product_scratch(const Sequence* s, int64_t N, int64_t K, int64_t rsb, int64_t csb) noexcept nogil:
    cdef gemm_args g
    memset(&g, 0, sizeof(g))
    g.M, g.N, g.K = s.rows_per_block, N, K
    g.rsA, g.csA, g.rsB, g.csB, g.rsC, g.csC = K, 1, rsb, csb, N, 1
    return round_up(gemm_scratch(s.dtype, &g, 1))


cdef inline int64_t largest(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


# ---- forward -----------------------------------------------------------------------------------------------------
# Slots: gates sums in, activated gates out; h, c per row; unprojected: o tanh(c) before an LSTM's projection.
cdef enum:
    F_GATES, F_WEIGHT, F_BIAS, F_H0, F_C0, F_PROJECTION, F_SIZES, F_H, F_C, F_H_LAST, F_C_LAST, F_UNPROJECTED


cdef int64_t forward_scratch(const fn_call* call) noexcept nogil:
    cdef Sequence s
    describe(&s, <fn_call*>call, F_SIZES)
    return weights_bytes(&s, call) + call.threads * forward_worker(&s, call)


cdef int64_t weights_bytes(const Sequence* s, const fn_call* call) noexcept nogil:
    cdef int64_t bytes = 0
    if packs(s):
        bytes = round_up(gemm_packed_bytes(s.dtype, s.P, s.gates))
        if call.slot[F_PROJECTION] != NULL:
            bytes += round_up(gemm_packed_bytes(s.dtype, s.H, s.P))
    return bytes


cdef int64_t forward_worker(const Sequence* s, const fn_call* call) noexcept nogil:
    """Scratch of one thread: a GRU's hidden sums of a block, and what the products want."""
    cdef int64_t bytes = product_scratch(s, s.gates, s.P, call.size[W_COLUMN], call.size[W_ROW])
    if call.slot[F_PROJECTION] != NULL:
        bytes = largest(bytes, product_scratch(s, s.P, s.H, call.size[P_COLUMN], call.size[P_ROW]))
    return bytes + round_up(s.rows_per_block * s.gates * s.element)


cdef void forward(fn_call* call) noexcept nogil:
    cdef Sequence s
    cdef char* scratch = <char*>call.scratch
    describe(&s, call, F_SIZES)
    if packs(&s):
        gemm_pack_b(s.dtype, s.P, s.gates, call.slot[F_WEIGHT], call.size[W_COLUMN], call.size[W_ROW], scratch)
        s.weight = scratch
        scratch += round_up(gemm_packed_bytes(s.dtype, s.P, s.gates))
        if call.slot[F_PROJECTION] != NULL:
            gemm_pack_b(s.dtype, s.H, s.P, call.slot[F_PROJECTION], call.size[P_COLUMN], call.size[P_ROW], scratch)
            s.projection = scratch
            scratch += round_up(gemm_packed_bytes(s.dtype, s.H, s.P))
    s.workers = scratch
    s.worker_bytes = forward_worker(&s, call)
    parallel(s.blocks, threads_for(call), forward_block, &s)


cdef void forward_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Sequence* s = <Sequence*>context
    cdef int64_t start = block * s.rows_per_block, step, t, base = 0, base_before = 0, active, carried
    cdef int64_t most = clamp(s.B - start, s.rows_per_block)
    if s.reverse:
        for t in range(s.T):
            base += rows_at(s, t)
    for step in range(s.T):
        t = s.T - 1 - step if s.reverse else step
        if s.reverse:
            base -= rows_at(s, t)
        active = clamp(rows_at(s, t) - start, most)
        carried = 0
        if step:
            carried = clamp(rows_at(s, t + 1 if s.reverse else t - 1) - start, active)
        if active:
            forward_step(s, t, start, base + start, base_before + start, active, carried,
                         s.workers + worker * s.worker_bytes)
        base_before = base
        if not s.reverse:
            base += rows_at(s, t)


cdef void forward_step(Sequence* s, int64_t t, int64_t start, int64_t row, int64_t before, int64_t active, int64_t carried,
                       char* scratch) noexcept nogil:
    """One time step of one block: `carried` rows have a state from the step before, the others start from h0, c0."""
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, b
    cdef char* gates = <char*>call.slot[F_GATES] + row * s.gates * e
    cdef char* h = <char*>call.slot[F_H]
    cdef char* h0 = <char*>call.slot[F_H0] + start * s.P * e
    cdef char* sums = gates
    cdef bint gru = s.kind == GRU
    cdef const void* bias = call.slot[F_BIAS] if gru else NULL
    cdef char* state_before
    cdef char* h_row
    cdef char* c_row
    cdef int64_t offset
    if gru:
        sums = scratch
        scratch += round_up(s.rows_per_block * s.gates * e)
    product(s, carried, s.gates, s.P, h + before * s.h_stride * e, s.h_stride, call.slot[F_WEIGHT], call.size[W_COLUMN],
            call.size[W_ROW], s.weight, sums, s.gates, not gru, bias, scratch)
    product(s, active - carried, s.gates, s.P, h0 + carried * s.P * e, s.P, call.slot[F_WEIGHT], call.size[W_COLUMN],
            call.size[W_ROW], s.weight, sums + carried * s.gates * e, s.gates, not gru, bias, scratch)
    for b in range(active):
        h_row = h + (row + b) * s.h_stride * e
        if s.kind == LSTM:
            c_row = <char*>call.slot[F_C] + (row + b) * s.H * e
            state_before = (<char*>call.slot[F_C] + (before + b) * s.H * e if b < carried
                            else <char*>call.slot[F_C0] + (start + b) * s.H * e)
            if call.slot[F_PROJECTION] != NULL:
                h_row = <char*>call.slot[F_UNPROJECTED] + (row + b) * s.H * e
            s.cell.lstm(s.H, gates + b * s.gates * e, state_before, c_row, h_row)
        elif gru:
            state_before = h + (before + b) * s.h_stride * e if b < carried else h0 + b * s.P * e
            s.cell.gru(s.H, gates + b * s.gates * e, sums + b * s.gates * e, state_before, h_row,
                       <char*>call.slot[F_C] + (row + b) * s.H * e)
        else:
            s.cell.rnn(s.H, s.kind == RNN_RELU, gates + b * s.gates * e, h_row)
    if call.slot[F_PROJECTION] != NULL:
        product(s, active, s.P, s.H, <char*>call.slot[F_UNPROJECTED] + row * s.H * e, s.H, call.slot[F_PROJECTION],
                call.size[P_COLUMN], call.size[P_ROW], s.projection, h + row * s.h_stride * e, s.h_stride, False, NULL, scratch)
    # The rows whose last step this is.
    offset = 0
    if not s.reverse and t + 1 < s.T:
        offset = clamp(rows_at(s, t + 1) - start, active)
    elif s.reverse and t:
        offset = active
    for b in range(offset, active):
        memcpy(<char*>call.slot[F_H_LAST] + (start + b) * s.P * e, h + (row + b) * s.h_stride * e, s.P * e)
        if s.kind == LSTM:
            memcpy(<char*>call.slot[F_C_LAST] + (start + b) * s.H * e, <char*>call.slot[F_C] + (row + b) * s.H * e, s.H * e)


# ---- backward ----------------------------------------------------------------------------------------------------
# Slots: gates activated; dgates: gradients of the sums; dh: gradient of h per row or absent; dhidden: a GRU's hidden sums;
# dh_total: with a projection, the whole gradient of h per row.
cdef enum:
    B_GATES, B_WEIGHT, B_H0, B_C0, B_PROJECTION, B_SIZES, B_H, B_C, B_DH, B_DH_LAST, B_DC_LAST
    B_DH0, B_DC0, B_DGATES, B_DHIDDEN, B_DH_TOTAL

# B_DH may have rows apart by another stride
cdef enum:
    DH_STRIDE = 12


cdef int64_t backward_scratch(const fn_call* call) noexcept nogil:
    cdef Sequence s
    describe(&s, <fn_call*>call, B_SIZES)
    return backward_weights(&s, call) + call.threads * backward_worker(&s, call)


cdef int64_t backward_weights(const Sequence* s, const fn_call* call) noexcept nogil:
    cdef int64_t bytes = 0
    if packs(s):
        bytes = round_up(gemm_packed_bytes(s.dtype, s.gates, s.P))
        if call.slot[B_PROJECTION] != NULL:
            bytes += round_up(gemm_packed_bytes(s.dtype, s.P, s.H))
    return bytes


cdef int64_t backward_worker(const Sequence* s, const fn_call* call) noexcept nogil:
    """Per thread and block row: the gradient of h so far, of c so far, and of the unprojected h."""
    cdef int64_t bytes = product_scratch(s, s.P, s.gates, call.size[W_ROW], call.size[W_COLUMN])
    if call.slot[B_PROJECTION] != NULL:
        bytes = largest(bytes, product_scratch(s, s.H, s.P, call.size[P_ROW], call.size[P_COLUMN]))
    return bytes + round_up(s.rows_per_block * s.P * s.element) + 2 * round_up(s.rows_per_block * s.H * s.element)


cdef void backward(fn_call* call) noexcept nogil:
    cdef Sequence s
    cdef char* scratch = <char*>call.scratch
    describe(&s, call, B_SIZES)
    if packs(&s):
        gemm_pack_b(s.dtype, s.gates, s.P, call.slot[B_WEIGHT], call.size[W_ROW], call.size[W_COLUMN], scratch)
        s.weight = scratch
        scratch += round_up(gemm_packed_bytes(s.dtype, s.gates, s.P))
        if call.slot[B_PROJECTION] != NULL:
            gemm_pack_b(s.dtype, s.P, s.H, call.slot[B_PROJECTION], call.size[P_ROW], call.size[P_COLUMN], scratch)
            s.projection = scratch
            scratch += round_up(gemm_packed_bytes(s.dtype, s.P, s.H))
    s.workers = scratch
    s.worker_bytes = backward_worker(&s, call)
    parallel(s.blocks, threads_for(call), backward_block, &s)


cdef void backward_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Sequence* s = <Sequence*>context
    cdef int64_t start = block * s.rows_per_block, step, t, base = 0, before, active, carried, begun = 0
    cdef int64_t most = clamp(s.B - start, s.rows_per_block)
    cdef bint first
    if not s.reverse:
        for t in range(s.T):
            base += rows_at(s, t)
    for step in range(s.T):
        t = step if s.reverse else s.T - 1 - step
        if not s.reverse:
            base -= rows_at(s, t)
        active = clamp(rows_at(s, t) - start, most)
        first = t == s.T - 1 if s.reverse else t == 0      # the first step of the forward run
        carried = 0
        before = base
        if not first:
            carried = clamp(rows_at(s, t + 1 if s.reverse else t - 1) - start, active)
            before = base + rows_at(s, t) if s.reverse else base - rows_at(s, t - 1)
        if active:
            backward_step(s, start, base + start, before + start, active, carried, begun, s.workers + worker * s.worker_bytes)
            begun = largest(begun, active)
        if s.reverse:
            base += rows_at(s, t)


cdef void copy_or_zero(char* target, const void* source, int64_t offset, int64_t bytes) noexcept nogil:
    if source == NULL:
        memset(target, 0, bytes)
    else:
        memcpy(target, <const char*>source + offset, bytes)


cdef void backward_step(Sequence* s, int64_t start, int64_t row, int64_t before, int64_t active, int64_t carried, int64_t begun,
                        char* scratch) noexcept nogil:
    """One step of one block, against time.  Rows from `begun` on come in here: with the gradient of their last state."""
    cdef fn_call* call = s.call
    cdef int64_t e = s.element, b, h_bytes = s.P * e, c_bytes = s.H * e
    cdef char* gates = <char*>call.slot[B_GATES] + row * s.gates * e
    cdef char* dgates = <char*>call.slot[B_DGATES] + row * s.gates * e
    cdef char* dh = scratch
    cdef char* dc = dh + round_up(s.rows_per_block * h_bytes)
    cdef char* du = dc + round_up(s.rows_per_block * c_bytes)
    cdef char* up = dh
    cdef char* state_before
    scratch = du + round_up(s.rows_per_block * c_bytes)
    for b in range(begun, active):
        copy_or_zero(dh + b * h_bytes, call.slot[B_DH_LAST], (start + b) * h_bytes, h_bytes)
        if s.kind == LSTM:
            copy_or_zero(dc + b * c_bytes, call.slot[B_DC_LAST], (start + b) * c_bytes, c_bytes)
    if call.slot[B_DH] != NULL:
        for b in range(active):
            s.cell.add(s.P, <char*>call.slot[B_DH] + (row + b) * call.size[DH_STRIDE] * e, dh + b * h_bytes)
    if call.slot[B_PROJECTION] != NULL:
        memcpy(<char*>call.slot[B_DH_TOTAL] + row * h_bytes, dh, active * h_bytes)
        product(s, active, s.H, s.P, dh, s.P, call.slot[B_PROJECTION], call.size[P_ROW], call.size[P_COLUMN], s.projection, du,
                s.H, False, NULL, scratch)
        up = du
    for b in range(active):
        if s.kind == LSTM:
            state_before = (<char*>call.slot[B_C] + (before + b) * c_bytes if b < carried
                            else <char*>call.slot[B_C0] + (start + b) * c_bytes)
            s.cell.lstm_gradient(s.H, gates + b * s.gates * e, state_before, <char*>call.slot[B_C] + (row + b) * c_bytes,
                                 up + b * c_bytes, dc + b * c_bytes, dgates + b * s.gates * e)
        elif s.kind == GRU:
            state_before = (<char*>call.slot[B_H] + (before + b) * s.h_stride * e if b < carried
                            else <char*>call.slot[B_H0] + (start + b) * h_bytes)
            s.cell.gru_gradient(s.H, gates + b * s.gates * e, <char*>call.slot[B_C] + (row + b) * c_bytes, state_before,
                                dh + b * h_bytes, dgates + b * s.gates * e, <char*>call.slot[B_DHIDDEN] + (row + b) * s.gates * e)
        else:
            s.cell.rnn_gradient(s.H, s.kind == RNN_RELU, <char*>call.slot[B_H] + (row + b) * s.h_stride * e, dh + b * h_bytes,
                                dgates + b * s.gates * e)
    if s.kind == GRU:
        dgates = <char*>call.slot[B_DHIDDEN] + row * s.gates * e
    product(s, active, s.P, s.gates, dgates, s.gates, call.slot[B_WEIGHT], call.size[W_ROW], call.size[W_COLUMN], s.weight, dh, s.P,
            s.kind == GRU, NULL, scratch)
    # The rows that started from h0, c0 here: their gradients are complete.
    for b in range(carried, active):
        memcpy(<char*>call.slot[B_DH0] + (start + b) * h_bytes, dh + b * h_bytes, h_bytes)
        if s.kind == LSTM:
            memcpy(<char*>call.slot[B_DC0] + (start + b) * c_bytes, dc + b * c_bytes, c_bytes)


cdef fn_kernel RECURRENT, RECURRENT_GRADIENT
declare(&RECURRENT, "recurrent",
        "gates:state weight:in bias:in h0:in c0:in projection:in sizes:in h:out c:out h_last:out c_last:out unprojected:out",
        forward, forward_scratch)
declare(&RECURRENT_GRADIENT, "recurrent_gradient",
        "gates:in weight:in h0:in c0:in projection:in sizes:in h:in c:in dh:in dh_last:in dc_last:in dh0:out dc0:out dgates:out "
        "dhidden:out dh_total:out", backward, backward_scratch)
