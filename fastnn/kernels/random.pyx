"""Random numbers of the library's own stream: uniforms, normals, Bernoulli samples, dropout.

The generator is Philox (csrc/philox.h).  Slot `rng` is two uint64, key and counter: a draw takes as many groups of 16
counters as it needs and moves the counter on, so a replayed plan draws new numbers; which thread draws what does not
matter.  Dropout keeps no mask: slot `draw` remembers key and counter, and the gradient draws the same mask again.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from fastnn.kernels.native cimport FN_F64, FN_OUTSIDE_UNIT_INTERVAL, declare, fn_call, fn_kernel, parallel, table, threads_now

# Elements of a block: a whole number of groups, 2 to 6 us of drawing.
cdef enum: BLOCK = 8192

cdef fn_kernel UNIFORM, NORMAL, BERNOULLI, DROPOUT, DROPOUT_SHIFT, DROPOUT_GRADIENT


cdef struct Draw:
    fn_call* call
    const fn_random_table* kernels
    uint64_t key, group
    int64_t n, inner            # draws, elements that share one
    int64_t span                # draws of a block
    int per_group
    const char* x
    char* y

cdef Draw begin_draw(fn_call* call) noexcept nogil:
    cdef Draw d
    d.call = call
    d.kernels = (<const random_tables*>table).random[1 if call.dtype == FN_F64 else 0]
    d.n, d.inner = call.size[0], max(call.size[1], 1)
    d.span = BLOCK
    d.per_group = d.kernels.per_group
    d.key = d.group = 0
    d.x = d.y = NULL
    return d

cdef void take(Draw* d, void* rng) noexcept nogil:
    """Claim the numbers of this draw."""
    d.key = (<uint64_t*>rng)[0]
    d.group = fn_take_groups(<uint64_t*>rng, <uint64_t>((d.n + d.per_group - 1) // d.per_group))

cdef inline int64_t element(const Draw* d) noexcept nogil:
    return 8 if d.call.dtype == FN_F64 else 4

cdef inline void run_blocks(Draw* d, void (*body)(void* context, int64_t block, int worker) noexcept nogil) noexcept nogil:
    parallel((d.n + d.span - 1) // d.span, threads_now(d.call), body, d)


# ---- uniform, normal: size = n; normal's scalar = mean, standard deviation ------------------------------------------
cdef void uniform_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Draw* d = <Draw*>context
    cdef int64_t first = block * d.span
    d.kernels.uniform(d.key, d.group + first // d.per_group, min(d.span, d.n - first), d.y + first * element(d))

cdef void uniform_run(fn_call* call) noexcept nogil:
    cdef Draw d = begin_draw(call)
    d.y = <char*>call.slot[1]
    take(&d, call.slot[0])
    run_blocks(&d, uniform_block)


cdef void normal_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Draw* d = <Draw*>context
    cdef int64_t first = block * d.span
    d.kernels.normal(d.key, d.group + first // d.per_group, min(d.span, d.n - first), d.call.scalar[0], d.call.scalar[1],
                     d.y + first * element(d))

cdef void normal_run(fn_call* call) noexcept nogil:
    cdef Draw d = begin_draw(call)
    d.y = <char*>call.slot[1]
    take(&d, call.slot[0])
    run_blocks(&d, normal_block)


# ---- bernoulli: size = n -----------------------------------------------------------------------------------------
cdef void bernoulli_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Draw* d = <Draw*>context
    cdef int64_t first = block * d.span
    if d.kernels.bernoulli(d.key, d.group + first // d.per_group, min(d.span, d.n - first), d.x + first * element(d),
                           d.y + first * element(d)):
        d.call.status = FN_OUTSIDE_UNIT_INTERVAL    # any thread may be the one to say it

cdef void bernoulli_run(fn_call* call) noexcept nogil:
    """y = 1 with probability p, else 0."""
    cdef Draw d = begin_draw(call)
    d.x, d.y = <const char*>call.slot[0], <char*>call.slot[2]
    take(&d, call.slot[1])
    run_blocks(&d, bernoulli_block)


# ---- dropout: size = draws, elements per draw (1: every element; H W: whole channels of N x C x H x W) ----------------
# scalar = p, factor of what is kept, shift of what is kept, shift of what is dropped.
cdef void dropout_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Draw* d = <Draw*>context
    cdef int64_t first = block * d.span
    d.kernels.dropout(d.key, d.group + first // d.per_group, min(d.span, d.n - first), d.call.scalar[0], d.call.scalar[1],
                      d.x + first * element(d), d.y + first * element(d))

cdef void shift_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Draw* d = <Draw*>context
    cdef int64_t first = block * d.span
    d.kernels.dropout_shift(d.key, d.group + first // d.per_group, min(d.span, d.n - first), d.call.scalar[0],
                            d.call.scalar[1], d.call.scalar[2], d.call.scalar[3], d.x + first * element(d),
                            d.y + first * element(d))

cdef void channel_block(void* context, int64_t block, int worker) noexcept nogil:
    """Dropout of whole channels: the span divides a group, whose mask is drawn anew for every part of it."""
    cdef Draw* d = <Draw*>context
    cdef uint8_t[128] mask
    cdef int64_t first = block * d.span, skip = first % d.per_group, count = min(d.span, d.n - first), i
    cdef int64_t step = d.inner * element(d)
    cdef double* s = d.call.scalar
    d.kernels.keep(d.key, d.group + first // d.per_group, skip + count, s[0], mask)
    for i in range(count):
        d.kernels.scale(d.inner, s[1] if mask[skip + i] else 0, s[2] if mask[skip + i] else s[3],
                        d.x + (first + i) * step, d.y + (first + i) * step)

cdef void drop(Draw* d, bint shift) noexcept nogil:
    if d.inner == 1:
        run_blocks(d, shift_block if shift else dropout_block)
        return
    d.span = d.per_group
    while d.span > 1 and d.span * d.inner > BLOCK:
        d.span //= 2
    run_blocks(d, channel_block)

cdef void forward(fn_call* call, bint shift) noexcept nogil:
    cdef Draw d = begin_draw(call)
    d.per_group = d.kernels.per_group_dropout
    d.x, d.y = <const char*>call.slot[1], <char*>call.slot[2]
    take(&d, call.slot[0])
    (<uint64_t*>call.slot[3])[0], (<uint64_t*>call.slot[3])[1] = d.key, d.group
    drop(&d, shift)

cdef void dropout_run(fn_call* call) noexcept nogil:
    """y = factor x where kept, else 0."""
    forward(call, False)

cdef void dropout_shift_run(fn_call* call) noexcept nogil:
    """y = factor x + shift where kept, else the other shift: alpha dropout."""
    forward(call, True)

cdef void dropout_gradient_run(fn_call* call) noexcept nogil:
    """dx = factor dy where the forward call kept x, else 0."""
    cdef Draw d = begin_draw(call)
    d.per_group = d.kernels.per_group_dropout
    d.x, d.y = <const char*>call.slot[1], <char*>call.slot[2]
    d.key, d.group = (<uint64_t*>call.slot[0])[0], (<uint64_t*>call.slot[0])[1]
    drop(&d, False)


declare(&UNIFORM, "uniform", "rng:state y:out", uniform_run, NULL)
declare(&NORMAL, "normal", "rng:state y:out", normal_run, NULL)
declare(&BERNOULLI, "bernoulli", "p:in rng:state y:out", bernoulli_run, NULL)
declare(&DROPOUT, "dropout", "rng:state x:in y:out draw:out", dropout_run, NULL)
declare(&DROPOUT_SHIFT, "dropout_shift", "rng:state x:in y:out draw:out", dropout_shift_run, NULL)
declare(&DROPOUT_GRADIENT, "dropout_gradient", "draw:in dy:in dx:out", dropout_gradient_run, NULL)
