"""Between C order and channels-last: y[n][j][i] = x[n][i][j]."""
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, table, threads_for

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_gemm_table:
        void (*pack)(int64_t rows, int64_t columns, const void* x, int64_t rsx, int64_t csx, void* y,
                     int64_t rsy) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_gemm_table* gemm[2]

cdef enum:
    BLOCK = 16384               # elements of a block

cdef struct Blocks:
    const fn_call* call
    int64_t columns             # j of a block
    int64_t across


cdef void body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Blocks* b = <const Blocks*>context
    cdef int64_t I = b.call.size[1], J = b.call.size[2], e = 8 if b.call.dtype == 1 else 4
    cdef int64_t n = block // b.across, j = block % b.across * b.columns
    (<const tables*>table).gemm[b.call.dtype].pack(
        min(b.columns, J - j), I, <const char*>b.call.slot[0] + (n * I * J + j) * e, 1, J,
        <char*>b.call.slot[1] + (n * I * J + j * I) * e, I)


cdef void relayout(fn_call* call) noexcept nogil:
    cdef Blocks b
    cdef int64_t I = call.size[1], J = call.size[2]
    if call.size[0] == 0 or I == 0 or J == 0:
        return
    b.call = call
    b.columns = min(J, max(64, BLOCK // I // 64 * 64))
    b.across = (J + b.columns - 1) // b.columns
    parallel(call.size[0] * b.across, threads_for(call), body, &b)


cdef fn_kernel RELAYOUT
declare(&RELAYOUT, "relayout", "x:in y:out", relayout, NULL)
