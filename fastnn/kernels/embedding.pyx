"""Embedding: rows gathered by index, their gradients scattered; bags of rows summed, averaged or maximised.

Backward cuts the matrix into at most 8 ranges of rows; each range reads all indices and adds what is its own, in index
order, so the sums do not depend on the number of threads.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.native cimport FN_F64, FN_INDEX_OUT_OF_RANGE, declare, fn_call, fn_kernel, parallel, table, threads_for

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_embedding_table:
        void (*add)(int64_t n, double scale, const void* x, void* y) noexcept nogil
        void (*scale)(int64_t n, double scale, void* x) noexcept nogil
        double (*norm)(int64_t n, double p, const void* x) noexcept nogil
        double (*dot)(int64_t n, const void* x, const void* y) noexcept nogil
        void (*max)(int64_t n, int first, int64_t row, const void* x, void* y, int64_t* which) noexcept nogil
        void (*max_bwd)(int64_t n, const int64_t* which, int64_t start, int64_t end, const void* g,
                        void* dw) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_embedding_table* embedding[2]

cdef enum: COUNT = 0, D = 1, V = 2, PADDING = 3, BY_FREQUENCY = 4, BAGS = 5, MODE = 6, CLOSED = 7
cdef enum: BAG_SUM = 0, BAG_MEAN = 1, BAG_MAX = 2

# size[0..4] = indices, D, V, padding index (-1: none), divide by frequency?
cdef fn_kernel embedding_fwd, embedding_bwd
# scalar = max_norm, norm_type.
cdef fn_kernel embedding_renorm
# and size[5..7] = bags, mode, do the offsets hold the end too?
cdef fn_kernel embedding_bag_fwd, embedding_bag_bwd, embedding_bag_weights_bwd


cdef inline const fn_embedding_table* kernels(const fn_call* call) noexcept nogil:
    return (<const tables*>table).embedding[1 if call.dtype == FN_F64 else 0]

cdef inline int64_t width(const fn_call* call) noexcept nogil:
    """Bytes of one element."""
    return 8 if call.dtype == FN_F64 else 4

cdef inline char* row_of(const fn_call* call, const void* matrix, int64_t row) noexcept nogil:
    return <char*>matrix + row * call.size[D] * width(call)

cdef inline double value(const fn_call* call, const void* p, int64_t i) noexcept nogil:
    return (<const double*>p)[i] if call.dtype == FN_F64 else (<const float*>p)[i]

cdef bint in_range(fn_call* call, const int64_t* index) noexcept nogil:
    cdef int64_t i
    for i in range(call.size[COUNT]):
        if index[i] < 0 or index[i] >= call.size[V]:
            call.status = FN_INDEX_OUT_OF_RANGE
            call.fault = index[i]
            return False
    return True


# ---- rows ------------------------------------------------------------------------------------------------------
cdef inline int64_t gather_span(const fn_call* call) noexcept nogil:
    return max(16384 // max(call.size[D], 1), 1)

cdef void gather_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef const int64_t* index = <const int64_t*>call.slot[1]
    cdef int64_t first = block * gather_span(call), i
    for i in range(first, min(first + gather_span(call), call.size[COUNT])):
        memcpy(row_of(call, call.slot[2], i), row_of(call, call.slot[0], index[i]), call.size[D] * width(call))

cdef void embedding_run(fn_call* call) noexcept nogil:
    """y[i] = w[index[i]]."""
    if in_range(call, <const int64_t*>call.slot[1]):
        parallel((call.size[COUNT] + gather_span(call) - 1) // gather_span(call), threads_for(call), gather_block, call)

cdef inline int64_t ranges(const fn_call* call) noexcept nogil:
    """Ranges of rows of the gradient: one per 1024 rows, at most 8."""
    return max(min(call.size[V] // 1024, 8), 1)

cdef inline int64_t range_start(const fn_call* call, int64_t k) noexcept nogil:
    return call.size[V] * k // ranges(call)

cdef void count_rows(fn_call* call, const int64_t* index) noexcept nogil:
    """How often each row is used, into scratch."""
    cdef int64_t* counts = <int64_t*>call.scratch
    cdef int64_t i
    memset(counts, 0, call.size[V] * 8)
    for i in range(call.size[COUNT]):
        counts[index[i]] += 1

cdef inline double frequency_scale(const fn_call* call, int64_t row) noexcept nogil:
    return 1.0 / <double>(<int64_t*>call.scratch)[row] if call.size[BY_FREQUENCY] else 1.0

cdef int64_t counts_scratch(const fn_call* call) noexcept nogil:
    return call.size[V] * 8 if call.size[BY_FREQUENCY] else 0

cdef void scatter_range(void* context, int64_t k, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef const int64_t* index = <const int64_t*>call.slot[0]
    cdef int64_t start = range_start(call, k), end = range_start(call, k + 1), i, row
    memset(row_of(call, call.slot[2], start), 0, (end - start) * call.size[D] * width(call))
    for i in range(call.size[COUNT]):
        row = index[i]
        if start <= row < end and row != call.size[PADDING]:
            kernels(call).add(call.size[D], frequency_scale(call, row), row_of(call, call.slot[1], i),
                              row_of(call, call.slot[2], row))

cdef void embedding_bwd_run(fn_call* call) noexcept nogil:
    """dw[index[i]] += g[i], other rows 0."""
    if call.size[BY_FREQUENCY]:
        count_rows(call, <const int64_t*>call.slot[0])
    parallel(ranges(call), threads_for(call), scatter_range, call)

cdef void embedding_renorm_run(fn_call* call) noexcept nogil:
    """Rows in use whose norm is above max_norm are scaled down to it, in place."""
    cdef const int64_t* index = <const int64_t*>call.slot[1]
    cdef char* seen = <char*>call.scratch
    cdef int64_t i
    cdef double norm
    if not in_range(call, index):
        return
    memset(seen, 0, call.size[V])
    for i in range(call.size[COUNT]):
        if seen[index[i]]:
            continue
        seen[index[i]] = 1
        norm = kernels(call).norm(call.size[D], call.scalar[1], row_of(call, call.slot[0], index[i]))
        if norm > call.scalar[0]:
            kernels(call).scale(call.size[D], call.scalar[0] / (norm + 1e-7), row_of(call, call.slot[0], index[i]))

cdef int64_t renorm_scratch(const fn_call* call) noexcept nogil:
    return call.size[V]


# ---- bags -----------------------------------------------------------------------------------------------------
cdef inline int64_t bag_end(const fn_call* call, const int64_t* offsets, int64_t bag) noexcept nogil:
    return offsets[bag + 1] if bag + 1 < call.size[BAGS] or call.size[CLOSED] else call.size[COUNT]

cdef void bag_block(void* context, int64_t bag, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef const int64_t* index = <const int64_t*>call.slot[1]
    cdef const int64_t* offsets = <const int64_t*>call.slot[2]
    cdef int64_t* which = <int64_t*>call.slot[5] + bag * call.size[D] if call.slot[5] != NULL else NULL
    cdef char* y = row_of(call, call.slot[6], bag)
    cdef char* w
    cdef int64_t i, used = 0, d
    memset(y, 0, call.size[D] * width(call))
    if which != NULL:
        for d in range(call.size[D]):
            which[d] = -1
    for i in range(offsets[bag], bag_end(call, offsets, bag)):
        if index[i] == call.size[PADDING]:
            continue
        w = row_of(call, call.slot[0], index[i])
        if which != NULL:
            kernels(call).max(call.size[D], used == 0, index[i], w, y, which)
        else:
            kernels(call).add(call.size[D], value(call, call.slot[3], i) if call.slot[3] != NULL else 1.0, w, y)
        used += 1
    (<int64_t*>call.slot[4])[bag] = used
    if call.size[MODE] == BAG_MEAN and used:
        kernels(call).scale(call.size[D], 1.0 / <double>used, y)

cdef void embedding_bag_run(fn_call* call) noexcept nogil:
    """One row per bag: sum (weighted per sample), mean or maximum of its embeddings; an empty bag gives zeros."""
    if in_range(call, <const int64_t*>call.slot[1]):
        parallel(call.size[BAGS], threads_for(call), bag_block, call)

cdef void bag_range(void* context, int64_t k, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef const int64_t* index = <const int64_t*>call.slot[0]
    cdef const int64_t* offsets = <const int64_t*>call.slot[1]
    cdef int64_t start = range_start(call, k), end = range_start(call, k + 1), bag, i, row
    cdef double scale
    cdef char* g
    memset(row_of(call, call.slot[6], start), 0, (end - start) * call.size[D] * width(call))
    for bag in range(call.size[BAGS]):
        g = row_of(call, call.slot[5], bag)
        if call.size[MODE] == BAG_MAX:
            kernels(call).max_bwd(call.size[D], <const int64_t*>call.slot[4] + bag * call.size[D], start, end, g,
                                  call.slot[6])
            continue
        for i in range(offsets[bag], bag_end(call, offsets, bag)):
            row = index[i]
            if not start <= row < end or row == call.size[PADDING]:
                continue
            scale = frequency_scale(call, row)
            if call.size[MODE] == BAG_MEAN:
                scale /= <double>(<const int64_t*>call.slot[3])[bag]
            if call.slot[2] != NULL:
                scale *= value(call, call.slot[2], i)
            kernels(call).add(call.size[D], scale, g, row_of(call, call.slot[6], row))

cdef void embedding_bag_bwd_run(fn_call* call) noexcept nogil:
    if call.size[BY_FREQUENCY]:
        count_rows(call, <const int64_t*>call.slot[0])
    parallel(ranges(call), threads_for(call), bag_range, call)

cdef void embedding_bag_weights_bwd_run(fn_call* call) noexcept nogil:
    """Gradient of the weight of sample i: its embedding times its bag's gradient."""
    cdef const int64_t* index = <const int64_t*>call.slot[1]
    cdef const int64_t* offsets = <const int64_t*>call.slot[2]
    cdef int64_t bag, i
    cdef double v
    memset(call.slot[4], 0, call.size[COUNT] * width(call))
    for bag in range(call.size[BAGS]):
        for i in range(offsets[bag], bag_end(call, offsets, bag)):
            if index[i] == call.size[PADDING]:
                continue
            v = kernels(call).dot(call.size[D], row_of(call, call.slot[0], index[i]), row_of(call, call.slot[3], bag))
            if call.dtype == FN_F64:
                (<double*>call.slot[4])[i] = v
            else:
                (<float*>call.slot[4])[i] = <float>v


declare(&embedding_fwd, "embedding_fwd", "w:in index:in y:out", embedding_run, NULL)
declare(&embedding_bwd, "embedding_bwd", "index:in g:in dw:out", embedding_bwd_run, counts_scratch)
declare(&embedding_renorm, "embedding_renorm", "w:state index:in", embedding_renorm_run, renorm_scratch)
declare(&embedding_bag_fwd, "embedding_bag_fwd", "w:in index:in offsets:in weights:in used:out which:out y:out",
        embedding_bag_run, NULL)
declare(&embedding_bag_bwd, "embedding_bag_bwd", "index:in offsets:in weights:in used:in which:in g:in dw:out",
        embedding_bag_bwd_run, counts_scratch)
declare(&embedding_bag_weights_bwd, "embedding_bag_weights_bwd", "w:in index:in offsets:in g:in dweights:out",
        embedding_bag_weights_bwd_run, NULL)
