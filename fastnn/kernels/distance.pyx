"""Distances, cosines and unit vectors of rows; blocks are runs of rows of about 16 K elements."""
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_distance_table:
        void (*distance)(int64_t rows, int64_t n, double p, double eps, const void* x, const void* y,
                         void* d) noexcept nogil
        void (*distance_bwd)(int64_t rows, int64_t n, double p, double eps, const void* x, const void* y, const void* d,
                             const void* g, void* dx, void* dy) noexcept nogil
        void (*cosine)(int64_t rows, int64_t n, int inside, double eps, const void* x, const void* y,
                       void* s) noexcept nogil
        void (*cosine_bwd)(int64_t rows, int64_t n, int inside, double eps, const void* x, const void* y, const void* g,
                           void* dx, void* dy) noexcept nogil
        void (*unit)(int64_t rows, int64_t n, double p, double eps, const void* x, void* y, void* norm) noexcept nogil
        void (*unit_bwd)(int64_t rows, int64_t n, double p, double eps, const void* x, const void* norm, const void* g,
                         void* dx) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_distance_table* distance[2]

# size = rows, n, inside? (cosine: is eps added to the squares, or a floor of the norms?); scalar = p, eps.
cdef fn_kernel pairwise_distance_fwd, pairwise_distance_bwd, cosine_fwd, cosine_bwd, normalize_fwd, normalize_bwd


cdef inline const fn_distance_table* kernels(const fn_call* call) noexcept nogil:
    return (<const tables*>table).distance[1 if call.dtype == FN_F64 else 0]

cdef inline char* at(const fn_call* call, int slot, int64_t i) noexcept nogil:
    """The i-th element of a slot; an empty slot stays NULL."""
    return NULL if call.slot[slot] == NULL else <char*>call.slot[slot] + i * (8 if call.dtype == FN_F64 else 4)

cdef void block_of_rows(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t n = call.size[1], span = max(16384 // max(n, 1), 1), row = block * span
    cdef int64_t rows = min(span, call.size[0] - row), first = row * n
    cdef double p = call.scalar[0], eps = call.scalar[1]
    cdef int inside = <int>call.size[2]
    if call.kernel == &pairwise_distance_fwd:
        kernels(call).distance(rows, n, p, eps, at(call, 0, first), at(call, 1, first), at(call, 2, row))
    elif call.kernel == &pairwise_distance_bwd:
        kernels(call).distance_bwd(rows, n, p, eps, at(call, 0, first), at(call, 1, first), at(call, 2, row),
                                   at(call, 3, row), at(call, 4, first), at(call, 5, first))
    elif call.kernel == &cosine_fwd:
        kernels(call).cosine(rows, n, inside, eps, at(call, 0, first), at(call, 1, first), at(call, 2, row))
    elif call.kernel == &cosine_bwd:
        kernels(call).cosine_bwd(rows, n, inside, eps, at(call, 0, first), at(call, 1, first), at(call, 2, row),
                                 at(call, 3, first), at(call, 4, first))
    elif call.kernel == &normalize_fwd:
        kernels(call).unit(rows, n, p, eps, at(call, 0, first), at(call, 1, first), at(call, 2, row))
    else:
        kernels(call).unit_bwd(rows, n, p, eps, at(call, 0, first), at(call, 1, row), at(call, 2, first),
                               at(call, 3, first))

cdef void run(fn_call* call) noexcept nogil:
    cdef int64_t span = max(16384 // max(call.size[1], 1), 1)
    parallel((call.size[0] + span - 1) // span, threads_for(call), block_of_rows, call)


declare(&pairwise_distance_fwd, "pairwise_distance_fwd", "x:in y:in d:out", run, NULL)
declare(&pairwise_distance_bwd, "pairwise_distance_bwd", "x:in y:in d:in g:in dx:out dy:out", run, NULL)
declare(&cosine_fwd, "cosine_fwd", "x:in y:in s:out", run, NULL)
declare(&cosine_bwd, "cosine_bwd", "x:in y:in g:in dx:out dy:out", run, NULL)
declare(&normalize_fwd, "normalize_fwd", "x:in y:out norm:out", run, NULL)
declare(&normalize_bwd, "normalize_bwd", "x:in norm:in g:in dx:out", run, NULL)
