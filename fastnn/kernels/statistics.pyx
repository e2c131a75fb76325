"""Statistics of Boltzmann machines: what weights and hidden biases gain from two sets of visible states and hidden means."""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, threads_for
from fastnn.kernels.selection cimport LIST_ROWS, WORD, Product, begin_product, ceil_div, chunk_rows, lay_out, padded, run_product
from fastnn.kernels.update cimport fn_coefficients, plain_sgd

cdef enum:
    SERIAL = 32768              # elements of the scaled means that one thread handles sooner than two
    OWN_BYTES = 49152           # of them, that each worker makes for itself sooner than it gets them from another's cache

cdef fn_kernel CONTRAST_STATISTICS, CONTRAST_STEP


# ---- contrast_statistics: size = rows, samples, visible, hidden; scalar = factors of p and q ---------------------------
cdef struct Statistics:
    Product product
    const fn_call* call
    char* scaled                # factor p on top of factor q, each filled up to whole words
    int32_t* all                # 0, 1, ...: every row of them

cdef Statistics statistics_of(const fn_call* call, int threads) noexcept nogil:
    cdef Statistics s
    cdef Product* p = &s.product
    cdef int64_t lanes
    s.call = call
    p[0] = begin_product(call, threads)
    lanes = p.dense.lanes
    p.rows, p.sample_rows = call.size[0], call.size[1]
    p.M, p.N, p.K = call.size[2], call.size[3], WORD * (ceil_div(p.rows, WORD) + ceil_div(p.sample_rows, WORD))
    p.x, p.samples, p.c = <char*>call.slot[0], <char*>call.slot[2], <char*>call.slot[5]
    p.rsb, p.csb = ceil_div(p.N, lanes) * lanes, 1
    p.b = s.scaled = <char*>call.scratch
    p.own_bytes = padded(p.K * p.rsb * p.item) if p.K * p.rsb * p.item <= OWN_BYTES else 0
    s.all = <int32_t*>(s.scaled + max(padded(p.K * p.rsb * p.item), p.own_bytes * max(1, threads)))
    p.owned = s.all + p.K
    p.count = chunk_rows(p)
    if p.samples == NULL:               # a question for scratch, with no arrays yet: any address will do
        p.samples = <char*>call
    lay_out(p, <char*>s.all + padded((p.K + max(1, threads)) * 4))
    return s


cdef Statistics step_of(const fn_call* call, int threads) noexcept nogil:
    """The same for a step: slot 5 is the weight, and the sums of all stretches but the last, or of a dense product, lie in the scratch."""
    cdef Statistics s = statistics_of(call, threads)
    s.product.c = s.product.end
    s.product.end += padded(s.product.M * s.product.N * s.product.item)
    return s

cdef int64_t contrast_statistics_scratch(const fn_call* call) noexcept nogil:
    cdef Statistics s = statistics_of(call, call.threads)
    return s.product.end - <char*>call.scratch

cdef void scale(const Statistics* s, char* scaled, int64_t first, int64_t last) noexcept nogil:
    cdef const Product* p = &s.product
    cdef int64_t above = ceil_div(p.rows, WORD) * WORD, k, row
    cdef int slot, part
    cdef char* to
    cdef double g = (<const double*>s.call.slot[4])[0] if p.dtype else (<const float*>s.call.slot[4])[0]
    for k in range(first, last):
        slot, part, row = (1, 0, k) if k < above else (3, 1, k - above)
        to = scaled + k * p.rsb * p.item
        if row < (p.sample_rows if part else p.rows):
            p.kernels.scaled(p.N, <char*>s.call.slot[slot] + row * p.N * p.item, g * s.call.scalar[part], to)
        else:
            memset(to, 0, <size_t>(p.N * p.item))

cdef void scale_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Statistics* s = <Statistics*>context
    scale(s, s.scaled, block * LIST_ROWS, min(s.product.K, (block + 1) * LIST_ROWS))

cdef void sum_hidden(const Statistics* s, const char* scaled, int64_t column, int64_t columns) noexcept nogil:
    cdef const Product* p = &s.product
    cdef int32_t[2] ends = [0, <int32_t>p.K]
    p.kernels.combine(1, ends, 0, s.all, NULL, scaled + column * p.item, p.rsb, 0, columns, NULL, 0,
                      <char*>s.call.slot[6] + column * p.item, p.N)

cdef void hidden_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Statistics* s = <Statistics*>context
    cdef int64_t panel = s.product.kernels.panel
    sum_hidden(s, s.scaled, block * panel, min(panel, s.product.N - block * panel))

cdef void scale_all(void* context, char* scaled, bint first) noexcept nogil:
    """All the scaled means for one worker, whose cache they then are in; the first sums them up."""
    cdef Statistics* s = <Statistics*>context
    scale(s, scaled, 0, s.product.K)
    if first and s.call.slot[6] != NULL:
        sum_hidden(s, scaled, 0, s.product.N)

cdef void run(Statistics* s) noexcept nogil:
    cdef Product* p = &s.product
    cdef int threads = p.threads if p.K * p.N > SERIAL else 1
    cdef int64_t k
    for k in range(p.K):
        s.all[k] = <int32_t>k
    if p.own_bytes and s.call.slot[5] != NULL and p.M and p.N:
        p.own_b, p.context = scale_all, s
        memset(p.owned, 0, max(1, p.threads) * 4)
        run_product(p)
        return
    p.own_bytes = 0
    parallel(ceil_div(p.K, LIST_ROWS), threads, scale_block, s)
    if s.call.slot[6] != NULL:
        parallel(ceil_div(p.N, p.kernels.panel), threads, hidden_block, s)
    if s.call.slot[5] != NULL:
        run_product(p)

cdef void contrast_statistics_run(fn_call* call) noexcept nogil:
    """dw = g (a v' p + b w' q), a and b the factors; hbias = g (a sum of p + b sum of q), over rows."""
    cdef Statistics s = statistics_of(call, threads_for(call))
    run(&s)


# ---- contrast_step: a step of plain SGD by these statistics -------------------------------------------------------------
cdef int64_t contrast_step_scratch(const fn_call* call) noexcept nogil:
    cdef Statistics s = step_of(call, call.threads)
    return s.product.end - <char*>call.scratch

cdef void contrast_step_run(fn_call* call) noexcept nogil:
    """What contrast_statistics and sgd on the weight by dw would do, to the bit."""
    cdef Statistics s = step_of(call, threads_for(call))
    cdef Product* p = &s.product
    cdef fn_coefficients* k = &p.coefficients
    p.update, p.parameter = plain_sgd(call.dtype, <const double*>call.slot[7], k), <char*>call.slot[5]
    # p - rate * 0 is p unless the rate is not finite (in float32), or p is -0 and the rate, or the sign, negative
    p.still = k.decay == 0 and k.sign > 0 and 0 <= k.rate < 1e30
    run(&s)


declare(&CONTRAST_STATISTICS, "contrast_statistics", "v:in p:in w:in q:in g:in dw:out hbias:out", contrast_statistics_run,
        contrast_statistics_scratch)
declare(&CONTRAST_STEP, "contrast_step", "v:in p:in w:in q:in g:in weight:state hbias:out hyper:in", contrast_step_run,
        contrast_step_scratch)
