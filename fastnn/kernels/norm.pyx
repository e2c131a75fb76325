"""Batch, layer, RMS and local response normalisation; groups of channels are in norm_group.pyx.

Batch normalisation has two cuts.  inner > 1, (N, C, inner): a block is a channel, its N rows merged in order.  inner == 1
(a matrix of N rows and C channels, or images stored channels last): blocks of rows leave partial sums per channel in
scratch, merged in block order; a single block is cut by columns instead.  Layer and group normalisation: a row or group
is on its own; the gradients of weight and bias are partial sums of at most 32 blocks of rows.
"""
from libc.math cimport sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for, threads_now
from fastnn.kernels.random cimport fn_random_table, fn_take_groups, random_tables
from fastnn.kernels.stage cimport STREAM_BYTES, make_result

cdef enum:
    BATCH_RELU = 4              # size[BATCH_RELU] of batch_norm_fwd and batch_norm_eval_fwd
    DRAWS_FROM = 9, MASK        # slots of batch_norm_fwd
    MASK_BACK = 9               # of batch_norm_bwd

# size = N, C, inner, cumulative?, relu?; scalar = eps, momentum.  inner == 1: rows of C channels; only these know a relu, and
# in plans dropout behind it (rng is there): scalar[2:] = probability, factor of what is kept; y is then what dropout makes.
cdef fn_kernel batch_norm_fwd, batch_norm_eval_fwd
# size = N, C, inner, eval?; scalar = eps.  In eval `rstd` holds the running variance.  gate: the output of the forward
# call's relu, or absent (inner == 1 only).  mask: that of the forward call's dropout and relu; scalar[1] = factor.
cdef fn_kernel batch_norm_bwd
# size = rows, n, rms?; scalar = eps.
cdef fn_kernel layer_norm_fwd, layer_norm_bwd
# size = N, C, inner, window; scalar = alpha, beta, k.
cdef fn_kernel local_response_norm_fwd, local_response_norm_bwd


# ---- batch normalisation, training -----------------------------------------------------------------------------
cdef struct Batch:
    fn_call* call
    int64_t N, C, inner, span
    double momentum
    int64_t blocks
    bint large                  # inner == 1: results go past the caches
    double* partial             # inner == 1: per block double[2][C]
    void* coefficients          # inner == 1: rows of C values in the call's dtype
    fn_norm_dropout dropout     # of the whole matrix, in plans: mask is NULL without one
    int64_t groups              # of draws
    uint64_t key, group

cdef Batch batch_of(fn_call* call) noexcept nogil:
    cdef Batch b
    b.call = call
    b.momentum = 0
    b.N, b.C, b.inner = call.size[0], call.size[1], call.size[2]
    b.span = rows_per_block(b.C)
    b.blocks = blocks_of(b.N, b.span)
    b.large = b.N * b.C * (8 if call.dtype == FN_F64 else 4) >= STREAM_BYTES
    b.partial = <double*>call.scratch
    b.coefficients = <char*>call.scratch + (b.blocks * 2 * b.C * 8 if b.inner == 1 else 0)
    b.dropout.mask, b.groups = NULL, 0
    return b

cdef inline int64_t second_time(const Batch* b, int64_t block) noexcept nogil:
    """The second pass over a large map runs backwards: what was read last is still in the cache."""
    return b.blocks - 1 - block if b.large else block

cdef inline const fn_random_table* draws(const fn_call* call) noexcept nogil:
    return (<const random_tables*>table).random[1 if call.dtype == FN_F64 else 0]

cdef inline int64_t groups_of(const fn_call* call) noexcept nogil:
    """Groups of draws that dropout of the whole matrix takes."""
    return blocks_of(call.size[0] * call.size[1], draws(call).per_group_dropout)

cdef int64_t batch_scratch(const fn_call* call) noexcept nogil:
    """Partial sums of every block of rows, and four coefficients per channel."""
    cdef int64_t C = call.size[1]
    return (blocks_of(call.size[0], rows_per_block(C)) * 2 + 4) * C * 8 if call.size[2] == 1 else 0

cdef int64_t batch_norm_scratch(const fn_call* call) noexcept nogil:
    """And the draws of dropout, with a word behind them."""
    return batch_scratch(call) + (groups_of(call) * draws(call).per_group_dropout // 8 + 8 if call.slot[DRAWS_FROM] != NULL else 0)

cdef inline void merge(double* moment, double seen, double count, double mean, double squares) noexcept nogil:
    """Chan's rule: join the moment of `count` more values to that of `seen`."""
    cdef double delta = mean - moment[0], all = seen + count
    moment[0] += delta * (count / all)
    moment[1] += squares + delta * delta * (seen * count / all)

cdef double finish_channel(const Batch* b, int64_t c, double mean, double squares) noexcept nogil:
    """Store a channel's statistics and move its running ones (with the unbiased variance); returns its 1 / std."""
    cdef fn_call* call = b.call
    cdef double n = <double>(b.N * b.inner), var = squares / n, m = b.momentum
    cdef double rstd = 1 / sqrt(var + call.scalar[0])
    put(call, call.slot[6], c, mean)
    put(call, call.slot[7], c, rstd)
    if call.slot[3] != NULL:
        put(call, call.slot[3], c, (1 - m) * get(call, call.slot[3], c, 0) + m * mean)
        put(call, call.slot[4], c, (1 - m) * get(call, call.slot[4], c, 0) + m * (squares / (n - 1)))
    return rstd

cdef void batch_channel(void* context, int64_t c, int worker) noexcept nogil:
    cdef Batch* b = <Batch*>context
    cdef fn_call* call = b.call
    cdef double moment[2]
    cdef double piece[2]
    cdef int64_t n, first
    cdef double rstd
    moment[0] = moment[1] = 0
    for n in range(b.N):
        kernels(call).moment(b.inner, at(call, call.slot[0], (n * b.C + c) * b.inner), piece)
        merge(moment, <double>(n * b.inner), <double>b.inner, piece[0], piece[1])
    rstd = finish_channel(b, c, moment[0], moment[1])
    for n in range(b.N):
        first = (n * b.C + c) * b.inner
        kernels(call).affine(b.inner, at(call, call.slot[0], first), moment[0], rstd * get(call, call.slot[1], c, 1),
                             get(call, call.slot[2], c, 0), at(call, call.slot[8], first))

cdef void draw(const Batch* b, int64_t part, int64_t parts) noexcept nogil:
    """A share of dropout's draws; who draws what does not matter."""
    cdef int64_t first = b.groups * part // parts, words = draws(b.call).per_group_dropout // 64
    if b.groups:
        draws(b.call).keep_bits(b.key, b.group + first, b.groups * (part + 1) // parts - first, b.call.scalar[2],
                                <uint64_t*>b.dropout.drawn + first * words)

cdef void column_moment_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Batch* b = <Batch*>context
    cdef int64_t first = block * b.span
    draw(b, block, b.blocks)
    kernels(b.call).column_moment(min(b.span, b.N - first), b.C, b.C, at(b.call, b.call.slot[0], first * b.C),
                                  b.partial + block * 2 * b.C)

cdef void normalise(const Batch* b, int64_t row, int64_t rows, int64_t column, int64_t n) noexcept nogil:
    """y = (x - mean) scale + shift; the three are rows 0, 1, 2 of the coefficients."""
    cdef fn_call* call = b.call
    cdef void* y = call.slot[8] if call.kernel == &batch_norm_fwd else call.slot[5]
    cdef int64_t first = row * b.C + column
    cdef fn_norm_dropout dropout
    if b.dropout.mask != NULL:
        dropout = b.dropout
        dropout.row, dropout.column = row, column
        kernels(call).column_dropout(rows, b.C, n, at(call, call.slot[0], first), at(call, b.coefficients, column),
                                     at(call, b.coefficients, b.C + column), at(call, b.coefficients, 2 * b.C + column), &dropout,
                                     at(call, y, first))
        return
    kernels(call).column_affine(rows, b.C, n, at(call, call.slot[0], first), at(call, b.coefficients, column),
                                at(call, b.coefficients, b.C + column), at(call, b.coefficients, 2 * b.C + column),
                                <int>call.size[BATCH_RELU], b.large, at(call, y, first))

cdef void column_affine_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Batch* b = <Batch*>context
    cdef int64_t first = second_time(b, block) * b.span
    normalise(b, first, min(b.span, b.N - first), 0, b.C)

cdef void finish_columns(const Batch* b, int64_t first, int64_t stop) noexcept nogil:
    """Statistics and coefficients of channels `first` to before `stop`, whose moments are merged."""
    cdef fn_call* call = b.call
    cdef int64_t c
    cdef double rstd
    for c in range(first, stop):
        rstd = finish_channel(b, c, b.partial[c], b.partial[b.C + c])
        put(call, b.coefficients, c, b.partial[c])
        put(call, b.coefficients, b.C + c, rstd * get(call, call.slot[1], c, 1))
        put(call, b.coefficients, 2 * b.C + c, get(call, call.slot[2], c, 0))

cdef void column_statistics(void* context, int64_t piece, int worker) noexcept nogil:
    cdef Batch* b = <Batch*>context
    cdef int64_t first = piece * FN_NORM_CHANNELS, n = min(FN_NORM_CHANNELS, b.C - first)
    draw(b, piece, blocks_of(b.C, FN_NORM_CHANNELS))
    kernels(b.call).column_moment(b.N, b.C, n, at(b.call, b.call.slot[0], first), b.partial + first)
    finish_columns(b, first, first + n)

cdef void column_results(void* context, int64_t piece, int worker) noexcept nogil:
    cdef Batch* b = <Batch*>context
    normalise(b, 0, b.N, piece * FN_NORM_CHANNELS, min(FN_NORM_CHANNELS, b.C - piece * FN_NORM_CHANNELS))

cdef void column_piece(void* context, int64_t piece, int worker) noexcept nogil:
    """All there is to do for some channels."""
    column_statistics(context, piece, worker)
    column_results(context, piece, worker)

cdef void begin_dropout(Batch* b) noexcept nogil:
    """Claim the draws; the call's scratch holds them behind what else lies there."""
    cdef fn_call* call = b.call
    cdef uint64_t* rng = <uint64_t*>call.slot[DRAWS_FROM]
    if rng == NULL:
        return
    b.groups = groups_of(call)
    b.key, b.group = rng[0], fn_take_groups(rng, <uint64_t>b.groups)
    b.dropout.mask, b.dropout.drawn = <uint32_t*>call.slot[MASK], <char*>call.scratch + batch_scratch(call)
    b.dropout.rows, b.dropout.factor, b.dropout.relu = b.N, call.scalar[3], <int>call.size[BATCH_RELU]

cdef void batch_columns(Batch* b) noexcept nogil:
    cdef fn_call* call = b.call
    cdef int64_t k, pieces = blocks_of(b.C, FN_NORM_CHANNELS)
    cdef int threads = threads_now(call)
    begin_dropout(b)
    if b.blocks == 1 and b.groups == 0:
        parallel(pieces, threads, column_piece, b)
        return
    if b.blocks == 1:                   # a row's draws belong to several pieces
        parallel(pieces, threads, column_statistics, b)
        parallel(pieces, threads, column_results, b)
        return
    parallel(b.blocks, threads, column_moment_block, b)
    for k in range(1, b.blocks):
        kernels(call).column_merge(b.C, <double>(k * b.span), <double>min(b.span, b.N - k * b.span),
                                   b.partial + k * 2 * b.C, b.partial)
    finish_columns(b, 0, b.C)
    parallel(b.blocks, threads, column_affine_block, b)

cdef void batch_norm_run(fn_call* call) noexcept nogil:
    """y = (x - mean) / sqrt(var + eps) w + b with the batch's statistics; counts the batch and moves the running ones."""
    cdef Batch b = batch_of(call)
    cdef int64_t* tracked = <int64_t*>call.slot[5]
    b.momentum = call.scalar[1]
    if tracked != NULL:
        tracked[0] += 1
        if call.size[3]:
            b.momentum = 1.0 / <double>tracked[0]
    if b.inner == 1:
        batch_columns(&b)
    else:
        parallel(b.C, threads_now(call), batch_channel, &b)


# ---- batch normalisation with given statistics ------------------------------------------------------------------
cdef void eval_block(void* context, int64_t block, int worker) noexcept nogil:
    """Rows block * span ... of the N * C rows of `inner`."""
    cdef Batch* b = <Batch*>context
    cdef fn_call* call = b.call
    cdef int64_t row, c, first = block * b.span
    for row in range(first, min(first + b.span, b.N * b.C)):
        c = row % b.C
        kernels(call).affine(b.inner, at(call, call.slot[0], row * b.inner), get(call, call.slot[3], c, 0),
                             get(call, call.slot[1], c, 1) / sqrt(get(call, call.slot[4], c, 0) + call.scalar[0]),
                             get(call, call.slot[2], c, 0), at(call, call.slot[5], row * b.inner))

cdef void batch_norm_eval_run(fn_call* call) noexcept nogil:
    cdef Batch b = batch_of(call)
    cdef int64_t c
    if b.inner == 1:
        for c in range(b.C):
            put(call, b.coefficients, c, get(call, call.slot[3], c, 0))
            put(call, b.coefficients, b.C + c,
                get(call, call.slot[1], c, 1) / sqrt(get(call, call.slot[4], c, 0) + call.scalar[0]))
            put(call, b.coefficients, 2 * b.C + c, get(call, call.slot[2], c, 0))
        parallel(b.blocks, threads_for(call), column_affine_block, &b)
    else:
        b.span = rows_per_block(b.inner)
        parallel(blocks_of(b.N * b.C, b.span), threads_for(call), eval_block, &b)


# ---- batch normalisation, backward ---------------------------------------------------------------------------------
cdef struct Slope:
    double a, b, c              # dx = a g + b (x - mean) + c

cdef inline double rstd_of(const fn_call* call, int64_t c) noexcept nogil:
    cdef double v = get(call, call.slot[3], c, 1)
    return 1 / sqrt(v + call.scalar[0]) if call.size[3] else v

cdef Slope finish_gradient(const Batch* b, int64_t c, double g, double gx) noexcept nogil:
    """dw and db of a channel from sum g and sum g (x - mean), and the coefficients of dx."""
    cdef fn_call* call = b.call
    cdef double rstd = rstd_of(call, c), n = <double>(b.N * b.inner)
    cdef Slope s
    put(call, call.slot[6], c, gx * rstd)
    put(call, call.slot[7], c, g)
    s.a = rstd * get(call, call.slot[1], c, 1)
    s.b = 0 if call.size[3] else -s.a * rstd * rstd * gx / n
    s.c = 0 if call.size[3] else -s.a * g / n
    return s

cdef void batch_channel_bwd(void* context, int64_t c, int worker) noexcept nogil:
    cdef Batch* b = <Batch*>context
    cdef fn_call* call = b.call
    cdef double sums[2]
    cdef double g = 0, gx = 0, mean = get(call, call.slot[2], c, 0)
    cdef int64_t n, first
    for n in range(b.N):
        first = (n * b.C + c) * b.inner
        kernels(call).sums(b.inner, at(call, call.slot[4], first), at(call, call.slot[0], first), mean, sums)
        g += sums[0]
        gx += sums[1]
    cdef Slope s = finish_gradient(b, c, g, gx)
    if call.slot[5] == NULL:
        return
    for n in range(b.N):
        first = (n * b.C + c) * b.inner
        kernels(call).affine_bwd(b.inner, at(call, call.slot[4], first), at(call, call.slot[0], first), mean,
                                 s.a, s.b, s.c, at(call, call.slot[5], first))

cdef fn_norm_dropout dropout_at(const Batch* b, int64_t row, int64_t column) noexcept nogil:
    cdef fn_norm_dropout dropout
    memset(&dropout, 0, sizeof(dropout))
    dropout.mask, dropout.factor = <uint32_t*>b.call.slot[MASK_BACK], b.call.scalar[1]
    dropout.rows, dropout.row, dropout.column = b.N, row, column
    return dropout

cdef void sum_columns(const Batch* b, int64_t row, int64_t rows, int64_t column, int64_t n, double* sums) noexcept nogil:
    cdef fn_call* call = b.call
    cdef int64_t first = row * b.C + column
    cdef fn_norm_dropout dropout = dropout_at(b, row, column)
    kernels(call).column_sums(rows, b.C, n, at(call, call.slot[4], first), at(call, call.slot[8], first),
                              NULL if dropout.mask == NULL else &dropout, at(call, call.slot[0], first),
                              at(call, call.slot[2], column), sums)

cdef void slope_columns(const Batch* b, int64_t row, int64_t rows, int64_t column, int64_t n) noexcept nogil:
    cdef fn_call* call = b.call
    cdef int64_t first = row * b.C + column
    cdef fn_norm_dropout dropout = dropout_at(b, row, column)
    if call.slot[5] == NULL:
        return
    kernels(call).column_affine_bwd(rows, b.C, n, at(call, call.slot[4], first), at(call, call.slot[8], first),
                                    NULL if dropout.mask == NULL else &dropout, at(call, call.slot[0], first),
                                    at(call, call.slot[2], column), at(call, b.coefficients, column),
                                    at(call, b.coefficients, b.C + column), at(call, b.coefficients, 2 * b.C + column), b.large,
                                    at(call, call.slot[5], first))

cdef void column_sums_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Batch* b = <Batch*>context
    cdef int64_t first = block * b.span
    sum_columns(b, first, min(b.span, b.N - first), 0, b.C, b.partial + block * 2 * b.C)

cdef void column_affine_bwd_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Batch* b = <Batch*>context
    cdef int64_t first = second_time(b, block) * b.span
    slope_columns(b, first, min(b.span, b.N - first), 0, b.C)

cdef void finish_gradients(const Batch* b, int64_t first, int64_t stop) noexcept nogil:
    """Gradients of weight and bias, and the coefficients of dx, of channels `first` to before `stop`, whose sums are joined."""
    cdef fn_call* call = b.call
    cdef int64_t c
    cdef Slope s
    for c in range(first, stop):
        s = finish_gradient(b, c, b.partial[c], b.partial[b.C + c])
        put(call, b.coefficients, c, s.a)
        put(call, b.coefficients, b.C + c, s.b)
        put(call, b.coefficients, 2 * b.C + c, s.c)

cdef void column_bwd_piece(void* context, int64_t piece, int worker) noexcept nogil:
    """All there is to do for some channels."""
    cdef Batch* b = <Batch*>context
    cdef int64_t first = piece * FN_NORM_CHANNELS, n = min(FN_NORM_CHANNELS, b.C - first)
    sum_columns(b, 0, b.N, first, n, b.partial + first)
    finish_gradients(b, first, first + n)
    slope_columns(b, 0, b.N, first, n)

cdef void batch_norm_bwd_run(fn_call* call) noexcept nogil:
    """dx, dw, db from g; dx, dw, db may be absent."""
    cdef Batch b = batch_of(call)
    cdef int threads = threads_now(call)
    cdef int64_t k, c
    if b.inner != 1:
        parallel(b.C, threads, batch_channel_bwd, &b)
        return
    if b.blocks == 1:
        parallel(blocks_of(b.C, FN_NORM_CHANNELS), threads, column_bwd_piece, &b)
        return
    parallel(b.blocks, threads, column_sums_block, &b)
    for k in range(1, b.blocks):
        for c in range(2 * b.C):
            b.partial[c] += b.partial[k * 2 * b.C + c]
    finish_gradients(&b, 0, b.C)
    parallel(b.blocks, threads, column_affine_bwd_block, &b)


# ---- layer and RMS normalisation ---------------------------------------------------------------------------------------
cdef void layer_rows(void* context, int64_t first, int64_t count, char* y) noexcept nogil:
    """Whole rows: elements first .. first + count."""
    cdef fn_call* call = <fn_call*>context
    cdef int64_t n = call.size[1], row = first // n
    kernels(call).layer(<int>call.size[2], count // n, n, call.scalar[0], at(call, call.slot[0], first), call.slot[1],
                        call.slot[2], y, at(call, call.slot[3], row), at(call, call.slot[4], row))

cdef void layer_norm_run(fn_call* call) noexcept nogil:
    """y = (x - mean) rstd w + b over rows of n; rms: mean 0."""
    cdef int64_t rows = call.size[0], n = call.size[1]
    if n == 0:
        kernels(call).layer(<int>call.size[2], rows, 0, call.scalar[0], NULL, NULL, NULL, NULL, call.slot[3], call.slot[4])
        return
    make_result(layer_rows, call, rows * n, 8 if call.dtype == FN_F64 else 4, n, call.slot[5], call.slot[0] == call.slot[5],
                threads_for(call))

cdef inline int64_t layer_span(const fn_call* call) noexcept nogil:
    """Rows per block of partial dw and db: at most 32 blocks."""
    return max(blocks_of(call.size[0], 32), 8)

cdef void layer_bwd_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t n = call.size[1], span = layer_span(call), first = block * span
    cdef char* part = at(call, call.scratch, block * 2 * n)
    if call.slot[6] != NULL or call.slot[7] != NULL:
        memset(part, 0, 2 * n * (8 if call.dtype == FN_F64 else 4))
    kernels(call).layer_bwd(<int>call.size[2], min(span, call.size[0] - first), n, at(call, call.slot[0], first * n),
                            call.slot[1], at(call, call.slot[2], first), at(call, call.slot[3], first),
                            at(call, call.slot[4], first * n), at(call, call.slot[5], first * n),
                            NULL if call.slot[6] == NULL else part, NULL if call.slot[7] == NULL else at(call, part, n))

cdef void layer_norm_bwd_run(fn_call* call) noexcept nogil:
    cdef int64_t n = call.size[1], blocks = blocks_of(call.size[0], layer_span(call)), k
    cdef int64_t width = 8 if call.dtype == FN_F64 else 4
    parallel(blocks, threads_for(call), layer_bwd_block, call)
    if call.slot[6] != NULL:
        memset(call.slot[6], 0, n * width)
        for k in range(blocks):
            kernels(call).add(n, at(call, call.scratch, k * 2 * n), call.slot[6])
    if call.slot[7] != NULL:
        memset(call.slot[7], 0, n * width)
        for k in range(blocks):
            kernels(call).add(n, at(call, call.scratch, (k * 2 + 1) * n), call.slot[7])

cdef int64_t layer_norm_bwd_scratch(const fn_call* call) noexcept nogil:
    if call.slot[6] == NULL and call.slot[7] == NULL:
        return 0
    return blocks_of(call.size[0], layer_span(call)) * 2 * call.size[1] * 8


# ---- local response normalisation: a block is one sample -----------------------------------------------------------------
cdef void response_block(void* context, int64_t n, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = n * call.size[1] * call.size[2]
    kernels(call).response(call.size[1], call.size[2], call.size[3], call.scalar[0], call.scalar[1], call.scalar[2],
                           at(call, call.slot[0], first), at(call, call.slot[1], first), at(call, call.slot[2], first))

cdef void local_response_norm_run(fn_call* call) noexcept nogil:
    parallel(call.size[0], threads_for(call), response_block, call)

cdef void response_bwd_block(void* context, int64_t n, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = n * call.size[1] * call.size[2]
    kernels(call).response_bwd(call.size[1], call.size[2], call.size[3], call.scalar[0], call.scalar[1],
                               at(call, call.slot[0], first), at(call, call.slot[1], first),
                               at(call, call.slot[2], first), at(call, call.slot[3], first))

cdef void local_response_norm_bwd_run(fn_call* call) noexcept nogil:
    parallel(call.size[0], threads_for(call), response_bwd_block, call)


declare(&batch_norm_fwd, "batch_norm_fwd",
        "x:in w:in b:in running_mean:state running_var:state tracked:state mean:out rstd:out y:out rng:state mask:out",
        batch_norm_run, batch_norm_scratch)
declare(&batch_norm_eval_fwd, "batch_norm_eval_fwd", "x:in w:in b:in mean:in var:in y:out", batch_norm_eval_run,
        batch_scratch)
declare(&batch_norm_bwd, "batch_norm_bwd", "x:in w:in mean:in rstd:in g:in dx:out dw:out db:out gate:in mask:in",
        batch_norm_bwd_run, batch_scratch)
declare(&layer_norm_fwd, "layer_norm_fwd", "x:in w:in b:in mean:out rstd:out y:out", layer_norm_run, NULL)
declare(&layer_norm_bwd, "layer_norm_bwd", "x:in w:in mean:in rstd:in g:in dx:out dw:out db:out", layer_norm_bwd_run,
        layer_norm_bwd_scratch)
declare(&local_response_norm_fwd, "local_response_norm_fwd", "x:in d:out y:out", local_response_norm_run, NULL)
declare(&local_response_norm_bwd, "local_response_norm_bwd", "x:in d:in g:in dx:out", local_response_norm_bwd_run, NULL)
