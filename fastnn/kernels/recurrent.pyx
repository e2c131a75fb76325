"""Whole sequences of recurrent cells, forward: one call per layer and direction.

Rows of all time steps lie one after the other: step t has batch_sizes[t] rows (all B without packing; fewer at the end of
packed sequences, sorted by length).

The hidden units are cut into chunks (recurrent_step.pyx).

Work is shared in one of two ways, by shape alone.  A batch of several blocks of rows: each block runs through all of time
on one thread, without a barrier.  One block of few rows: the threads share the chunks of every step (csrc/stages.h).
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastnn.kernels.gemm cimport gemm_args, gemm_pack_b, gemm_packed_bytes, gemm_scratch
from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, threads_for
from fastnn.kernels.recurrent_step cimport *
from fastnn.kernels.recurrent_walk cimport *

cdef extern from "stages.h" nogil:
    ctypedef struct fn_row:
        pass
    bint fn_row_begin(fn_row* row)
    void fn_row_end(fn_row* row)

cdef enum:
    FEW_ROWS = 16               # rows in all of a block below which packing the weights does not pay
    THIN_ROWS = 3               # up to here tiles are wide, and a step so short that the number of its chunks counts
    GROUP_ROWS = 24             # the input side is multiplied for so many rows at a time
    PACK_BYTES = 256 * 1024     # weights that are packed by more than one thread
    NEAR_PANELS = 1024 * 1024   # panels that pass through the second-level cache in every step, from these bytes on
    SINGLE_VECTORS = 2000       # a single step of fewer is over before a second thread has taken part


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
    l.streams = (l.packed and s.rows == 1 and s.T >= 2 * FN_CELL_AHEAD and s.H % l.units == 0
                 and s.cell.streams(widest // s.lanes))
    if l.streams:
        l.span = 2 * FN_CELL_AHEAD
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
        l.shares = shares_for(l.threads, s.rows * vectors, l.chunks)
    l.passing = l.chunks * l.panel_bytes // max(l.shares, 1) > NEAR_PANELS


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


# ---- all steps ------------------------------------------------------------------------------------------------------
cdef void forward_block(void* context, int64_t block, int worker) noexcept nogil:
    """Some rows through all of time."""
    cdef Layer* l = <Layer*>context
    cdef char* scratch = l.workers + worker * l.worker_bytes
    cdef Walk w
    begin_walk(&l.s, &w, block)
    while next_step(&l.s, &w):
        step_chunks(l, &w, 0, l.chunks, scratch)
        if l.s.call.slot[PROJECTION] != NULL:
            project(l, &w, scratch + l.sums_bytes)


cdef void forward_together(void* context, int64_t own, int worker) noexcept nogil:
    """All rows through all of time: in every step its own share of the chunks, and those that nobody has taken.  Nobody waits at the
    end of a step, but in the next one where a share's h is needed (or its sums, where somebody else has begun it)."""
    cdef Layer* l = <Layer*>context
    cdef char* scratch = l.workers + worker * l.worker_bytes
    cdef Walk w
    cdef int64_t turn, share, held = 0, does
    begin_walk(&l.s, &w, 0)
    while next_step(&l.s, &w):
        for turn in range(l.shares):
            share = (own + turn) % l.shares
            does = claim(&l.parts[share], w.step, 1, held >> share & 1)
            held = held & ~(<int64_t>1 << share) | does << share
            if does:
                fn_part_wait(&l.parts[share], w.step - 1)
                share_step(l, &w, share, scratch)
                fn_part_done(&l.parts[share], w.step)


cdef void share_step(Layer* l, const Walk* w, int64_t share, char* scratch) noexcept nogil:
    cdef int64_t first = share_begin(l, share), end = share_begin(l, share + 1), i
    if w.step == 0 and l.packed:
        for i in range(first, end):
            pack_chunk(l, i, 0)
    step_chunks(l, w, first, end, scratch)


cdef void step_chunks(Layer* l, const Walk* w, int64_t first, int64_t end, char* scratch) noexcept nogil:
    """To and fro: what a step read last lies nearest to the next one."""
    cdef int64_t i, next
    for i in range(end - first):
        next = min(i + 1, end - first - 1)
        if w.step % 2:
            step_chunk(l, w, end - 1 - i, end - 1 - next, scratch)
        else:
            step_chunk(l, w, first + i, first + next, scratch)


cdef fn_row single_steps


cdef void forward_once(void* context, int64_t number, int worker) noexcept nogil:
    """One chunk of a single step."""
    cdef Layer* l = <Layer*>context
    cdef Walk w
    begin_walk(&l.s, &w, 0)
    next_step(&l.s, &w)
    step_chunk(l, &w, number, number, l.workers + worker * l.worker_bytes)


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
