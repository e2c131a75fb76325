"""Group and instance normalisation: statistics per sample and group of channels, weight and bias per channel.

In C order the N * G groups are rows of (C / G) * inner.  Channels last, a sample is `inner` rows of C channels: blocks of
rows leave moments or sums per channel, merged in order and then over the channels of a group.
"""
from libc.math cimport sqrt
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, threads_for
from fastnn.kernels.norm cimport BLOCK, at, blocks_of, get, kernels, put, rows_per_block
from fastnn.kernels.stage cimport STREAM_BYTES

# size = N, C, inner, groups, channels last?; scalar = eps.
cdef fn_kernel group_norm_fwd, group_norm_bwd
# size = N, C, inner; scalar = momentum.
cdef fn_kernel instance_norm_statistics

cdef enum:
    LAST = 4
    SAMPLES = 8                 # from so many on, a sample goes through all steps at once, while it is in the cache


cdef inline bint is_backward(const fn_call* call) noexcept nogil:
    return call.kernel == &group_norm_bwd


# ---- C order -----------------------------------------------------------------------------------------------------------
cdef inline int64_t group_elements(const fn_call* call) noexcept nogil:
    return call.size[1] // call.size[3] * call.size[2]

cdef void group_rows(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t G = call.size[3], channels = call.size[1] // G, n = group_elements(call), row, first
    cdef int64_t span = max(BLOCK // max(n, 1), 1), rows = call.size[0] * G
    cdef double moment[2]
    first = block * span
    for row in range(first, min(first + span, rows)):
        kernels(call).moment(n, at(call, call.slot[0], row * n), moment)
        moment[1] /= <double>n
        kernels(call).group(channels, call.size[2], at(call, call.slot[0], row * n),
                            at(call, call.slot[1], row % G * channels), at(call, call.slot[2], row % G * channels),
                            moment[0], put_statistics(call, row, moment[0], moment[1]), at(call, call.slot[6], row * n))

cdef double put_statistics(fn_call* call, int64_t row, double mean, double var) noexcept nogil:
    """Store a group's statistics; returns 1 / std."""
    cdef double rstd = 1 / sqrt(var + call.scalar[0])
    put(call, call.slot[3], row, mean)
    put(call, call.slot[4], row, rstd)
    put(call, call.slot[5], row, var)
    return rstd

cdef void group_rows_bwd(void* context, int64_t block, int worker) noexcept nogil:
    """dx, and per sample and channel {sum g, sum g (x - mean) rstd} in scratch."""
    cdef fn_call* call = <fn_call*>context
    cdef int64_t G = call.size[3], channels = call.size[1] // G, n = group_elements(call), row, first
    cdef int64_t span = max(BLOCK // max(n, 1), 1), rows = call.size[0] * G
    first = block * span
    for row in range(first, min(first + span, rows)):
        kernels(call).group_bwd(channels, call.size[2], at(call, call.slot[0], row * n),
                                at(call, call.slot[1], row % G * channels), at(call, call.slot[4], row * n),
                                get(call, call.slot[2], row, 0), get(call, call.slot[3], row, 0),
                                at(call, call.slot[5], row * n), <double*>call.scratch + row * channels * 2)


# ---- channels last -----------------------------------------------------------------------------------------------------
cdef struct Columns:
    fn_call* call
    int64_t N, C, inner, span
    int64_t blocks              # of a sample
    bint large                  # results go past the caches
    double* partial             # per sample and block double[2][C]; the first block ends with the sample's
    char* coefficients          # per sample four rows of C values in the call's dtype

cdef Columns columns_of(fn_call* call) noexcept nogil:
    cdef Columns s
    s.call = call
    s.N, s.C, s.inner = call.size[0], call.size[1], call.size[2]
    s.span = rows_per_block(s.C)
    s.blocks = blocks_of(s.inner, s.span)
    s.large = s.N * s.C * s.inner * (at(call, call.slot[0], 1) - <char*>call.slot[0]) >= STREAM_BYTES
    s.partial = <double*>call.scratch
    s.coefficients = <char*>(s.partial + s.N * s.blocks * 2 * s.C)
    return s

cdef inline double* partial_of(const Columns* s, int64_t n, int64_t block) noexcept nogil:
    return s.partial + (n * s.blocks + block) * 2 * s.C

cdef inline char* coefficient(const Columns* s, int64_t n, int64_t row) noexcept nogil:
    return at(s.call, s.coefficients, (n * 4 + row) * s.C)

cdef void first_pass(void* context, int64_t unit, int worker) noexcept nogil:
    """Moments of a block of rows, or its sums of g and g (x - mean)."""
    cdef Columns* s = <Columns*>context
    cdef fn_call* call = s.call
    cdef int64_t n = unit // s.blocks, block = unit % s.blocks, first = (n * s.inner + block * s.span) * s.C
    cdef int64_t rows = min(s.span, s.inner - block * s.span)
    if not is_backward(call):
        kernels(call).column_moment(rows, s.C, s.C, at(call, call.slot[0], first), partial_of(s, n, block))
        return
    kernels(call).column_sums(rows, s.C, s.C, at(call, call.slot[4], first), NULL, NULL, at(call, call.slot[0], first),
                              coefficient(s, n, 0), partial_of(s, n, block))

cdef void last_pass(void* context, int64_t unit, int worker) noexcept nogil:
    """Of a sample the last block first, which was read last."""
    cdef Columns* s = <Columns*>context
    cdef fn_call* call = s.call
    cdef int64_t n = unit // s.blocks, block = s.blocks - 1 - unit % s.blocks, first = (n * s.inner + block * s.span) * s.C
    cdef int64_t rows = min(s.span, s.inner - block * s.span)
    if not is_backward(call):
        kernels(call).column_affine(rows, s.C, s.C, at(call, call.slot[0], first), coefficient(s, n, 0), coefficient(s, n, 1),
                                    coefficient(s, n, 2), 0, s.large, at(call, call.slot[6], first))
    elif call.slot[5] != NULL:
        kernels(call).column_affine_bwd(rows, s.C, s.C, at(call, call.slot[4], first), NULL, NULL, at(call, call.slot[0], first),
                                        coefficient(s, n, 0), coefficient(s, n, 1), coefficient(s, n, 2), coefficient(s, n, 3),
                                        s.large, at(call, call.slot[5], first))

cdef void finish(Columns* s, int64_t n) noexcept nogil:
    """Statistics of a sample's groups, and y = (x - mean) scale + shift for each of its channels."""
    cdef fn_call* call = s.call
    cdef double* moment = partial_of(s, n, 0)
    cdef double mean, squares, delta, rstd
    cdef int64_t k, group, c, channels = s.C // call.size[3], first
    for k in range(1, s.blocks):
        kernels(call).column_merge(s.C, <double>(k * s.span), <double>min(s.span, s.inner - k * s.span), partial_of(s, n, k), moment)
    for group in range(call.size[3]):
        first = group * channels
        mean = squares = 0
        for c in range(first, first + channels):
            mean += moment[c]
        mean /= <double>channels            # all channels have as many values
        for c in range(first, first + channels):
            delta = moment[c] - mean
            squares += moment[s.C + c] + delta * delta * <double>s.inner
        rstd = put_statistics(call, n * call.size[3] + group, mean, squares / <double>(channels * s.inner))
        for c in range(first, first + channels):
            put(call, coefficient(s, n, 0), c, mean)
            put(call, coefficient(s, n, 1), c, rstd * get(call, call.slot[1], c, 1))
            put(call, coefficient(s, n, 2), c, get(call, call.slot[2], c, 0))

cdef void start_bwd(Columns* s, int64_t n) noexcept nogil:
    cdef int64_t c, channels = s.C // s.call.size[3]
    for c in range(s.C):
        put(s.call, coefficient(s, n, 0), c, get(s.call, s.call.slot[2], n * s.call.size[3] + c // channels, 0))

cdef void finish_bwd(Columns* s, int64_t n) noexcept nogil:
    """dx = a g + b (x - mean) + k for each channel of a sample; its sums become those of g and g (x - mean) rstd."""
    cdef fn_call* call = s.call
    cdef double* sums = partial_of(s, n, 0)
    cdef double* more
    cdef double w, g, gx, rstd, count
    cdef int64_t k, group, c, channels = s.C // call.size[3], first
    for k in range(1, s.blocks):
        more = partial_of(s, n, k)
        for c in range(2 * s.C):
            sums[c] += more[c]
    count = <double>(channels * s.inner)
    for group in range(call.size[3]):
        first = group * channels
        rstd = get(call, call.slot[3], n * call.size[3] + group, 0)
        g = gx = 0
        for c in range(first, first + channels):
            sums[s.C + c] *= rstd
            w = get(call, call.slot[1], c, 1)
            g += w * sums[c]
            gx += w * sums[s.C + c]
        for c in range(first, first + channels):
            put(call, coefficient(s, n, 1), c, rstd * get(call, call.slot[1], c, 1))
            put(call, coefficient(s, n, 2), c, -rstd * rstd * gx / count)
            put(call, coefficient(s, n, 3), c, -rstd * g / count)

cdef void sample(void* context, int64_t n, int worker) noexcept nogil:
    cdef Columns* s = <Columns*>context
    cdef int64_t block
    if is_backward(s.call):
        start_bwd(s, n)
    for block in range(s.blocks):
        first_pass(s, n * s.blocks + block, worker)
    if is_backward(s.call):
        finish_bwd(s, n)
    else:
        finish(s, n)
    for block in range(s.blocks):
        last_pass(s, n * s.blocks + block, worker)

cdef void run_columns(fn_call* call) noexcept nogil:
    cdef Columns s = columns_of(call)
    cdef int threads = threads_for(call)
    cdef int64_t n
    if s.N >= SAMPLES or s.blocks == 1:
        parallel(s.N, threads, sample, &s)
        return
    if is_backward(call):
        for n in range(s.N):
            start_bwd(&s, n)
    parallel(s.N * s.blocks, threads, first_pass, &s)
    for n in range(s.N):
        if is_backward(call):
            finish_bwd(&s, n)
        else:
            finish(&s, n)
    parallel(s.N * s.blocks, threads, last_pass, &s)

cdef int64_t columns_bytes(const fn_call* call) noexcept nogil:
    cdef int64_t C = call.size[1]
    return call.size[0] * (blocks_of(call.size[2], rows_per_block(C)) * 2 + 4) * C * 8


# ---- kernels -------------------------------------------------------------------------------------------------------------
cdef inline int64_t row_blocks(const fn_call* call) noexcept nogil:
    return blocks_of(call.size[0] * call.size[3], max(BLOCK // max(group_elements(call), 1), 1))

cdef void group_norm_run(fn_call* call) noexcept nogil:
    """y = (x - mean) rstd w + b, statistics per sample and group, w and b per channel."""
    if call.size[LAST]:
        run_columns(call)
    else:
        parallel(row_blocks(call), threads_for(call), group_rows, call)

cdef void group_norm_bwd_run(fn_call* call) noexcept nogil:
    """dx, dw, db from g; each may be absent."""
    cdef int64_t N = call.size[0], C = call.size[1], n, c, sample_step = 2 * C, channel_step = 2, second = 1
    cdef double* sums = <double*>call.scratch
    cdef double g, gx
    if call.size[LAST]:
        run_columns(call)
        sample_step, channel_step, second = blocks_of(call.size[2], rows_per_block(C)) * 2 * C, 1, C
    else:
        parallel(row_blocks(call), threads_for(call), group_rows_bwd, call)
    if call.slot[6] == NULL and call.slot[7] == NULL:
        return
    for c in range(C):
        g = gx = 0
        for n in range(N):
            g += sums[n * sample_step + c * channel_step]
            gx += sums[n * sample_step + c * channel_step + second]
        put(call, call.slot[6], c, gx)
        put(call, call.slot[7], c, g)

cdef int64_t group_norm_scratch(const fn_call* call) noexcept nogil:
    return columns_bytes(call) if call.size[LAST] else 0

cdef int64_t group_norm_bwd_scratch(const fn_call* call) noexcept nogil:
    return columns_bytes(call) if call.size[LAST] else call.size[0] * call.size[1] * 16

cdef void instance_statistics_run(fn_call* call) noexcept nogil:
    """Running mean and unbiased variance per channel, from those of its N instances."""
    cdef int64_t N = call.size[0], C = call.size[1], n, c
    cdef double m = call.scalar[0], inner = <double>call.size[2], mean, var
    for c in range(C):
        mean = var = 0
        for n in range(N):
            mean += get(call, call.slot[0], n * C + c, 0)
            var += get(call, call.slot[1], n * C + c, 0)
        put(call, call.slot[2], c, (1 - m) * get(call, call.slot[2], c, 0) + m * mean / N)
        put(call, call.slot[3], c, (1 - m) * get(call, call.slot[3], c, 0) + m * var / N * (inner / (inner - 1)))


declare(&group_norm_fwd, "group_norm_fwd", "x:in w:in b:in mean:out rstd:out var:out y:out", group_norm_run, group_norm_scratch)
declare(&group_norm_bwd, "group_norm_bwd", "x:in w:in mean:in rstd:in g:in dx:out dw:out db:out", group_norm_bwd_run,
        group_norm_bwd_scratch)
declare(&instance_norm_statistics, "instance_norm_statistics",
        "mean:in var:in running_mean:state running_var:state", instance_statistics_run, NULL)
