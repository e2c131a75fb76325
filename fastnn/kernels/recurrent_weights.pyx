"""Gradients of a recurrent layer's weights: sums over all steps of x' dgates, of (h before)' dgates, and of dgates alone.

One product with two operands on the left.  A task has some rows of both gradients, one below the other, and some strips of columns.
Its sums stay in the second-level cache, in rows close to each other; rows of x, h and dgates are brought there a few hundred at a
time, and read where they lie.  The row that was before each step lies in the output one step away, or in h0: nothing is put together
for it.

Where the machine multiplies by parts (gemm_parts.pxd) the gradients of wide layers are products like any other.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.gemm cimport gemm, gemm_args, gemm_scratch
from fastnn.kernels.gemm_parts cimport suits_parts
from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for
from fastnn.kernels.recurrent_walk cimport aligned, ceil_div, clamp, fn_gemm_strip, fn_gemm_table

cdef extern from "near.h" nogil:
    void fn_bring_near(const void* first, int64_t rows, int64_t stride, int64_t bytes)

cdef extern from "fastnn.h" nogil:
    ctypedef struct tables "fn_table":
        const fn_gemm_table* gemm[2]

# Slots: before: the layer's output, or with size WHOLE the state before every row; dhidden: of a GRU, the last OWN columns of the
# hidden side; the others are those of dgates.
# Gradients lie as (in, out).
cdef enum:
    X, BEFORE, H0, DGATES, DHIDDEN, DW_IH, DW_HH, DB_IH, DB_HH

cdef enum:
    ROWS, BATCH, INPUTS, WIDTH, COLUMNS, REVERSE, H_STRIDE, WHOLE, OWN

cdef enum:
    DEEP = 192                  # rows of x, h and dgates that are multiplied at a time
    TASKS = 8                   # so many at least, while pieces keep TILE_ROWS
    TILE_ROWS = 12
    PIECE_BYTES = 1280          # a column of sums of a task, and a row of them, at most: with the operands they fill half of the
    GROUP_BYTES = 1024          # second-level cache, and the operands, which come from beyond it, pass by less often
    FAR = 1024                  # bytes between rows of x or h from which on bringing them near pays
    LONG = 256                  # bytes of a row of a strip from which on it is read where it lies: four lines, as in gemm.pyx
    SLICE_ROWS = 12             # two tiles
    WIDE = 128                  # of h, from where on the packing of dgates, for either side, is little beside multiplying by parts

cdef float ONE_F = 1.0
cdef double ONE_D = 1.0

cdef struct Weights:
    fn_call* call
    const fn_gemm_table* gemm
    int64_t element, width, strips, pieces, group, groups
    int64_t panel_bytes, sums_stride, sums_bytes, worker_bytes
    int64_t rows, batch, inputs, hidden, columns
    int sides                   # 2 where the sides have gradients of their own: a task has one of them

# A task: rows `first` to `last` of both gradients, one below the other, of which `split` are of W_ih; strips `strip` to `end`.
cdef struct Task:
    bint hidden_only, biases
    int64_t first, last, split, strip, end
    char* panel                 # of dgates, where they are copied
    char* sums

# Rows of an operand that are brought near while `slices` more products run.
cdef struct Coming:
    const char* near
    int64_t rows, stride, bytes, slices

cdef struct Next:
    Coming x, h, dgates


cdef void lay_out(Weights* w, fn_call* call) noexcept nogil:
    cdef int which = 1 if call.dtype == FN_F64 else 0
    cdef int64_t rows
    w.call = call
    w.gemm = (<const tables*>table).gemm[which]
    w.element = 8 if which else 4
    w.rows, w.batch, w.columns = call.size[ROWS], call.size[BATCH], call.size[COLUMNS]
    w.inputs, w.hidden = call.size[INPUTS], call.size[WIDTH]
    w.width = w.gemm.columns_for(4)
    w.strips = ceil_div(w.columns, w.width)
    w.sides = 1 if call.slot[DHIDDEN] == NULL else 2
    rows = w.inputs + w.hidden if w.sides == 1 else max(w.inputs, w.hidden)
    w.pieces = max(1, min(ceil_div(TASKS, w.strips * w.sides), rows // TILE_ROWS), ceil_div(rows * w.element, PIECE_BYTES))
    w.group = max(1, min(w.strips * w.sides * w.pieces // TASKS, GROUP_BYTES // (w.width * w.element)))
    w.groups = ceil_div(w.strips, w.group)
    w.panel_bytes = w.width * DEEP * w.element
    w.sums_stride = w.group * w.width
    w.sums_bytes = ceil_div(rows, w.pieces) * w.sums_stride * w.element
    w.worker_bytes = w.panel_bytes + aligned(w.sums_bytes)


cdef int64_t weights_scratch(const fn_call* call) noexcept nogil:
    cdef Weights w
    cdef gemm_args whole, ones
    lay_out(&w, <fn_call*>call)
    if not by_parts(&w):
        return threads_for(call) * w.worker_bytes
    whole = product_args(&w, max(w.inputs, w.hidden), w.rows, NULL, 1, w.inputs)
    ones = product_args(&w, 1, w.rows, NULL, 0, 0)
    return max(gemm_scratch(call.dtype, &whole, threads_for(call)), gemm_scratch(call.dtype, &ones, threads_for(call)))


cdef void weights(fn_call* call) noexcept nogil:
    cdef Weights w
    lay_out(&w, call)
    if by_parts(&w):
        products(&w)
    else:
        parallel(w.groups * w.sides * w.pieces, threads_for(call), weights_task, &w)


# ---- as products -----------------------------------------------------------------------------------------------------
cdef gemm_args product_args(const Weights* w, int64_t M, int64_t K, const char* a, int64_t rsa, int64_t csa) noexcept nogil:
    """a's M columns and all columns of K rows of dgates."""
    cdef gemm_args g
    memset(&g, 0, sizeof(g))
    g.M, g.N, g.K, g.A, g.rsA, g.csA = M, w.columns, K, a, rsa, csa
    g.B, g.rsB, g.csB, g.rsC, g.csC = w.call.slot[DGATES], w.columns, 1, w.columns, 1
    return g


cdef bint by_parts(const Weights* w) noexcept nogil:
    cdef gemm_args g = product_args(w, w.hidden, w.rows, NULL, 1, w.hidden)
    return w.hidden >= WIDE and suits_parts(w.call.dtype, &g)


cdef void multiply_columns(const Weights* w, gemm_args* g, int64_t k, int64_t own, char* c) noexcept nogil:
    """Rows of dgates from row k on; the last `own` columns are those of dhidden."""
    cdef int64_t e = w.element
    g.N, g.rsB, g.B, g.C = w.columns - own, w.columns, <char*>w.call.slot[DGATES] + k * w.columns * e, c
    gemm(w.call.dtype, g, threads_for(w.call), w.call.scratch)
    if own:
        g.N, g.rsB, g.B, g.C = own, own, <char*>w.call.slot[DHIDDEN] + k * own * e, c + (w.columns - own) * e
        gemm(w.call.dtype, g, threads_for(w.call), w.call.scratch)


cdef void products(const Weights* w) noexcept nogil:
    cdef fn_call* call = w.call
    cdef int64_t k = 0, K, own = call.size[OWN] if w.sides == 2 else 0
    cdef gemm_args g = product_args(w, w.inputs, w.rows, <char*>call.slot[X], 1, w.inputs)
    multiply_columns(w, &g, 0, 0, <char*>call.slot[DW_IH])
    while k < w.rows:
        K = run_from(w, k)
        g = product_args(w, w.hidden, K, before(w, k), 1, state_stride(w, k))
        g.accumulate = k > 0
        multiply_columns(w, &g, k, own, <char*>call.slot[DW_HH])
        k += K
    if call.slot[DB_IH] == NULL:
        return
    g = product_args(w, 1, w.rows, <const char*>&ONE_F, 0, 0)
    multiply_columns(w, &g, 0, 0, <char*>call.slot[DB_IH])
    memcpy(call.slot[DB_HH], call.slot[DB_IH], w.columns * w.element)
    if own:
        multiply_columns(w, &g, 0, own, <char*>call.slot[DB_HH])


# ---- by tasks --------------------------------------------------------------------------------------------------------
cdef void weights_task(void* context, int64_t number, int worker) noexcept nogil:
    cdef Weights* w = <Weights*>context
    cdef int64_t piece = number // w.sides % w.pieces, group = number // w.sides // w.pieces, k = 0, K
    cdef int64_t begin = 0, end = w.inputs + w.hidden
    cdef Task t
    # Side by side: one may have many times the rows of the other, and a thread begins with a run of neighbouring tasks.
    t.hidden_only = w.sides == 2 and number % 2 == 0
    if t.hidden_only:
        begin = w.inputs
    elif w.sides == 2:
        end = w.inputs
    t.first, t.last = begin + (end - begin) * piece // w.pieces, begin + (end - begin) * (piece + 1) // w.pieces
    t.split = clamp(w.inputs - t.first, t.last - t.first)
    t.strip, t.end = group * w.group, min((group + 1) * w.group, w.strips)
    t.biases = piece == 0 and w.call.slot[DB_IH] != NULL
    t.panel = <char*>w.call.scratch + worker * w.worker_bytes
    t.sums = t.panel + w.panel_bytes
    while k < w.rows or k == 0:
        K = steps_from(w, k)
        add_steps(w, &t, k, K)
        k += max(K, 1)
    write_out(w, &t)


cdef void add_steps(const Weights* w, const Task* t, int64_t k, int64_t K) noexcept nogil:
    """Add what K rows, from row k on, give to all of the task's sums."""
    cdef fn_call* call = w.call
    cdef int64_t strip, column, slices, e = w.element
    cdef char* sums = t.sums
    cdef fn_gemm_strip x, h, s
    cdef Next next
    cdef int64_t deep = min(w.rows - k - K, DEEP), left = deep if far(w, w.inputs) or far(w, state_stride(w, k + K)) else 0
    memset(&s, 0, sizeof(s))
    s.K, s.load, s.csb, s.rsc = K, k > 0, 1, w.sums_stride
    x = h = s
    x.M, x.a, x.csa = t.split, <char*>call.slot[X] + (k * w.inputs + t.first) * e, w.inputs
    h.M, h.a, h.csa = t.last - t.first - t.split, before(w, k) + max(t.first - w.inputs, 0) * e, state_stride(w, k)
    slices = ceil_div(x.M, SLICE_ROWS) + ceil_div(h.M, SLICE_ROWS)
    will_come(&next.x, <const char*>x.a + K * x.csa * e, left, w.inputs * e, t.split * e, slices * (t.end - t.strip))
    will_come(&next.h, before(w, k + K) + max(t.first - w.inputs, 0) * e, left, state_stride(w, k + K) * e, h.M * e,
              slices * (t.end - t.strip))
    for strip in range(t.strip, t.end):
        column = strip * w.width
        s.n = min(w.width, w.columns - column)
        right_side(w, t, k, column, &s, &next.dgates)
        will_come(&next.dgates, next.dgates.near, deep, next.dgates.stride, s.n * e, slices)
        multiply(w, &s, &x, sums, &next)
        multiply(w, &s, &h, sums + t.split * w.sums_stride * e, &next)
        if t.biases:
            s.M, s.a, s.rsa, s.csa = 1, &ONE_D if e == 8 else <const void*>&ONE_F, 0, 0
            s.c = <char*>call.slot[DB_HH if t.hidden_only else DB_IH] + column * e
            w.gemm.strip(&s)
        sums += w.width * e


cdef void write_out(const Weights* w, const Task* t) noexcept nogil:
    cdef fn_call* call = w.call
    cdef int64_t e = w.element, column = t.strip * w.width, n = min(t.end * w.width, w.columns) - column
    cdef int64_t below = max(t.first - w.inputs, 0)
    if t.split:
        w.gemm.pack(t.split, n, t.sums, w.sums_stride, 1, <char*>call.slot[DW_IH] + (t.first * w.columns + column) * e, w.columns)
    if t.first + t.split < t.last:
        w.gemm.pack(t.last - t.first - t.split, n, t.sums + t.split * w.sums_stride * e, w.sums_stride, 1,
                    <char*>call.slot[DW_HH] + (below * w.columns + column) * e, w.columns)
    if t.biases and w.sides == 1:
        memcpy(<char*>call.slot[DB_HH] + column * e, <char*>call.slot[DB_IH] + column * e, n * e)


cdef void right_side(const Weights* w, const Task* t, int64_t k, int64_t column, fn_gemm_strip* s, Coming* coming) noexcept nogil:
    """K rows of n columns, of dgates or, of the hidden side, what it has of its own; and where those lie that come next."""
    cdef int64_t e = w.element, own = w.call.size[OWN] if t.hidden_only else 0, shared = clamp(w.columns - own - column, s.n)
    cdef char* rows = <char*>w.call.slot[DGATES] + (k * w.columns + column) * e
    cdef char* own_rows = rows
    s.b, s.rsb, s.padded = rows, w.columns, False
    if shared < s.n:
        own_rows = <char*>w.call.slot[DHIDDEN] + (k * own + column + shared - (w.columns - own)) * e
    if shared == 0:
        s.b, s.rsb = own_rows, own
    coming.near, coming.stride = <const char*>s.b + s.K * s.rsb * e, s.rsb * e
    if (w.columns > w.width and w.width * e < LONG) or s.n % w.gemm.lanes or 0 < shared < s.n:
        w.gemm.pack(s.K, shared, rows, w.columns, 1, t.panel, w.width)
        w.gemm.pack(s.K, s.n - shared, own_rows, own, 1, t.panel + shared * e, w.width)
        w.gemm.pad(s.K, s.n, t.panel, w.width)
        s.b, s.rsb, s.padded = t.panel, w.width, True


cdef bint far(const Weights* w, int64_t stride) noexcept nogil:
    return stride * w.element >= FAR


cdef void will_come(Coming* c, const char* near, int64_t rows, int64_t stride, int64_t bytes, int64_t slices) noexcept nogil:
    c.near, c.rows, c.stride, c.bytes, c.slices = near, rows, stride, bytes, slices


cdef void bring(Coming* c) noexcept nogil:
    cdef int64_t rows = c.rows // c.slices
    fn_bring_near(c.near, rows, c.stride, c.bytes)
    c.near += rows * c.stride
    c.rows -= rows
    c.slices -= 1


cdef void multiply(const Weights* w, fn_gemm_strip* s, const fn_gemm_strip* left, char* c, Next* next) noexcept nogil:
    """By slices of rows, and between them some of the rows that come next."""
    cdef int64_t slices = ceil_div(left.M, SLICE_ROWS), row = 0, i
    s.rsa, s.csa = 1, left.csa
    for i in range(slices):
        bring(&next.dgates)
        bring(&next.x)
        bring(&next.h)
        s.M = left.M * (i + 1) // slices - row
        s.a, s.c = <const char*>left.a + row * w.element, c + row * s.rsc * w.element
        w.gemm.strip(s)
        row += s.M


cdef bint starts(const Weights* w, int64_t k) noexcept nogil:
    """Is row k one of the first step of the forward run, which started from h0?"""
    if w.call.size[WHOLE]:
        return False
    return k >= w.rows - w.batch if w.call.size[REVERSE] else k < w.batch


cdef int64_t run_from(const Weights* w, int64_t k) noexcept nogil:
    """Rows whose states before lie one after the other."""
    cdef int64_t end = w.rows
    if not w.call.size[WHOLE] and w.call.size[REVERSE] and k < w.rows - w.batch:
        end = w.rows - w.batch
    elif not w.call.size[WHOLE] and not w.call.size[REVERSE] and k < w.batch:
        end = w.batch
    return end - k


cdef int64_t steps_from(const Weights* w, int64_t k) noexcept nogil:
    return min(run_from(w, k), DEEP)


cdef int64_t state_stride(const Weights* w, int64_t k) noexcept nogil:
    return w.hidden if w.call.size[WHOLE] or starts(w, k) else w.call.size[H_STRIDE]


cdef const char* before(const Weights* w, int64_t k) noexcept nogil:
    cdef bint reverse = w.call.size[REVERSE]
    cdef int64_t stride = state_stride(w, k)
    if starts(w, k):
        return <const char*>w.call.slot[H0] + (k - (w.rows - w.batch if reverse else 0)) * stride * w.element
    if not w.call.size[WHOLE]:
        k += w.batch if reverse else -w.batch
    return <const char*>w.call.slot[BEFORE] + k * stride * w.element


cdef fn_kernel RECURRENT_WEIGHTS
declare(&RECURRENT_WEIGHTS, "recurrent_weights", "x:in before:in h0:in dgates:in dhidden:in dw_ih:out dw_hh:out db_ih:out db_hh:out",
        weights, weights_scratch)
