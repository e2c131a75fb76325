"""Losses: pointwise ones from csrc/loss.def, negative log likelihood, multi-class margins, CTC.

Pointwise sums: blocks of 8192 elements, each block's sum kept in scratch, added in block order.  Losses per row: one
value per row, added in row order.  The others are split over rows or sequences.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.native cimport (FN_F64, FN_INDEX_OUT_OF_RANGE, FN_OUTSIDE_UNIT_INTERVAL, declare, fn_call, fn_kernel,
                                    parallel, table, threads_for, threads_now)

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_loss_args:
        const void* x
        const void* t
        const void* z
        const void* w
        double p
        double q
        void* out
        const void* g
        int64_t step
        void* dx
        void* dt
        void* dz
    ctypedef struct fn_ctc:
        const void* p
        int64_t T, C, stride, L, blank
        const int64_t* l
        double* alpha
        double* beta
        double nll
        double g
        void* dp
    ctypedef struct fn_loss_table:
        const char* name[64]
        double (*value[64])(const fn_loss_args* a, int64_t n) noexcept nogil
        void (*gradient[64])(const fn_loss_args* a, int64_t n) noexcept nogil
        double (*total)(int64_t n, const void* x) noexcept nogil
        int (*check)(int64_t n, const int64_t* t, int64_t classes, int64_t ignore, int64_t* fault) noexcept nogil
        int (*in_unit_interval)(int64_t n, const void* x) noexcept nogil
        void (*nll)(int64_t N, int64_t C, int64_t inner, const void* x, const int64_t* t, const void* w, int64_t ignore,
                    void* loss, void* den) noexcept nogil
        void (*nll_bwd)(int64_t N, int64_t C, int64_t inner, const int64_t* t, const void* w, int64_t ignore,
                        const void* g, int64_t step, void* dx) noexcept nogil
        void (*multi_margin)(int64_t rows, int64_t C, int power, double margin, const void* x, const int64_t* t,
                             const void* w, void* loss) noexcept nogil
        void (*multi_margin_bwd)(int64_t rows, int64_t C, int power, double margin, const void* x, const int64_t* t,
                                 const void* w, const void* g, int64_t step, void* dx) noexcept nogil
        void (*multilabel_margin)(int64_t rows, int64_t C, const void* x, const int64_t* t, void* hit,
                                  void* loss) noexcept nogil
        void (*multilabel_margin_bwd)(int64_t rows, int64_t C, const void* x, const int64_t* t, const void* hit,
                                      const void* g, int64_t step, void* dx) noexcept nogil
        double (*ctc)(const fn_ctc* a) noexcept nogil
        void (*ctc_bwd)(const fn_ctc* a) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_loss_table* loss[2]

cdef enum: BLOCK = 8192

# One pair per line of loss.def.  size = reduction, n, loss, divide by the sum of weights?; scalar = p, q, scale of the sum.
cdef fn_kernel[64] pointwise_fwd
cdef fn_kernel[64] pointwise_bwd
# size = reduction, N, C, inner, ignore_index.
cdef fn_kernel nll_loss_fwd, nll_loss_bwd
# size = reduction, rows, C, power; scalar = margin.
cdef fn_kernel multi_margin_fwd, multi_margin_bwd
# size = reduction, rows, C.
cdef fn_kernel multilabel_margin_fwd, multilabel_margin_bwd
# size = reduction, T, N, C, longest target, blank, zero_infinity?
cdef fn_kernel ctc_loss_fwd, ctc_loss_bwd


cdef inline const fn_loss_table* kernels(const fn_call* call) noexcept nogil:
    return (<const tables*>table).loss[1 if call.dtype == FN_F64 else 0]

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

cdef struct Share:
    fn_call* call
    const void* g               # the gradient that reaches an element: one value, or one for each
    double factor               # room for the one value


# ---- pointwise ---------------------------------------------------------------------------------------------
cdef fn_loss_args args_of(const fn_call* call, int64_t first) noexcept nogil:
    cdef fn_loss_args a
    memset(&a, 0, sizeof(a))
    a.x = at(call, call.slot[0], first)
    a.t = at(call, call.slot[1], first)
    a.z = at(call, call.slot[2], first)
    a.w = at(call, call.slot[3], first)
    a.p = call.scalar[0]
    a.q = call.scalar[1]
    return a

cdef void pointwise_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = block * BLOCK
    cdef fn_loss_args a = args_of(call, first)
    if call.size[0] == NONE:
        a.out = at(call, call.slot[4], first)
    cdef double sum = kernels(call).value[call.size[2]](&a, min(<int64_t>BLOCK, call.size[1] - first))
    if call.size[0] != NONE:
        (<double*>call.scratch)[block] = sum

cdef void pointwise_run(fn_call* call) noexcept nogil:
    """The loss of every element, or the sum of them times scalar[2] (or divided by the sum of the weights)."""
    cdef int64_t n = call.size[1], blocks = (n + BLOCK - 1) // BLOCK, k
    cdef double sum = 0, total = 1
    if call.size[2] == FN_LOSS_binary_cross_entropy:
        if not kernels(call).in_unit_interval(n, call.slot[0]):
            call.status, call.fault = FN_OUTSIDE_UNIT_INTERVAL, 0
            return
        if not kernels(call).in_unit_interval(n, call.slot[1]):
            call.status, call.fault = FN_OUTSIDE_UNIT_INTERVAL, 1
            return
    parallel(blocks, threads_now(call), pointwise_block, call)
    if call.size[0] == NONE:
        return
    for k in range(blocks):
        sum += (<double*>call.scratch)[k]
    if call.size[3]:
        total = kernels(call).total(n, call.slot[3])
        set_value(call, call.slot[5], total)
    set_value(call, call.slot[4], sum / total * call.scalar[2])

cdef int64_t pointwise_scratch(const fn_call* call) noexcept nogil:
    return 0 if call.size[0] == NONE else (call.size[1] + BLOCK - 1) // BLOCK * 8

cdef void pointwise_bwd_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Share* s = <Share*>context
    cdef fn_call* call = s.call
    cdef int64_t first = block * BLOCK
    cdef fn_loss_args a = args_of(call, first)
    a.step = 1 if call.size[0] == NONE else 0
    a.g = at(call, s.g, first * a.step)
    a.dx = at(call, call.slot[6], first)
    a.dt = at(call, call.slot[7], first)
    a.dz = at(call, call.slot[8], first)
    kernels(call).gradient[call.size[2]](&a, min(<int64_t>BLOCK, call.size[1] - first))

cdef void pointwise_bwd_run(fn_call* call) noexcept nogil:
    cdef Share s
    s.call = call
    s.g = call.slot[5]
    if call.size[0] != NONE:
        set_value(call, &s.factor, value(call, s.g) * call.scalar[2]
                  / (value(call, call.slot[4]) if call.size[3] else 1.0))
        s.g = &s.factor
    parallel((call.size[1] + BLOCK - 1) // BLOCK, threads_now(call), pointwise_bwd_block, &s)


# ---- losses with one value per row: reduced in row order -------------------------------------------------------
cdef void reduce_rows(fn_call* call, int64_t rows, void* loss) noexcept nogil:
    cdef double sum
    if call.size[0] != NONE:
        sum = kernels(call).total(rows, call.scratch)
        set_value(call, loss, sum / <double>rows if call.size[0] == MEAN else sum)

cdef Share share_of(fn_call* call, const void* g, double divisor) noexcept nogil:
    cdef Share s
    s.call = call
    s.g = g
    s.factor = 0
    if call.size[0] != NONE:
        set_value(call, &s.factor, value(call, g) / (divisor if call.size[0] == MEAN else 1.0))
    return s

cdef inline const void* gradient_of(const Share* s, int64_t row) noexcept nogil:
    return at(s.call, s.g, row) if s.call.size[0] == NONE else <const void*>&s.factor

cdef inline int64_t step_of(const fn_call* call) noexcept nogil:
    return 1 if call.size[0] == NONE else 0

cdef int64_t rows_scratch(const fn_call* call) noexcept nogil:
    return 0 if call.size[0] == NONE else call.size[1] * 8


cdef void nll_run(fn_call* call) noexcept nogil:
    """-w[t] x[t] of every row; for the mean also the sum of the weights that it is divided by."""
    cdef int64_t N = call.size[1], C = call.size[2], inner = call.size[3], rows = N * inner
    cdef double sum, total
    cdef const int64_t* t = <const int64_t*>call.slot[1]
    if kernels(call).check(rows, t, C, call.size[4], &call.fault):
        call.status = FN_INDEX_OUT_OF_RANGE
        return
    kernels(call).nll(N, C, inner, call.slot[0], t, call.slot[2], call.size[4],
                      call.slot[3] if call.size[0] == NONE else call.scratch,
                      at(call, call.scratch, rows) if call.size[0] == MEAN else NULL)
    if call.size[0] == NONE:
        return
    sum = kernels(call).total(rows, call.scratch)
    if call.size[0] == MEAN:
        total = kernels(call).total(rows, at(call, call.scratch, rows))
        set_value(call, call.slot[4], total)
        sum /= total
    set_value(call, call.slot[3], sum)

cdef int64_t nll_scratch(const fn_call* call) noexcept nogil:
    return 0 if call.size[0] == NONE else call.size[1] * call.size[3] * 16

cdef inline int64_t nll_span(const fn_call* call) noexcept nogil:
    return max(16384 // max(call.size[2] * call.size[3], 1), 1)

cdef void nll_bwd_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Share* s = <Share*>context
    cdef fn_call* call = s.call
    cdef int64_t C = call.size[2], inner = call.size[3], first = block * nll_span(call)
    kernels(call).nll_bwd(min(nll_span(call), call.size[1] - first), C, inner,
                          <const int64_t*>call.slot[0] + first * inner, call.slot[1], call.size[4],
                          gradient_of(s, first * inner), step_of(call), at(call, call.slot[4], first * C * inner))

cdef void nll_bwd_run(fn_call* call) noexcept nogil:
    cdef Share s = share_of(call, call.slot[3], value(call, call.slot[2]) if call.size[0] == MEAN else 1.0)
    parallel((call.size[1] + nll_span(call) - 1) // nll_span(call), threads_for(call), nll_bwd_block, &s)


cdef void multi_margin_run(fn_call* call) noexcept nogil:
    cdef int64_t rows = call.size[1], C = call.size[2]
    cdef const int64_t* t = <const int64_t*>call.slot[1]
    if kernels(call).check(rows, t, C, 0, &call.fault):
        call.status = FN_INDEX_OUT_OF_RANGE
        return
    kernels(call).multi_margin(rows, C, <int>call.size[3], call.scalar[0], call.slot[0], t, call.slot[2],
                               call.slot[3] if call.size[0] == NONE else call.scratch)
    reduce_rows(call, rows, call.slot[3])

cdef void multi_margin_bwd_run(fn_call* call) noexcept nogil:
    cdef Share s = share_of(call, call.slot[3], <double>call.size[1])
    kernels(call).multi_margin_bwd(call.size[1], call.size[2], <int>call.size[3], call.scalar[0], call.slot[0],
                                   <const int64_t*>call.slot[1], call.slot[2], gradient_of(&s, 0), step_of(call),
                                   call.slot[4])

cdef void multilabel_margin_run(fn_call* call) noexcept nogil:
    cdef int64_t rows = call.size[1], C = call.size[2]
    cdef const int64_t* t = <const int64_t*>call.slot[1]
    if kernels(call).check(rows * C, t, C, -1, &call.fault):
        call.status = FN_INDEX_OUT_OF_RANGE
        return
    kernels(call).multilabel_margin(rows, C, call.slot[0], t, call.slot[2],
                                    call.slot[3] if call.size[0] == NONE else call.scratch)
    reduce_rows(call, rows, call.slot[3])

cdef void multilabel_margin_bwd_run(fn_call* call) noexcept nogil:
    cdef Share s = share_of(call, call.slot[3], <double>call.size[1])
    kernels(call).multilabel_margin_bwd(call.size[1], call.size[2], call.slot[0], <const int64_t*>call.slot[1],
                                        call.slot[2], gradient_of(&s, 0), step_of(call), call.slot[4])


# ---- CTC: a block is one sequence -----------------------------------------------------------------------------
# size: 0 reduction, 1 T, 2 N, 3 C, 4 longest target, 5 blank, 6 zero_infinity.
cdef fn_ctc ctc_of(const fn_call* call, int64_t n) noexcept nogil:
    """slots: p, targets, first target of each sequence, input lengths, target lengths."""
    cdef fn_ctc a
    cdef int64_t S = 2 * call.size[4] + 1
    memset(&a, 0, sizeof(a))
    a.C = call.size[3]
    a.stride = call.size[2] * a.C
    a.p = at(call, call.slot[0], n * a.C)
    a.l = <const int64_t*>call.slot[1] + (<const int64_t*>call.slot[2])[n]
    a.T = (<const int64_t*>call.slot[3])[n]
    a.L = (<const int64_t*>call.slot[4])[n]
    a.blank = call.size[5]
    a.alpha = <double*>call.slot[5] + n * call.size[1] * S
    return a

cdef void ctc_block(void* context, int64_t n, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef fn_ctc a = ctc_of(call, n)
    (<double*>call.slot[6])[n] = kernels(call).ctc(&a)

cdef void ctc_run(fn_call* call) noexcept nogil:
    """Negative log likelihood of every sequence; its mean is over the losses divided by the target lengths."""
    cdef int64_t n, N = call.size[2], length
    cdef double v, sum = 0
    memset(call.slot[5], 0, call.size[1] * N * (2 * call.size[4] + 1) * 8)
    parallel(N, threads_for(call), ctc_block, call)
    for n in range(N):
        v = (<double*>call.slot[6])[n]
        if call.size[6] and v == INFINITY:
            v = 0
        if call.size[0] == NONE:
            set_value(call, at(call, call.slot[7], n), v)
        length = (<const int64_t*>call.slot[4])[n]
        sum += v / <double>max(length, 1) if call.size[0] == MEAN else v
    if call.size[0] != NONE:
        set_value(call, call.slot[7], sum / <double>N if call.size[0] == MEAN else sum)

cdef void ctc_bwd_block(void* context, int64_t n, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef fn_ctc a = ctc_of(call, n)
    cdef int64_t t
    a.beta = <double*>call.scratch + n * 2 * (2 * call.size[4] + 1)
    a.nll = (<double*>call.slot[6])[n]
    a.dp = at(call, call.slot[8], n * a.C)
    a.g = value(call, at(call, call.slot[7], n if call.size[0] == NONE else 0))
    if call.size[0] == MEAN:
        a.g /= <double>max(a.L, 1) * <double>call.size[2]
    if call.size[6] and a.nll == INFINITY:
        a.T = 0
    kernels(call).ctc_bwd(&a)
    for t in range(a.T, call.size[1]):
        memset(at(call, a.dp, t * a.stride), 0, a.C * (8 if call.dtype == FN_F64 else 4))

cdef void ctc_bwd_run(fn_call* call) noexcept nogil:
    parallel(call.size[2], threads_for(call), ctc_bwd_block, call)

cdef int64_t ctc_bwd_scratch(const fn_call* call) noexcept nogil:
    return call.size[2] * 2 * (2 * call.size[4] + 1) * 8


def declare_pointwise():
    """A pair of kernels for every line of loss.def."""
    cdef int k
    for k in range(FN_LOSSES):
        name = (<const tables*>table).loss[0].name[k].decode()
        declare(&pointwise_fwd[k], name + "_fwd", "x:in t:in z:in w:in loss:out total:out", pointwise_run, pointwise_scratch)
        declare(&pointwise_bwd[k], name + "_bwd", "x:in t:in z:in w:in total:in g:in dx:out dt:out dz:out",
                pointwise_bwd_run, NULL)


declare_pointwise()
declare(&nll_loss_fwd, "nll_loss_fwd", "x:in t:in w:in loss:out total:out", nll_run, nll_scratch)
declare(&nll_loss_bwd, "nll_loss_bwd", "t:in w:in total:in g:in dx:out", nll_bwd_run, NULL)
declare(&multi_margin_fwd, "multi_margin_fwd", "x:in t:in w:in loss:out", multi_margin_run, rows_scratch)
declare(&multi_margin_bwd, "multi_margin_bwd", "x:in t:in w:in g:in dx:out", multi_margin_bwd_run, NULL)
declare(&multilabel_margin_fwd, "multilabel_margin_fwd", "x:in t:in hit:out loss:out", multilabel_margin_run, rows_scratch)
declare(&multilabel_margin_bwd, "multilabel_margin_bwd", "x:in t:in hit:in g:in dx:out", multilabel_margin_bwd_run, NULL)
declare(&ctc_loss_fwd, "ctc_loss_fwd",
        "p:in targets:in first:in input_lengths:in target_lengths:in alpha:out nll:out loss:out", ctc_run, NULL)
declare(&ctc_loss_bwd, "ctc_loss_bwd",
        "p:in targets:in first:in input_lengths:in target_lengths:in alpha:in nll:in g:in dp:out", ctc_bwd_run,
        ctc_bwd_scratch)
