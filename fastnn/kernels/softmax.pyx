"""Softmax along any axis, logsumexp, and cross-entropy of logits.

Arrays are (outer, n, inner) in C order; the softmax runs over n.  Work is cut into blocks of about 16 K elements: rows
where inner is 1, else runs of neighbouring columns.  Cross-entropy writes one value per row and adds them in row order.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.native cimport FN_F64, FN_INDEX_OUT_OF_RANGE, declare, fn_call, fn_kernel, parallel, table, threads_for
from fastnn.kernels.stage cimport make_result

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_xent:
        int64_t n, stride, ignore
        double smoothing
        const int64_t* t
        const void* p
        const void* x
        const void* w
        const void* g
        int64_t step
        void* loss
        void* lse
        void* den
        void* dx
        void* dp
    ctypedef struct fn_softmax_table:
        void (*rows)(int log, int64_t rows, int64_t n, const void* x, void* y) noexcept nogil
        void (*rows_bwd)(int log, int64_t rows, int64_t n, const void* y, const void* dy, void* dx) noexcept nogil
        void (*columns)(int log, int64_t n, int64_t stride, int64_t width, const void* x, void* y) noexcept nogil
        void (*columns_bwd)(int log, int64_t n, int64_t stride, int64_t width, const void* y, const void* dy,
                            void* dx) noexcept nogil
        void (*logsumexp)(int64_t rows, int64_t n, const void* x, void* y) noexcept nogil
        void (*logsumexp_bwd)(int64_t rows, int64_t n, const void* x, const void* y, const void* dy,
                              void* dx) noexcept nogil
        void (*xent)(const fn_xent* a, int64_t rows) noexcept nogil
        void (*xent_bwd)(const fn_xent* a, int64_t rows) noexcept nogil
        void (*xent_columns)(const fn_xent* a, int64_t width) noexcept nogil
        void (*xent_columns_bwd)(const fn_xent* a, int64_t width) noexcept nogil
        void (*xent_soft)(const fn_xent* a, int64_t rows) noexcept nogil
        void (*xent_soft_bwd)(const fn_xent* a, int64_t rows) noexcept nogil
        double (*total)(int64_t n, const void* x) noexcept nogil
        int (*check)(int64_t n, const int64_t* t, int64_t classes, int64_t ignore, int64_t* fault) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_softmax_table* softmax[2]

cdef enum: BLOCK = 16384

# size[0..3] of every kernel here
cdef enum: LOG = 0, OUTER = 1, COUNT = 2, INNER = 3, IGNORE = 4
# size[0] of cross-entropy is its reduction
cdef enum: NONE = 0, MEAN = 1, SUM = 2

# softmax_*: size = log?, outer, n, inner.  logsumexp_*: size = -, rows, n, 1.
cdef fn_kernel softmax_fwd, softmax_bwd, logsumexp_fwd, logsumexp_bwd
# size = reduction, N, C, inner, ignore_index; scalar = label_smoothing.  soft: size = reduction, rows, C, 1, divisor.
cdef fn_kernel cross_entropy_fwd, cross_entropy_bwd, cross_entropy_soft_fwd, cross_entropy_soft_bwd


cdef inline const fn_softmax_table* kernels(const fn_call* call) noexcept nogil:
    return (<const tables*>table).softmax[1 if call.dtype == FN_F64 else 0]

cdef inline char* at(const fn_call* call, const void* p, int64_t i) noexcept nogil:
    """The i-th element of an array of the call's dtype; NULL stays NULL."""
    return NULL if p == NULL else <char*>p + i * (8 if call.dtype == FN_F64 else 4)

cdef inline double value(const fn_call* call, const void* p) noexcept nogil:
    return (<const double*>p)[0] if call.dtype == FN_F64 else (<const float*>p)[0]

cdef inline void set_value(const fn_call* call, void* p, double v) noexcept nogil:
    if call.dtype == FN_F64:
        (<double*>p)[0] = v
    else:
        (<float*>p)[0] = <float>v


# ---- the cut into blocks: `span` rows, or columns of one outer index --------------------------------------------
cdef struct Cut:
    fn_call* call
    int64_t span, per_outer, blocks
    const void* g               # cross-entropy: the incoming gradient, one value or one per row
    double factor               # room for that one value

cdef Cut cut(fn_call* call) noexcept nogil:
    cdef Cut c
    cdef int64_t n = max(call.size[COUNT], 1)
    c.call = call
    c.g = NULL
    c.factor = 0
    if call.size[INNER] == 1:
        c.span = max(BLOCK // n, 1)
        c.per_outer = 0
        c.blocks = (call.size[OUTER] + c.span - 1) // c.span
    else:
        c.span = max(BLOCK // n // 64 * 64, 64)
        c.per_outer = (call.size[INNER] + c.span - 1) // c.span
        c.blocks = call.size[OUTER] * c.per_outer
    return c

cdef inline int64_t first_of(const Cut* c, int64_t block, int64_t* count) noexcept nogil:
    """First row of a block and their number (inner == 1)."""
    cdef int64_t first = block * c.span
    count[0] = min(c.span, c.call.size[OUTER] - first)
    return first

cdef inline int64_t column_of(const Cut* c, int64_t block, int64_t* width, int64_t* outer) noexcept nogil:
    cdef int64_t column = block % c.per_outer * c.span
    outer[0] = block // c.per_outer
    width[0] = min(c.span, c.call.size[INNER] - column)
    return column


# ---- softmax -----------------------------------------------------------------------------------------------
cdef void softmax_rows(void* context, int64_t first, int64_t n, char* y) noexcept nogil:
    """Whole rows: elements first .. first + n."""
    cdef fn_call* call = <fn_call*>context
    cdef int64_t length = call.size[COUNT]
    kernels(call).rows(<int>call.size[LOG], n // length, length, at(call, call.slot[0], first), y)

cdef void softmax_columns(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t n = call.size[COUNT], inner = call.size[INNER], first, count, outer
    first = column_of(c, block, &count, &outer) + outer * n * inner
    kernels(call).columns(<int>call.size[LOG], n, inner, count, at(call, call.slot[0], first), at(call, call.slot[1], first))

cdef void softmax_run(fn_call* call) noexcept nogil:
    """y = softmax(x) or log_softmax(x) over the middle axis."""
    cdef Cut c
    cdef int64_t n = call.size[COUNT]
    if call.size[INNER] == 1:
        if n:
            make_result(softmax_rows, call, call.size[OUTER] * n, 8 if call.dtype == FN_F64 else 4, 2 * n, call.slot[1],
                        call.slot[0] == call.slot[1], threads_for(call))
        return
    c = cut(call)
    parallel(c.blocks, threads_for(call), softmax_columns, &c)


cdef void softmax_bwd_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t n = call.size[COUNT], inner = call.size[INNER], first, count, outer
    if inner == 1:
        first = first_of(c, block, &count) * n
        kernels(call).rows_bwd(<int>call.size[LOG], count, n, at(call, call.slot[0], first),
                               at(call, call.slot[1], first), at(call, call.slot[2], first))
    else:
        first = column_of(c, block, &count, &outer) + outer * n * inner
        kernels(call).columns_bwd(<int>call.size[LOG], n, inner, count, at(call, call.slot[0], first),
                                  at(call, call.slot[1], first), at(call, call.slot[2], first))

cdef void softmax_bwd_run(fn_call* call) noexcept nogil:
    """dx from the output y and its gradient dy."""
    cdef Cut c = cut(call)
    parallel(c.blocks, threads_for(call), softmax_bwd_block, &c)


# ---- logsumexp over the last axis: (outer, n) -> (outer) ------------------------------------------------------
cdef void logsumexp_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t n = call.size[COUNT], count
    cdef int64_t first = first_of(c, block, &count)
    kernels(call).logsumexp(count, n, at(call, call.slot[0], first * n), at(call, call.slot[1], first))

cdef void logsumexp_run(fn_call* call) noexcept nogil:
    cdef Cut c = cut(call)
    parallel(c.blocks, threads_for(call), logsumexp_block, &c)

cdef void logsumexp_bwd_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t n = call.size[COUNT], count
    cdef int64_t first = first_of(c, block, &count)
    kernels(call).logsumexp_bwd(count, n, at(call, call.slot[0], first * n), at(call, call.slot[1], first),
                                at(call, call.slot[2], first), at(call, call.slot[3], first * n))

cdef void logsumexp_bwd_run(fn_call* call) noexcept nogil:
    cdef Cut c = cut(call)
    parallel(c.blocks, threads_for(call), logsumexp_bwd_block, &c)


# ---- cross-entropy with class indices: x (N, C, inner), t (N, inner) ---------------------------------------------
cdef fn_xent xent_of(const fn_call* call, int64_t row) noexcept nogil:
    """The arguments every block shares, and the target of its first row."""
    cdef fn_xent a
    memset(&a, 0, sizeof(a))
    a.n = call.size[COUNT]
    a.stride = call.size[INNER]
    a.ignore = call.size[IGNORE]
    a.smoothing = call.scalar[0]
    a.w = call.slot[2]
    a.t = <const int64_t*>call.slot[1] + row
    return a

cdef void cross_entropy_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t n = call.size[COUNT], inner = call.size[INNER], column, count, row, outer = 0
    if inner == 1:
        row = first_of(c, block, &count)
        column = 0
    else:
        column = column_of(c, block, &count, &outer)
        row = outer * inner + column
    cdef fn_xent a = xent_of(call, row)
    cdef int64_t rows = call.size[OUTER] * inner
    a.x = at(call, call.slot[0], row * n if inner == 1 else outer * n * inner + column)
    a.loss = at(call, call.slot[3] if call.size[0] == NONE else call.scratch, row)
    a.lse = at(call, call.slot[4], row)
    a.den = at(call, call.scratch, rows + row) if call.size[0] == MEAN else NULL
    if inner == 1:
        kernels(call).xent(&a, count)
    else:
        kernels(call).xent_columns(&a, count)

cdef void cross_entropy_run(fn_call* call) noexcept nogil:
    """Loss (one value, or one per row), log-sum-exp of every row, and for the mean what the sum was divided by."""
    cdef Cut c = cut(call)
    cdef int64_t rows = call.size[OUTER] * call.size[INNER]
    cdef double total, sum
    if kernels(call).check(rows, <const int64_t*>call.slot[1], call.size[COUNT], call.size[IGNORE], &call.fault):
        call.status = FN_INDEX_OUT_OF_RANGE
        return
    parallel(c.blocks, threads_for(call), cross_entropy_block, &c)
    if call.size[0] == NONE:
        return
    sum = kernels(call).total(rows, call.scratch)
    if call.size[0] == MEAN:
        total = kernels(call).total(rows, at(call, call.scratch, rows))
        set_value(call, call.slot[5], total)
        sum /= total
    set_value(call, call.slot[3], sum)

cdef int64_t cross_entropy_scratch(const fn_call* call) noexcept nogil:
    return 0 if call.size[0] == NONE else call.size[OUTER] * call.size[INNER] * 16

cdef void cross_entropy_bwd_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t n = call.size[COUNT], inner = call.size[INNER], column, count, row, outer = 0
    if inner == 1:
        row = first_of(c, block, &count)
        column = row * n
    else:
        column = column_of(c, block, &count, &outer)
        row = outer * inner + column
        column += outer * n * inner
    cdef fn_xent a = xent_of(call, row)
    a.x = at(call, call.slot[0], column)
    a.lse = at(call, call.slot[3], row)
    a.step = 1 if call.size[0] == NONE else 0
    a.g = at(call, c.g, row * a.step)
    a.dx = at(call, call.slot[6], column)
    if inner == 1:
        kernels(call).xent_bwd(&a, count)
    else:
        kernels(call).xent_columns_bwd(&a, count)

cdef void incoming(Cut* c, const void* g, double divisor) noexcept nogil:
    """The gradient that reaches a row: g itself, or the scalar g divided by what the mean was divided by."""
    if c.call.size[0] == NONE:
        c.g = g
        return
    set_value(c.call, &c.factor, value(c.call, g) / divisor)
    c.g = &c.factor

cdef void cross_entropy_bwd_run(fn_call* call) noexcept nogil:
    cdef Cut c = cut(call)
    incoming(&c, call.slot[5], value(call, call.slot[4]) if call.size[0] == MEAN else 1.0)
    parallel(c.blocks, threads_for(call), cross_entropy_bwd_block, &c)


# ---- cross-entropy with class probabilities: x, p (N, C); the mean divides by size[4] --------------------------------
cdef void cross_entropy_soft_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t n = call.size[COUNT], count
    cdef int64_t row = first_of(c, block, &count)
    cdef fn_xent a = xent_of(call, 0)
    a.x = at(call, call.slot[0], row * n)
    a.p = at(call, call.slot[1], row * n)
    a.loss = at(call, call.slot[3] if call.size[0] == NONE else call.scratch, row)
    a.lse = at(call, call.slot[4], row)
    kernels(call).xent_soft(&a, count)

cdef void cross_entropy_soft_run(fn_call* call) noexcept nogil:
    cdef Cut c = cut(call)
    cdef double sum
    parallel(c.blocks, threads_for(call), cross_entropy_soft_block, &c)
    if call.size[0] != NONE:
        sum = kernels(call).total(call.size[OUTER], call.scratch)
        set_value(call, call.slot[3], sum / <double>call.size[IGNORE] if call.size[0] == MEAN else sum)

cdef void cross_entropy_soft_bwd_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t n = call.size[COUNT], count
    cdef int64_t row = first_of(c, block, &count)
    cdef fn_xent a = xent_of(call, 0)
    a.x = at(call, call.slot[0], row * n)
    a.p = at(call, call.slot[1], row * n)
    a.lse = at(call, call.slot[3], row)
    a.step = 1 if call.size[0] == NONE else 0
    a.g = at(call, c.g, row * a.step)
    a.dx = at(call, call.slot[5], row * n)
    a.dp = at(call, call.slot[6], row * n)
    kernels(call).xent_soft_bwd(&a, count)

cdef void cross_entropy_soft_bwd_run(fn_call* call) noexcept nogil:
    cdef Cut c = cut(call)
    incoming(&c, call.slot[4], <double>call.size[IGNORE] if call.size[0] == MEAN else 1.0)
    parallel(c.blocks, threads_for(call), cross_entropy_soft_bwd_block, &c)


declare(&softmax_fwd, "softmax_fwd", "x:in y:out", softmax_run, NULL)
declare(&softmax_bwd, "softmax_bwd", "y:in dy:in dx:out", softmax_bwd_run, NULL)
declare(&logsumexp_fwd, "logsumexp_fwd", "x:in y:out", logsumexp_run, NULL)
declare(&logsumexp_bwd, "logsumexp_bwd", "x:in y:in dy:in dx:out", logsumexp_bwd_run, NULL)
declare(&cross_entropy_fwd, "cross_entropy_fwd", "x:in t:in w:in loss:out lse:out total:out", cross_entropy_run,
        cross_entropy_scratch)
declare(&cross_entropy_bwd, "cross_entropy_bwd", "x:in t:in w:in lse:in total:in g:in dx:out", cross_entropy_bwd_run, NULL)
declare(&cross_entropy_soft_fwd, "cross_entropy_soft_fwd", "x:in p:in w:in loss:out lse:out", cross_entropy_soft_run,
        cross_entropy_scratch)
declare(&cross_entropy_soft_bwd, "cross_entropy_soft_bwd", "x:in p:in w:in lse:in g:in dx:out dp:out",
        cross_entropy_soft_bwd_run, NULL)
