"""Matrix products: block by block as kernels/gemm_plan.pxd has planned them.

Every element of C is one chain over k, whatever the blocks: cutting and packing are free to follow speed alone.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fastnn.kernels.gemm_parts cimport Parts, cycles_by_parts, may_suit_parts, own_bytes, run_parts, shared_bytes, suits_parts
from fastnn.kernels.gemm_args cimport ceil_div
from fastnn.kernels.gemm_plan cimport (
    DEEP_PANEL, KC, MC, NC, PAD, Plan, fn_gemm_strip, fn_gemm_table, has_wide_strips, make_plan, packed_a_bytes, packed_b_bytes,
    plan_and_cut, round_up, tables)
from fastnn.kernels.native cimport FN_MEMO, declare, fn_call, fn_kernel, parallel, table, threads_for, threads_now


cdef void through_scratch(const Plan* p, fn_gemm_strip* s, char* c, bint first, bint last) noexcept nogil:
    cdef char* target = <char*>p.g.C + (s.row * p.g.rsC + s.column * p.g.csC) * p.element
    s.c, s.rsc = c, p.width
    if s.load and (first or not p.keep_c):
        p.kernels.pack(s.M, s.n, target, p.g.rsC, p.g.csC, c, p.width)
    p.strip(s)
    if last or not p.keep_c:
        p.kernels.pack(s.n, s.M, c, 1, p.width, target, p.g.csC)


cdef const void* following(const Plan* p, int64_t k, int64_t column, int64_t first, int64_t end) noexcept nogil:
    """Where B is read after the strip at `column`, rows `k` on, of a block's columns `first` to `end`; NULL if it is near or unknown.

    Of more than MC rows only the last chunk is followed by this one; the others fetch too early.  Narrow strips that are copied do
    without: counting the lines would cost their tiles more.
    """
    cdef const gemm_args* g = &p.g
    if p.pack_b or not p.fetch or (p.copy_b and not has_wide_strips(p)):
        return NULL
    column += p.width
    if column >= end:
        k += p.kc
        column = first
    if k >= g.K:
        k, column = 0, end
    if column >= g.N:
        return NULL
    if g.packed:
        return <const char*>g.B + (column * g.K + k * p.width) * p.element
    return <const char*>g.B + (k * g.rsB + column) * p.element


cdef void multiply(const Plan* p, fn_gemm_strip* s, int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t k,
                   char* scratch, gemm_left* left) noexcept nogil:
    """At most MC rows of C by all strips of a block, over one stretch of k; `scratch` starts with the packed B."""
    cdef const gemm_args* g = &p.g
    cdef int64_t e = p.element, t, w
    cdef bint last = k + s.K >= g.K
    if not last:
        left = NULL
    cdef char* packed_a = scratch + packed_b_bytes(p)
    s.M, s.row = rows, row
    s.a, s.rsa, s.csa = <const char*>g.A + (row * g.rsA + k * g.csA) * e, g.rsA, g.csA
    if p.pack_a:
        p.kernels.pack(rows, s.K, s.a, g.rsA, g.csA, packed_a, p.kc + PAD)
        s.a, s.rsa, s.csa = packed_a, p.kc + PAD, 1
    for t in range(ceil_div(columns, p.width)):
        w = t * p.width
        s.n = min(p.width, columns - w)
        s.column = column + w
        if p.pack_b:
            s.b = scratch + w * s.K * e
        elif g.packed:
            s.b = <const char*>g.B + (s.column * g.K + k * p.width) * e
        else:
            s.b = <const char*>g.B + (k * g.rsB + s.column * g.csB) * e
        s.copy = scratch + (0 if p.nc == p.width else w * s.K * e) if p.copy_b and s.n == p.width else NULL
        s.next = following(p, k, s.column, column, column + columns)
        if g.bias != NULL and p.turned:
            s.row_bias = <const char*>g.bias + row * e if last else NULL
        elif g.bias != NULL:
            s.bias = <const char*>g.bias + s.column * e if last else NULL
        s.besides = 0
        if left != NULL:
            come_near(g.after, left, s, e)
        if p.turn_c:
            through_scratch(p, s, scratch + packed_b_bytes(p) + packed_a_bytes(p), k == 0, last)
        else:
            s.c, s.rsc = <char*>g.C + (row * g.rsC + s.column) * e, g.rsC
            p.strip(s)
        if s.besides:
            g.after.part(g.after.context, left.start, s.span)
            left.start += s.span


cdef inline void come_near(const gemm_after* after, const gemm_left* left, fn_gemm_strip* s, int64_t e) noexcept nogil:
    """As many elements as the strip makes are worked on behind it; they are fetched while it is made."""
    cdef int j
    s.span = min(s.M * s.n, left.end - left.start)
    s.besides = after.arrays if s.span > 0 else 0
    for j in range(s.besides):
        s.beside[j] = <const char*>after.beside[j] + left.start * e


cdef void run_block(const Plan* p, int64_t row, int64_t rows, int64_t column, int64_t columns, char* scratch,
                    gemm_left* left) noexcept nogil:
    cdef const gemm_args* g = &p.g
    cdef int64_t e = p.element, pieces = max(1, ceil_div(p.g.K, p.kc)), across, down, deep, t, j, nc, k, w
    cdef fn_gemm_strip s
    s.padded = p.pack_b or g.packed
    s.rsb = p.width if s.padded else g.rsB
    s.csb = 1 if s.padded else g.csB
    s.bias = s.row_bias = NULL
    s.rows_ahead = p.rows_ahead
    s.context = g.context
    s.besides = 0
    for across in range(ceil_div(columns, p.nc)):
        j = column + across * p.nc
        nc = min(p.nc, column + columns - j)
        for deep in range(pieces * p.round // p.rounds, pieces * (p.round + 1) // p.rounds):
            k = deep * p.kc
            s.K = min(p.kc, g.K - k)
            s.load = g.accumulate or k > 0
            s.relu = g.relu if k + s.K >= g.K else 0
            s.finish = g.finish if k + s.K >= g.K else NULL
            if p.pack_b:
                for t in range(ceil_div(nc, p.width)):
                    w = t * p.width
                    p.kernels.pack(s.K, min(p.width, nc - w), <const char*>g.B + (k * g.rsB + (j + w) * g.csB) * e,
                                   g.rsB, g.csB, scratch + w * s.K * e, p.width)
                    p.kernels.pad(s.K, min(p.width, nc - w), scratch + w * s.K * e, p.width)
            for down in range(ceil_div(rows, MC)):
                s.copied = down > 0
                multiply(p, &s, row + down * MC, min(MC, rows - down * MC), j, nc, k, scratch, left)


cdef void block_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Plan* p = <const Plan*>context
    cdef int64_t down = p.blocks // p.blocks_across
    cdef int64_t row = block % down if p.by_columns else block // p.blocks_across
    cdef int64_t column = block // down if p.by_columns else block % p.blocks_across
    column = (column + p.round * (p.blocks_across // 2)) % p.blocks_across
    row *= p.block_rows
    column *= p.block_columns
    cdef int64_t rows = min(p.block_rows, p.g.M - row)
    cdef const gemm_after* after = p.g.after if p.in_order else NULL
    run_block(p, row, rows, column, min(p.block_columns, p.g.N - column), p.scratch + worker * p.scratch_bytes,
              NULL if after == NULL else &after.left[worker])
    if after != NULL:
        if after.left[worker].start < after.left[worker].end:
            after.part(after.context, after.left[worker].start, after.left[worker].end - after.left[worker].start)
        after.left[worker].start, after.left[worker].end = row * p.g.rsC, (row + rows) * p.g.rsC


cdef int64_t plan_scratch(int dtype, const gemm_args* g, int threads) noexcept nogil:
    cdef Plan p
    make_plan(&p, dtype, g)
    return p.scratch_bytes * max(1, threads)


cdef int64_t gemm_scratch(int dtype, const gemm_args* g, int threads) noexcept nogil:
    """As if everything were packed, in either orientation: the plan of a smaller product may pack what this one's does
    not."""
    cdef int64_t longest = max(g.M, g.N), kc = min(g.K, 3 * KC // 2)
    cdef int64_t strip = (<const tables*>table).gemm[dtype].columns_for(4)
    cdef int64_t element = 8 if dtype == 1 else 4
    cdef int64_t panel = max(kc * min(NC, round_up(longest, strip)), min(g.K * round_up(longest, strip), DEEP_PANEL // element))
    cdef int64_t bytes = round_up((panel + min(longest, MC) * (kc + PAD + strip) + 8 * strip) * element, 64) * max(1, threads)
    if may_suit_parts(dtype, g):
        bytes = max(bytes, shared_bytes(g) + max(1, threads) * own_bytes(g))
    return bytes


cdef void ordinary(const gemm_args* g, void* scratch) noexcept nogil:
    """A product that is not done by parts, on this thread."""
    cdef Plan p
    make_plan(&p, 0, g)
    run_block(&p, 0, p.g.M, 0, p.g.N, <char*>scratch, NULL)


cdef void by_parts(const Plan* p, int threads, char* scratch) noexcept nogil:
    cdef Parts t
    t.g, t.turned, t.ordinary = p.g, p.turned, ordinary
    run_parts(&t, threads, scratch)


cdef double gemm_cycles_by_parts(int dtype, const gemm_args* g) noexcept nogil:
    return cycles_by_parts(g) if suits_parts(dtype, g) else 0


cdef void run_plan(Plan* p, int threads, void* scratch) noexcept nogil:
    if p.by_parts:
        by_parts(p, threads, <char*>scratch)
    elif p.blocks == 1:
        run_block(p, 0, p.g.M, 0, p.g.N, <char*>scratch, NULL)
    else:
        p.scratch = <char*>scratch
        for p.round in range(p.rounds):
            parallel(p.blocks, threads, block_body, p)
        p.round = 0
    if p.g.after != NULL and not p.in_order:
        p.g.after.left[0].end = p.g.M * p.g.N


cdef void gemm(int dtype, const gemm_args* g, int threads, void* scratch) noexcept nogil:
    cdef Plan p
    if g.M > 0 and g.N > 0:
        plan_and_cut(&p, dtype, g, threads)
        run_plan(&p, threads, scratch)


cdef void run_again(Plan* p, const gemm_args* g, int threads, void* scratch) noexcept nogil:
    """A plan made for a product of the same sizes, with this one's memory."""
    p.g.A, p.g.B, p.g.C = g.B if p.turned else g.A, g.A if p.turned else g.B, g.C
    p.g.bias, p.g.context, p.g.after = g.bias, g.context, g.after
    run_plan(p, threads, scratch)


cdef void gemm_of_call(fn_call* call, const gemm_args* g) noexcept nogil:
    """The product of a record, always of these sizes: in a plan, how it is done is found out once."""
    cdef Plan* p = <Plan*>call.memo
    cdef int threads = threads_now(call) if g.after == NULL else threads_for(call)
    if p == NULL:
        gemm(call.dtype, g, threads, call.scratch)
        return
    if g.M <= 0 or g.N <= 0:
        return
    if p.kernels == NULL:
        plan_and_cut(p, call.dtype, g, call.threads)
    run_again(p, g, threads, call.scratch)


cdef void gemm_serial(int dtype, const gemm_args* g, void* scratch) noexcept nogil:
    gemm(dtype, g, 1, scratch)


cdef int64_t gemm_packed_bytes(int dtype, int64_t K, int64_t N) noexcept nogil:
    cdef int64_t width = (<const tables*>table).gemm[dtype].columns_for(4)
    return round_up(N, width) * K * (8 if dtype == 1 else 4)


cdef void gemm_pack_b(int dtype, int64_t K, int64_t N, const void* B, int64_t rsB, int64_t csB, void* packed) noexcept nogil:
    cdef const fn_gemm_table* kernels = (<const tables*>table).gemm[dtype]
    cdef int64_t t, j, width = kernels.columns_for(4), e = 8 if dtype == 1 else 4
    for t in range(ceil_div(N, width)):
        j = t * width
        kernels.pack(K, min(width, N - j), <const char*>B + j * csB * e, rsB, csB, <char*>packed + j * K * e, width)
        kernels.pad(K, min(width, N - j), <char*>packed + j * K * e, width)


# ---- batches ----------------------------------------------------------------------------------------------------

cdef struct Batch:
    Plan plan
    int64_t bsA
    int64_t bsB
    int64_t bsC


cdef void batch_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Batch* b = <const Batch*>context
    cdef Plan p = b.plan
    p.g.A = <const char*>p.g.A + block * b.bsA * p.element
    p.g.B = <const char*>p.g.B + block * b.bsB * p.element
    p.g.C = <char*>p.g.C + block * b.bsC * p.element
    run_block(&p, 0, p.g.M, 0, p.g.N, p.scratch + worker * p.scratch_bytes, NULL)


cdef int64_t gemm_batched_scratch(int dtype, const gemm_args* g, int64_t batch, int threads) noexcept nogil:
    return gemm_scratch(dtype, g, threads)


cdef void gemm_batched(int dtype, const gemm_args* g, int64_t batch, int64_t bsA, int64_t bsB, int64_t bsC, int threads,
                       void* scratch) noexcept nogil:
    cdef Batch b
    cdef gemm_args one
    cdef int64_t _i, e = 8 if dtype == 1 else 4
    if g.M <= 0 or g.N <= 0:
        return
    if batch < 4:
        one = g[0]
        for _i in range(batch):
            gemm(dtype, &one, threads, scratch)
            one.A = <const char*>one.A + bsA * e
            one.B = <const char*>one.B + bsB * e
            one.C = <char*>one.C + bsC * e
        return
    make_plan(&b.plan, dtype, g)
    b.bsA, b.bsB, b.bsC = bsA, bsB, bsC
    if b.plan.turned:
        b.bsA, b.bsB = bsB, bsA
    b.plan.scratch = <char*>scratch
    parallel(batch, threads, batch_body, &b)


# ---- kernels ----------------------------------------------------------------------------------------------------
# sizes: M N K rsA csA rsB csB rsC csC relu, then `packed` (matmul), or batch bsA bsB bsC (matmul_batched)

cdef fn_kernel MATMUL, MATMUL_ADD, MATMUL_BATCHED, MATMUL_BATCHED_ADD, PACK_B, COLUMN_SUMS, COLUMN_SUMS_ADD
cdef float ONE_F = 1.0
cdef double ONE_D = 1.0


cdef void args_of(const fn_call* call, gemm_args* g) noexcept nogil:
    memset(g, 0, sizeof(gemm_args))
    g.M, g.N, g.K = call.size[0], call.size[1], call.size[2]
    g.A, g.rsA, g.csA = call.slot[0], call.size[3], call.size[4]
    g.B, g.rsB, g.csB = call.slot[1], call.size[5], call.size[6]
    g.bias = call.slot[2]
    g.C, g.rsC, g.csC = call.slot[3], call.size[7], call.size[8]
    g.relu = call.size[9]
    g.accumulate = call.kernel == &MATMUL_ADD or call.kernel == &MATMUL_BATCHED_ADD


cdef void args_of_call(const fn_call* call, gemm_args* g) noexcept nogil:
    """Of matmul and column_sums alike."""
    if call.kernel != &COLUMN_SUMS and call.kernel != &COLUMN_SUMS_ADD:
        args_of(call, g)
        g.packed = call.size[10] != 0
        return
    memset(g, 0, sizeof(gemm_args))
    g.M, g.N, g.K = 1, call.size[1], call.size[0]       # a row of ones by x
    g.A = <const void*>&ONE_D if call.dtype == 1 else <const void*>&ONE_F
    g.B, g.rsB, g.csB = call.slot[0], call.size[2], 1
    g.C, g.rsC, g.csC = call.slot[1], call.size[1], 1
    g.accumulate = call.kernel == &COLUMN_SUMS_ADD


cdef extern from *:
    """
    enum { FN_KNOWN = 16, FN_KNOWN_BYTES = 448 };
    static __thread _Alignas(64) char fn_known[FN_KNOWN * FN_KNOWN_BYTES];
    static inline char *fn_known_at(uint64_t i) { return fn_known + i % FN_KNOWN * FN_KNOWN_BYTES; }
    """
    enum: FN_KNOWN_BYTES
    char* fn_known_at(uint64_t i) noexcept nogil

cdef enum: SIZES = 11           # of a record, that a plan is made for


cdef struct Known:              # the plan of a call of this thread, for the next one of the same sizes
    const fn_kernel* kernel
    int64_t threads
    int64_t dtype
    int64_t[SIZES] size
    Plan plan


cdef Plan* known_plan(const fn_call* call, int threads) noexcept nogil:
    """The plan of a call: scratch and driver ask for it, and a loop does in every round."""
    cdef uint64_t mixed = 3 * call.size[0] + 5 * call.size[1] + 7 * call.size[2] + 11 * call.size[4] + 13 * call.size[6]
    cdef gemm_args g
    cdef Known* known = <Known*>fn_known_at((mixed + threads) * <uint64_t>0x9E3779B97F4A7C15 >> 32)
    if (known.kernel != call.kernel or known.threads != threads or known.dtype != call.dtype
            or memcmp(known.size, call.size, sizeof(known.size))):
        known.kernel, known.threads, known.dtype = call.kernel, threads, call.dtype
        memcpy(known.size, call.size, sizeof(known.size))
        args_of_call(call, &g)
        plan_and_cut(&known.plan, call.dtype, &g, threads)
    return &known.plan


cdef int64_t matmul_scratch(const fn_call* call) noexcept nogil:
    cdef const Plan* p = known_plan(call, threads_now(call))
    return p.scratch_bytes * max(1, call.threads) + p.shared_bytes


cdef void matmul(fn_call* call) noexcept nogil:
    cdef gemm_args g
    cdef int threads
    args_of_call(call, &g)
    if call.memo != NULL:
        gemm_of_call(call, &g)
    elif g.M > 0 and g.N > 0:
        threads = threads_now(call)
        run_again(known_plan(call, threads), &g, threads, call.scratch)


cdef int64_t matmul_batched_scratch(const fn_call* call) noexcept nogil:
    cdef gemm_args g
    args_of(call, &g)
    return plan_scratch(call.dtype, &g, threads_for(call))


cdef void matmul_batched(fn_call* call) noexcept nogil:
    cdef gemm_args g
    args_of(call, &g)
    gemm_batched(call.dtype, &g, call.size[10], call.size[11], call.size[12], call.size[13], threads_for(call), call.scratch)


cdef void pack_b(fn_call* call) noexcept nogil:
    """B into the panels that matmul takes with `packed`; sizes K N rsB csB."""
    gemm_pack_b(call.dtype, call.size[0], call.size[1], call.slot[0], call.size[2], call.size[3], call.slot[1])


def packed_size(int64_t K, int64_t N, dtype):
    """Elements of a packed B of K rows and N columns.

    Parameters
    ----------
    K, N : int
    dtype : str
        ``"float32"`` or ``"float64"``.
    """
    cdef int code = 1 if dtype == "float64" else 0
    return gemm_packed_bytes(code, K, N) // (8 if code else 4)


if sizeof(Known) > FN_KNOWN_BYTES:
    raise ImportError(f"FN_KNOWN_BYTES: {FN_KNOWN_BYTES} bytes, a known plan has {sizeof(Known)}")
if sizeof(Plan) > FN_MEMO:
    raise ImportError(f"FN_MEMO: {FN_MEMO} bytes, the plan of a product has {sizeof(Plan)}")

declare(&MATMUL, "matmul", "a:in b:in bias:in c:out", matmul, matmul_scratch)
declare(&MATMUL_ADD, "matmul_add", "a:in b:in bias:in c:acc", matmul, matmul_scratch)
declare(&MATMUL_BATCHED, "matmul_batched", "a:in b:in bias:in c:out", matmul_batched, matmul_batched_scratch)
declare(&MATMUL_BATCHED_ADD, "matmul_batched_add", "a:in b:in bias:in c:acc", matmul_batched, matmul_batched_scratch)
declare(&PACK_B, "pack_b", "b:in packed:out", pack_b, NULL)
declare(&COLUMN_SUMS, "column_sums", "x:in out:out", matmul, matmul_scratch)
declare(&COLUMN_SUMS_ADD, "column_sums_add", "x:in out:acc", matmul, matmul_scratch)
