"""Float32 products by three parts of bfloat16, where the machine has units for that (csrc/parts.h): blocks, packing and threads.

C is cut along its longer side into tasks, a thread packs its own operand for each of them.  The other operand, the smaller one, is
packed by each thread for itself if it stays near, else by all together before.  No bit depends on the cut.  docs/gemm.md gives the
reasons for the numbers below.
"""
from libc.stdint cimport int64_t

from fastnn.kernels.gemm_args cimport ceil_div, gemm_args, transposed
from fastnn.kernels.native cimport parallel, table

cdef extern from "fastnn.h" nogil:
    enum: FN_PARTS_PANEL, FN_PARTS_STEP, FN_PARTS_TILE, FN_PARTS
    ctypedef struct fn_parts_block:
        const void* a
        const void* b
        int a_parts
        int b_parts
        int64_t steps
        int64_t rows
        int64_t columns
        const void* ahead
        float* c
        int64_t rsc
        int load
        const float* bias
        const float* row_bias
        int relu
        void (*refused)(void* context, int64_t column, int64_t columns) noexcept nogil
        void* context
    ctypedef struct fn_parts_table:
        void (*pack)(int64_t count, int64_t K, const float* x, int64_t outer, int64_t inner, int of_b, int parts,
                     void* panels) noexcept nogil
        void (*begin)() noexcept nogil
        void (*end)() noexcept nogil
        void (*block)(const fn_parts_block* s) noexcept nogil
    ctypedef struct parts_tables "fn_table":
        const fn_parts_table* parts

cdef enum:
    PAIR = 32                   # two panels: rows and columns of a block of sums
    LEAST = 32                  # rows, columns and k of a product that is worth it
    STEPS = 32                  # most at a time
    NEAR_PANELS = 3 << 18       # bytes of panels that stay in the second level beside what passes by
    NEAR_BYTES = 1 << 18        # of an operand that the second level holds beside its panels
    FAR_BYTES = 1 << 24         # of a C that no cache holds
    LINE = 64
    PACKED_TOGETHER = 4         # pairs of panels of the shared operand, packed at a time

# Cycles of one thread by parts: per multiply-add, and of one that has a short operand, or two; to begin with.
DEF PARTS_CYCLES = 1 / 80.0
DEF SHORT_SHARE = 0.5
DEF BOTH_SHORT_SHARE = 0.2
DEF BEGIN_CYCLES = 8000.0
# Per element packed as it lies and turned, from the second level and from beyond, which sends single lines of many rows last.
DEF PACK_CYCLES = 0.9
DEF PACK_FAR_CYCLES = 1.4
DEF TURN_CYCLES = 1.0
DEF TURN_FAR_CYCLES = 1.2
# Per element of C more than the ordinary product's, of a C in the caches and beyond; and the ordinary product's multiply-add.
DEF FINISH_CYCLES = 0.3
DEF FINISH_FAR_CYCLES = 1.5
DEF ORDINARY_CYCLES = 1 / 26.0

ctypedef void (*ordinary_product)(const gemm_args* g, void* scratch) noexcept nogil

cdef struct Parts:
    const fn_parts_table* kernels
    gemm_args g                 # with contiguous rows of C,
    bint turned                 # the transposed product
    ordinary_product ordinary   # for sums that parts cannot be relied on for
    int64_t k                   # of this pass
    int64_t depth
    int64_t steps
    bint by_rows                # a task is rows of C, not columns
    int64_t pairs               # of the other operand's panels
    int64_t own_pairs           # of that which is cut,
    int64_t tasks               # into so many
    bint apart                  # each thread has the other operand for itself,
    char* shared                # or all have it here
    char* own                   # scratch of all threads,
    int64_t own_bytes           # one behind the other: whether the other operand is there, its panels, a task's panels,
    int64_t spare_bytes         # and what the ordinary product needs

cdef struct Refusal:            # where a block of C is
    const Parts* p
    int64_t row
    int64_t rows
    int64_t column
    void* scratch


cdef inline int64_t pair_bytes(int64_t steps) noexcept nogil:
    return 2 * steps * FN_PARTS * FN_PARTS_TILE


cdef inline int64_t passes_of(int64_t K) noexcept nogil:
    return ceil_div(ceil_div(K, FN_PARTS_STEP), STEPS)


cdef inline int64_t depth_of_pass(int64_t K) noexcept nogil:
    """Whole steps, but for the last pass."""
    return ceil_div(ceil_div(K, FN_PARTS_STEP), passes_of(K)) * FN_PARTS_STEP


cdef inline int64_t most_steps(int64_t K) noexcept nogil:
    """Of a pass, for scratch that serves any smaller K as well."""
    return min(ceil_div(K, FN_PARTS_STEP), STEPS)


cdef inline bint may_suit_parts(int dtype, const gemm_args* g) noexcept nogil:
    return ((<const parts_tables*>table).parts != NULL and dtype == 0 and not g.packed and g.finish == NULL
            and g.M >= LEAST and g.N >= LEAST and g.K >= LEAST and (g.rsA == 1 or g.csA == 1) and (g.rsB == 1 or g.csB == 1))


cdef inline double packing(double count, int64_t K, bint as_it_lies) noexcept nogil:
    cdef double elements = count * K
    if elements * sizeof(float) <= NEAR_BYTES:
        return elements * (PACK_CYCLES if as_it_lies else TURN_CYCLES)
    return elements * (PACK_FAR_CYCLES if as_it_lies else TURN_FAR_CYCLES)


cdef inline double cycles_by_parts(const gemm_args* g) noexcept nogil:
    cdef double products = PARTS_CYCLES * g.K * PAIR * PAIR * ceil_div(g.M, PAIR) * ceil_div(g.N, PAIR), elements = <double>g.M * g.N
    if g.short_a or g.short_b:
        products *= BOTH_SHORT_SHARE if g.short_a and g.short_b else SHORT_SHARE
    return (BEGIN_CYCLES + products + packing(g.M, g.K, (g.csA == 1) == (g.csC == 1)) + packing(g.N, g.K, (g.csB != 1) != (g.csC == 1))
            + elements * (FINISH_CYCLES if elements * sizeof(float) <= FAR_BYTES else FINISH_FAR_CYCLES))


cdef inline bint suits_parts(int dtype, const gemm_args* g) noexcept nogil:
    """Is the product faster by parts?  By its sizes and strides alone: a plan and an eager call agree."""
    return may_suit_parts(dtype, g) and cycles_by_parts(g) < ORDINARY_CYCLES * g.M * g.N * g.K


cdef inline int parts_of(bint short_operand) noexcept nogil:
    return 1 if short_operand else FN_PARTS


cdef inline int64_t other_bytes(const gemm_args* g) noexcept nogil:
    """Of the panels of the operand that is not cut."""
    return ceil_div(min(g.M, g.N), PAIR) * pair_bytes(most_steps(g.K))


cdef inline int64_t shared_bytes(const gemm_args* g) noexcept nogil:
    cdef int64_t bytes = other_bytes(g)
    return bytes if bytes > NEAR_PANELS else 0


cdef inline int64_t spare_bytes(const gemm_args* g) noexcept nogil:
    """Of a block's ordinary product: its columns of B in one panel, and what else there is, in strips of up to 128 columns."""
    return (128 * (most_steps(g.K) * FN_PARTS_STEP + 2 * PAIR) + PAIR * (512 + 128)) * sizeof(float)


cdef inline int64_t own_bytes(const gemm_args* g) noexcept nogil:
    """Scratch of a thread, for any smaller product as well."""
    return (LINE + min(other_bytes(g), <int64_t>NEAR_PANELS) + max(<int64_t>NEAR_PANELS, pair_bytes(most_steps(g.K)))
            + spare_bytes(g))


cdef inline void pack_pairs(const Parts* p, bint of_b, int64_t first, int64_t last, char* to) noexcept nogil:
    """Pairs of panels `first` to `last` of A or of B, k of this pass."""
    cdef const gemm_args* g = &p.g
    cdef int64_t outer = g.csB if of_b else g.rsA, inner = g.rsB if of_b else g.csA, start = first * PAIR
    cdef const float* x = <const float*>(g.B if of_b else g.A)
    p.kernels.pack(min(last * PAIR, g.N if of_b else g.M) - start, p.depth, x + start * outer + p.k * inner, outer, inner, of_b,
                   parts_of(g.short_b if of_b else g.short_a), to)


cdef inline void pack_shared(void* context, int64_t index, int worker) noexcept nogil:
    cdef const Parts* p = <const Parts*>context
    cdef int64_t first = index * PACKED_TOGETHER
    pack_pairs(p, p.by_rows, first, min(first + PACKED_TOGETHER, p.pairs), p.shared + first * pair_bytes(p.steps))


cdef inline void refuse(void* context, int64_t column, int64_t columns) noexcept nogil:
    """A block of C by the ordinary product."""
    cdef const Refusal* r = <const Refusal*>context
    cdef const Parts* p = r.p
    cdef const gemm_args* whole = &p.g
    cdef gemm_args g = whole[0], t
    cdef bint last = p.k + p.depth >= whole.K
    column += r.column
    g.M, g.N, g.K = r.rows, columns, p.depth
    g.A = <const float*>whole.A + r.row * whole.rsA + p.k * whole.csA
    g.B = <const float*>whole.B + p.k * whole.rsB + column * whole.csB
    g.C = <float*>whole.C + r.row * whole.rsC + column
    g.accumulate, g.after = whole.accumulate or p.k > 0, NULL
    g.relu = whole.relu if last else 0
    g.bias = NULL
    if last and whole.bias != NULL:
        g.bias = <const float*>whole.bias + (r.row if p.turned else column)
    if p.turned:                # a bias is of the columns of the product as it was asked for
        transposed(&g, &t)
        g = t
    p.ordinary(&g, r.scratch)


cdef inline void task(void* context, int64_t index, int worker) noexcept nogil:
    """Some rows or columns of C: their operand stays near while the blocks of the other one pass by."""
    cdef const Parts* p = <const Parts*>context
    cdef const gemm_args* g = &p.g
    cdef int64_t first = p.own_pairs * index // p.tasks, last = p.own_pairs * (index + 1) // p.tasks
    cdef int64_t passing, row, bytes = pair_bytes(p.steps)
    cdef char* scratch = p.own + worker * p.own_bytes
    cdef char* other = scratch + LINE if p.apart else p.shared
    cdef char* own = scratch + LINE + (p.pairs * bytes if p.apart else 0)
    cdef bint end = p.k + p.depth >= g.K
    cdef fn_parts_block s
    cdef Refusal r
    r.p, r.scratch = p, scratch + p.own_bytes - p.spare_bytes
    s.steps, s.rsc, s.load, s.relu = p.steps, g.rsC, g.accumulate or p.k > 0, g.relu if end else 0
    s.a_parts, s.b_parts, s.refused, s.context = parts_of(g.short_a), parts_of(g.short_b), refuse, &r
    if p.apart and (<int64_t*>scratch)[0] != p.k:
        pack_pairs(p, p.by_rows, 0, p.pairs, other)
        (<int64_t*>scratch)[0] = p.k
    pack_pairs(p, not p.by_rows, first, last, own)
    p.kernels.begin()
    for passing in range(p.pairs):
        s.ahead = other + (passing + 1) * bytes if passing + 1 < p.pairs else NULL
        for row in range(first if p.by_rows else passing, last if p.by_rows else passing + 1):
            s.a = own + (row - first) * bytes if p.by_rows else other + row * bytes
            s.b = other + passing * bytes if p.by_rows else own
            r.row, r.column = row * PAIR, (passing if p.by_rows else first) * PAIR
            s.rows = r.rows = min(PAIR, g.M - r.row)
            s.columns = min((passing + 1 if p.by_rows else last) * PAIR, g.N) - r.column
            s.c = <float*>g.C + r.row * g.rsC + r.column
            s.bias = <const float*>g.bias + r.column if end and g.bias != NULL and not p.turned else NULL
            s.row_bias = <const float*>g.bias + r.row if end and g.bias != NULL and p.turned else NULL
            p.kernels.block(&s)
            s.ahead = NULL
    p.kernels.end()


cdef inline void run_parts(Parts* p, int threads, char* scratch) noexcept nogil:
    """C of p.g, whose rows are contiguous."""
    cdef const gemm_args* g = &p.g
    cdef int64_t depth = depth_of_pass(g.K), most, number, worker
    p.kernels = (<const parts_tables*>table).parts
    p.by_rows = g.M > g.N
    p.pairs, p.own_pairs = ceil_div(min(g.M, g.N), PAIR), ceil_div(max(g.M, g.N), PAIR)
    p.apart, p.shared, p.own = shared_bytes(g) == 0, scratch, scratch + shared_bytes(g)
    p.own_bytes, p.spare_bytes = own_bytes(g), spare_bytes(g)
    for worker in range(threads):
        (<int64_t*>(p.own + worker * p.own_bytes))[0] = -1
    for number in range(passes_of(g.K)):
        p.k = number * depth
        p.depth = min(depth, g.K - p.k)
        p.steps = ceil_div(p.depth, FN_PARTS_STEP)
        most = max(1, NEAR_PANELS // (2 if p.apart else 1) // pair_bytes(p.steps))
        # as few tasks as hold their operand near, in equal shares of every thread
        p.tasks = min(p.own_pairs, ceil_div(ceil_div(p.own_pairs, most), threads) * threads)
        if not p.apart:
            parallel(ceil_div(p.pairs, PACKED_TOGETHER), threads, pack_shared, p)
        parallel(p.tasks, threads, task, p)
