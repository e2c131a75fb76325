"""Drivers of gradient clipping: norms, and what is done by them; declared in kernels/update.pyx."""
from libc.math cimport sqrt
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport FN_F64, fn_call, parallel, table, threads_for
from fastnn.kernels.update_pass cimport BLOCK, tables


cdef inline void norm_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t start = block * BLOCK
    cdef int item = 8 if call.dtype == FN_F64 else 4
    (<double*>call.scratch)[block] = (<const tables*>table).update[call.dtype == FN_F64].sum_of_squares(
        min(BLOCK, call.size[0] - start), <char*>call.slot[0] + start * item)


cdef inline int64_t norm_scratch(const fn_call* call) noexcept nogil:
    return ((call.size[0] + BLOCK - 1) // BLOCK) * sizeof(double)


cdef inline void sum_of_squares(fn_call* call) noexcept nogil:
    """total = sum of x * x over size[0] elements, in float64 over the blocks, in their order."""
    cdef int64_t blocks = (call.size[0] + BLOCK - 1) // BLOCK, b
    cdef double total = 0
    parallel(blocks, threads_for(call), norm_block, call)
    for b in range(blocks):
        total += (<double*>call.scratch)[b]
    (<double*>call.slot[1])[0] = total


cdef inline void clip_factor(fn_call* call) noexcept nogil:
    """norm = sqrt(sum of size[0] totals) and factor = min(1, max_norm / (norm + 1e-6)); max_norm is scalar[0]."""
    cdef double total = 0, norm, factor
    cdef int64_t i
    for i in range(call.size[0]):
        total += (<double*>call.slot[0])[i]
    norm = sqrt(total)
    if call.dtype == FN_F64:
        (<double*>call.slot[1])[0] = norm
    else:
        (<float*>call.slot[1])[0] = <float>norm
    factor = call.scalar[0] / (norm + 1e-6)
    (<double*>call.slot[2])[0] = 1 if factor > 1 else factor    # NaN stays


cdef inline void scale_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t start = block * BLOCK
    cdef int item = 8 if call.dtype == FN_F64 else 4
    (<const tables*>table).update[call.dtype == FN_F64].scale(
        min(BLOCK, call.size[0] - start), (<double*>call.slot[1])[0], <char*>call.slot[0] + start * item)


cdef inline void scale(fn_call* call) noexcept nogil:
    """x *= factor over size[0] elements."""
    if (<double*>call.slot[1])[0] != 1:
        parallel((call.size[0] + BLOCK - 1) // BLOCK, threads_for(call), scale_block, call)


cdef inline void clamp_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t start = block * BLOCK
    cdef int item = 8 if call.dtype == FN_F64 else 4
    (<const tables*>table).update[call.dtype == FN_F64].clamp(
        min(BLOCK, call.size[0] - start), call.scalar[0], call.scalar[1], <char*>call.slot[0] + start * item)


cdef inline void clamp(fn_call* call) noexcept nogil:
    """x = min(max(x, scalar[0]), scalar[1]) over size[0] elements."""
    parallel((call.size[0] + BLOCK - 1) // BLOCK, threads_for(call), clamp_block, call)
