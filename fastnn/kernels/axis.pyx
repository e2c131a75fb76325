"""Sparse linear maps along one axis: y[n][j][i] = sum over t in first[j] .. first[j+1] of weight[t] * x[n][place[t]][i].

Interpolation, reflecting and circular padding, and sums over neighbouring channels are such maps, one axis after the
other; the transposed map is the gradient.
"""
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, table, threads_for

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_axis_table:
        void (*combine)(int64_t n, int64_t taps, const int64_t* place, const double* weight, const void* x, int64_t stride,
                        void* y) noexcept nogil
        void (*along)(int64_t n, const int64_t* first, const int64_t* place, const double* weight, const void* x,
                      void* y) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_axis_table* axis[2]

cdef enum:
    BLOCK = 8192                # elements of y in a block

cdef struct Rows:
    const fn_call* call
    int64_t rows                # of a block


cdef void body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Rows* r = <const Rows*>context
    cdef const fn_call* call = r.call
    cdef int64_t source = call.size[1], target = call.size[2], inner = call.size[3], e = 8 if call.dtype == 1 else 4, n, j, count
    cdef int64_t row = block * r.rows, end = min(call.size[0] * target, row + r.rows)
    cdef const int64_t* first = <const int64_t*>call.slot[1]
    while inner == 1 and row < end:
        n, j = row // target, row % target
        count = min(end - row, target - j)
        (<const tables*>table).axis[call.dtype].along(
            count, first + j, <const int64_t*>call.slot[2], <const double*>call.slot[3], <const char*>call.slot[0] + n * source * e,
            <char*>call.slot[4] + row * e)
        row += count
    for row in range(row, end):
        n, j = row // target, row % target
        (<const tables*>table).axis[call.dtype].combine(
            inner, first[j + 1] - first[j], <const int64_t*>call.slot[2] + first[j], <const double*>call.slot[3] + first[j],
            <const char*>call.slot[0] + n * source * inner * e, inner, <char*>call.slot[4] + row * inner * e)


cdef void axis_map(fn_call* call) noexcept nogil:
    cdef Rows r
    cdef int64_t rows = call.size[0] * call.size[2]
    r.call = call
    r.rows = max(1, BLOCK // max(1, call.size[3]))
    parallel((rows + r.rows - 1) // r.rows, threads_for(call), body, &r)


cdef fn_kernel AXIS_MAP
declare(&AXIS_MAP, "axis_map", "x:in first:in place:in weight:in y:out", axis_map, NULL)
