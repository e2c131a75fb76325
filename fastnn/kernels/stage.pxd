"""Contiguous results made in blocks; those too large for the caches leave through a stage.

A store to a line that no cache holds first reads the line. A piece of a large result is therefore made in memory that stays in the
first-level cache, then stored past the caches: two transfers per element of a function of one variable instead of three.
"""
from libc.stdint cimport int64_t, uintptr_t

from fastnn.kernels.native cimport parallel, table

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_pointwise_table:
        void (*stream)(int64_t bytes, const void* x, void* y, int last) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_pointwise_table* pointwise[2]

cdef enum:
    BLOCK = 16384               # elements
    PIECE = 2048                # bytes: so few that their stores overlap with the arithmetic of the next piece
    STAGE = 16384               # bytes of a piece at most: of an operand as much again fits into a first-level cache
    STREAM_BLOCK = 1 << 18      # bytes of a block that is streamed: its end waits until all of it has left
    STREAM_BYTES = 1 << 24      # of a result that its next reader will not find in a cache anyway

# Makes elements first .. first + n of a result at y.
ctypedef void (*fn_piece)(void* context, int64_t first, int64_t n, char* y) noexcept nogil

cdef struct Result:
    fn_piece make
    void* context
    int64_t n, item             # elements, bytes of one
    int64_t unit                # elements that are made together
    char* y
    int64_t span                # elements of a block
    bint stream


cdef inline void staged(fn_piece make, void* context, int64_t first, int64_t n, int64_t item, int64_t unit, char* y) noexcept nogil:
    """Elements first .. first + n in pieces of whole units, streamed to y."""
    cdef char[STAGE + 64] room
    cdef char* stage = <char*>((<uintptr_t>room + 63) & ~<uintptr_t>63)
    cdef int64_t span = max(PIECE // (item * unit), 1) * unit, i = 0, count
    if span * item > STAGE:
        make(context, first, n, y)
        return
    while i < n:
        count = min(span, n - i)
        make(context, first + i, count, stage)
        (<const tables*>table).pointwise[0].stream(count * item, stage, y + i * item, i + count == n)
        i += count

cdef inline void result_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Result* r = <const Result*>context
    cdef int64_t first = block * r.span, n = min(r.span, r.n - first)
    cdef char* y = r.y + first * r.item
    if r.stream:
        staged(r.make, r.context, first, n, r.item, r.unit, y)
    else:
        r.make(r.context, first, n, y)

cdef inline void make_result(fn_piece make, void* context, int64_t n, int64_t item, int64_t unit, void* y, bint in_place,
                             int threads) noexcept nogil:
    """The whole result at y, blocks of it on several threads.  in_place: y is also an operand, so its lines are read anyway."""
    cdef Result r
    r.make, r.context, r.n, r.item, r.unit, r.y = make, context, n, item, unit, <char*>y
    r.stream = n * item >= STREAM_BYTES and not in_place
    r.span = max((STREAM_BLOCK // item if r.stream else BLOCK) // unit, 1) * unit
    parallel((n + r.span - 1) // r.span, threads, result_block, &r)
