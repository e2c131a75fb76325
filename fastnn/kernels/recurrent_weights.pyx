"""Gradients of a recurrent layer's weights: sums over all steps of x' dgates, of (h before)' dgates, and of dgates alone.

One product with two operands on the left: a strip of columns of dgates is brought into the second-level cache once, a few
hundred steps at a time, and every row of both gradients and the biases' are taken from it there.  The row that was before each
step lies in the output one step away, or in h0: nothing is put together for it.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for
from fastnn.kernels.recurrent cimport ceil_div, fn_gemm_strip, fn_gemm_table

cdef extern from "fastnn.h" nogil:
    ctypedef struct tables "fn_table":
        const fn_gemm_table* gemm[2]

# Slots: before: the layer's output, or with size WHOLE the state before every row; dhidden: of a GRU, its hidden side.
# Gradients lie as (in, out).
cdef enum:
    X, BEFORE, H0, DGATES, DHIDDEN, DW_IH, DW_HH, DB_IH, DB_HH

cdef enum:
    ROWS, BATCH, INPUTS, WIDTH, COLUMNS, REVERSE, H_STRIDE, WHOLE

cdef enum:
    DEEP = 256                  # rows of dgates that stay in the second-level cache
    TASKS = 8
    TILE_ROWS = 12              # least rows of a piece

cdef float ONE_F = 1.0
cdef double ONE_D = 1.0

cdef struct Weights:
    fn_call* call
    const fn_gemm_table* gemm
    int64_t element, width, strips, pieces, panel_bytes
    int64_t rows, batch, inputs, hidden, columns
    int sides                   # 2 where the sides have gradients of their own: a task has one of them


cdef void lay_out(Weights* w, fn_call* call) noexcept nogil:
    cdef int which = 1 if call.dtype == FN_F64 else 0
    w.call = call
    w.gemm = (<const tables*>table).gemm[which]
    w.element = 8 if which else 4
    w.rows, w.batch, w.columns = call.size[ROWS], call.size[BATCH], call.size[COLUMNS]
    w.inputs, w.hidden = call.size[INPUTS], call.size[WIDTH]
    w.width = w.gemm.columns_for(4)
    w.strips = ceil_div(w.columns, w.width)
    w.sides = 1 if call.slot[DHIDDEN] == NULL else 2
    w.pieces = max(1, min(ceil_div(TASKS, w.strips * w.sides), (w.inputs + w.hidden) // (w.sides * TILE_ROWS)))
    w.panel_bytes = w.width * DEEP * w.element


cdef int64_t weights_scratch(const fn_call* call) noexcept nogil:
    cdef Weights w
    lay_out(&w, <fn_call*>call)
    return threads_for(call) * w.panel_bytes


cdef void weights(fn_call* call) noexcept nogil:
    cdef Weights w
    lay_out(&w, call)
    parallel(w.strips * w.sides * w.pieces, threads_for(call), weights_task, &w)


cdef void weights_task(void* context, int64_t task, int worker) noexcept nogil:
    cdef Weights* w = <Weights*>context
    cdef fn_call* call = w.call
    cdef int64_t piece = task % w.pieces, strip = task // w.pieces % w.strips, k = 0, K, n
    cdef bint hidden_only = w.sides == 2 and task < w.pieces * w.strips         # the larger side first
    cdef bint inputs_only = w.sides == 2 and not hidden_only
    cdef int64_t begin = w.inputs if hidden_only else 0, end = w.inputs if inputs_only else w.inputs + w.hidden
    cdef int64_t first = begin + (end - begin) * piece // w.pieces, last = begin + (end - begin) * (piece + 1) // w.pieces
    cdef const char* sums = <const char*>call.slot[DHIDDEN if hidden_only else DGATES]
    cdef char* panel = <char*>call.scratch + worker * w.panel_bytes
    cdef int64_t column = strip * w.width
    cdef fn_gemm_strip s
    n = min(w.width, w.columns - column)
    memset(&s, 0, sizeof(s))
    s.n, s.csb, s.rsc = n, 1, w.columns
    while k < w.rows or k == 0:
        K = steps_from(w, k)
        s.K, s.load = K, k > 0
        s.b, s.rsb = sums + (k * w.columns + column) * w.element, w.columns
        if w.columns > w.width or n % w.gemm.lanes:
            w.gemm.pack(K, n, s.b, w.columns, 1, panel, w.width)
            s.b, s.rsb, s.padded = panel, w.width, True
        if first < w.inputs:
            multiply(w, &s, <const char*>call.slot[X] + k * w.inputs * w.element, w.inputs, first, min(last, w.inputs), column,
                     <char*>call.slot[DW_IH])
        if last > w.inputs:
            multiply(w, &s, before(w, k), state_stride(w, k), max(first, w.inputs) - w.inputs, last - w.inputs, column,
                     <char*>call.slot[DW_HH])
        if piece == 0 and call.slot[DB_IH] != NULL:
            s.M, s.a, s.rsa, s.csa = 1, &ONE_D if w.element == 8 else <const void*>&ONE_F, 0, 0
            s.c = <char*>call.slot[DB_HH if hidden_only else DB_IH] + column * w.element
            w.gemm.strip(&s)
        k += max(K, 1)
    if piece == 0 and w.sides == 1 and call.slot[DB_IH] != NULL:
        w.gemm.pack(1, n, <char*>call.slot[DB_IH] + column * w.element, n, 1, <char*>call.slot[DB_HH] + column * w.element, n)


cdef bint starts(const Weights* w, int64_t k) noexcept nogil:
    """Is row k one of the first step of the forward run, which started from h0?"""
    if w.call.size[WHOLE]:
        return False
    return k >= w.rows - w.batch if w.call.size[REVERSE] else k < w.batch


cdef int64_t steps_from(const Weights* w, int64_t k) noexcept nogil:
    """Rows to take at once: the states before them lie one after the other."""
    cdef int64_t end = w.rows
    if not w.call.size[WHOLE] and w.call.size[REVERSE] and k < w.rows - w.batch:
        end = w.rows - w.batch
    elif not w.call.size[WHOLE] and not w.call.size[REVERSE] and k < w.batch:
        end = w.batch
    return min(end - k, DEEP)


cdef int64_t state_stride(const Weights* w, int64_t k) noexcept nogil:
    return w.hidden if w.call.size[WHOLE] or starts(w, k) else w.call.size[H_STRIDE]


cdef const char* before(const Weights* w, int64_t k) noexcept nogil:
    cdef bint reverse = w.call.size[REVERSE]
    if starts(w, k):
        return <const char*>w.call.slot[H0] + (k - (w.rows - w.batch if reverse else 0)) * w.hidden * w.element
    if not w.call.size[WHOLE]:
        k += w.batch if reverse else -w.batch
    return <const char*>w.call.slot[BEFORE] + k * state_stride(w, k) * w.element


cdef void multiply(const Weights* w, fn_gemm_strip* s, const char* a, int64_t stride, int64_t first, int64_t last, int64_t column,
                   char* c) noexcept nogil:
    """Rows first to last of c: those columns of a."""
    s.M = last - first
    s.a, s.rsa, s.csa = a + first * w.element, 1, stride
    s.c = c + (first * w.columns + column) * w.element
    w.gemm.strip(s)


cdef fn_kernel RECURRENT_WEIGHTS
declare(&RECURRENT_WEIGHTS, "recurrent_weights", "x:in before:in h0:in dgates:in dhidden:in dw_ih:out dw_hh:out db_ih:out db_hh:out",
        weights, weights_scratch)
