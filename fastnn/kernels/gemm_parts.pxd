"""Float32 products by three parts of bfloat16, where the machine has units for that (csrc/parts.h): blocks, packing and threads.

C is cut along one side into tasks, a thread packs its own operand for each of them; the other operand, the smaller one, is packed before by
all threads together.  No bit depends on the cut.  docs/gemm.md gives the reasons for the numbers below.
"""
from libc.stdint cimport int64_t

from fastnn.kernels.gemm_args cimport gemm_args
from fastnn.kernels.native cimport parallel, table

cdef extern from "fastnn.h" nogil:
    enum: FN_PARTS_PANEL, FN_PARTS_STEP, FN_PARTS_TILE, FN_PARTS
    ctypedef struct fn_parts_block:
        const void* a
        const void* b
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
        void (*pack)(int64_t count, int64_t K, const float* x, int64_t outer, int64_t inner, int of_b, void* panels) noexcept nogil
        void (*begin)() noexcept nogil
        void (*end)() noexcept nogil
        void (*block)(const fn_parts_block* s) noexcept nogil
    ctypedef struct parts_tables "fn_table":
        const fn_parts_table* parts

cdef enum:
    PAIR = 32                   # two panels: rows and columns of a block of sums
    LEAST = 32                  # rows, columns and k of a product that is worth it
    STEPS = 32                  # most at a time
    OWN_BYTES = 3 << 18         # of the operand that a thread packs for a task: with blocks of the other one in the second level
    PACKED_TOGETHER = 4         # pairs of panels of the shared operand, packed at a time

# Cycles of one thread: per multiply-add, per element packed as it lies and turned, per element of C, and to begin with.
DEF PARTS_CYCLES = 1 / 80.0
DEF PACK_CYCLES = 0.45
DEF TURN_CYCLES = 0.65
DEF FINISH_CYCLES = 0.15
DEF BEGIN_CYCLES = 1000.0
# The same of the ordinary product: 24 multiply-adds.
DEF ORDINARY_CYCLES = 1 / 24.0

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
    int64_t pairs               # of the shared operand's panels
    int64_t own_pairs           # of the other's,
    int64_t each                # and of a task's
    char* shared
    char* own                   # of all threads,
    int64_t own_bytes           # one behind the other
    int64_t spare_bytes         # of them at the end for the ordinary product

cdef struct Refusal:            # where a block of C is
    const Parts* p
    int64_t row
    int64_t rows
    int64_t column
    void* scratch


cdef inline int64_t cut_in(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t pair_bytes(int64_t steps) noexcept nogil:
    return 2 * steps * FN_PARTS * FN_PARTS_TILE


cdef inline int64_t passes_of(int64_t K) noexcept nogil:
    return cut_in(cut_in(K, FN_PARTS_STEP), STEPS)


cdef inline int64_t depth_of_pass(int64_t K) noexcept nogil:
    """Whole steps, but for the last pass."""
    return cut_in(cut_in(K, FN_PARTS_STEP), passes_of(K)) * FN_PARTS_STEP


cdef inline int64_t most_steps(int64_t K) noexcept nogil:
    """Of a pass, for scratch that serves any smaller K as well."""
    return min(cut_in(K, FN_PARTS_STEP), STEPS)


cdef inline bint may_suit_parts(int dtype, const gemm_args* g) noexcept nogil:
    return ((<const parts_tables*>table).parts != NULL and dtype == 0 and not g.packed and g.finish == NULL
            and g.M >= LEAST and g.N >= LEAST and g.K >= LEAST and (g.rsA == 1 or g.csA == 1) and (g.rsB == 1 or g.csB == 1))


cdef inline bint suits_parts(int dtype, const gemm_args* g) noexcept nogil:
    """Is the product faster by parts?  By its sizes and strides alone: a plan and an eager call agree."""
    if not may_suit_parts(dtype, g):
        return False
    cdef double M = g.M, N = g.N, K = g.K
    cdef double parts = BEGIN_CYCLES + FINISH_CYCLES * M * N + PARTS_CYCLES * K * PAIR * PAIR * cut_in(g.M, PAIR) * cut_in(g.N, PAIR)
    parts += K * (M * (PACK_CYCLES if (g.csA == 1) == (g.csC == 1) else TURN_CYCLES)
                  + N * (PACK_CYCLES if (g.csB == 1) == (g.csC == 1) else TURN_CYCLES))
    return parts < ORDINARY_CYCLES * M * N * K


cdef inline int64_t shared_bytes(const gemm_args* g) noexcept nogil:
    return cut_in(min(g.M, g.N), PAIR) * pair_bytes(most_steps(g.K))


cdef inline int64_t own_panels(const gemm_args* g) noexcept nogil:
    """Bytes of the panels of a task."""
    return max(<int64_t>OWN_BYTES, pair_bytes(most_steps(g.K)))


cdef inline int64_t spare_bytes(const gemm_args* g) noexcept nogil:
    """Of a block's ordinary product: its columns of B in one panel, and what else there is, in strips of up to 128 columns."""
    return (128 * (most_steps(g.K) * FN_PARTS_STEP + 2 * PAIR) + PAIR * (512 + 128)) * sizeof(float)


cdef inline void pack_pairs(const Parts* p, bint of_b, int64_t first, int64_t last, char* to) noexcept nogil:
    """Pairs of panels `first` to `last` of A or of B, k of this pass."""
    cdef const gemm_args* g = &p.g
    cdef int64_t outer = g.csB if of_b else g.rsA, inner = g.rsB if of_b else g.csA, start = first * PAIR
    cdef const float* x = <const float*>(g.B if of_b else g.A)
    p.kernels.pack(min(last * PAIR, g.N if of_b else g.M) - start, p.depth, x + start * outer + p.k * inner, outer, inner, of_b, to)


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
        t = g
        t.M, t.N = g.N, g.M
        t.A, t.rsA, t.csA = g.B, g.csB, g.rsB
        t.B, t.rsB, t.csB = g.A, g.csA, g.rsA
        t.rsC, t.csC = g.csC, g.rsC
        p.ordinary(&t, r.scratch)
    else:
        p.ordinary(&g, r.scratch)


cdef inline void task(void* context, int64_t index, int worker) noexcept nogil:
    """Some rows or columns of C: their operand stays near while the blocks of the other one pass by."""
    cdef const Parts* p = <const Parts*>context
    cdef const gemm_args* g = &p.g
    cdef int64_t first = p.own_pairs * index // p.each, last = p.own_pairs * (index + 1) // p.each
    cdef int64_t passing, row, bytes = pair_bytes(p.steps)
    cdef char* own = p.own + worker * p.own_bytes
    cdef bint end = p.k + p.depth >= g.K
    cdef fn_parts_block s
    cdef Refusal r
    r.p, r.scratch = p, own + p.own_bytes - p.spare_bytes
    s.steps, s.rsc, s.load, s.relu = p.steps, g.rsC, g.accumulate or p.k > 0, g.relu if end else 0
    s.refused, s.context = refuse, &r
    pack_pairs(p, not p.by_rows, first, last, own)
    p.kernels.begin()
    for passing in range(p.pairs):
        s.ahead = p.shared + (passing + 1) * bytes if passing + 1 < p.pairs else NULL
        for row in range(first if p.by_rows else passing, last if p.by_rows else passing + 1):
            s.a = own + (row - first) * bytes if p.by_rows else p.shared + row * bytes
            s.b = p.shared + passing * bytes if p.by_rows else own
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
    cdef int64_t depth = depth_of_pass(g.K), most, number
    p.kernels = (<const parts_tables*>table).parts
    p.by_rows = g.M > g.N
    p.pairs, p.own_pairs = cut_in(min(g.M, g.N), PAIR), cut_in(max(g.M, g.N), PAIR)
    p.shared, p.own = scratch, scratch + shared_bytes(g)
    for number in range(passes_of(g.K)):
        p.k = number * depth
        p.depth = min(depth, g.K - p.k)
        p.steps = cut_in(p.depth, FN_PARTS_STEP)
        most = max(1, own_panels(g) // pair_bytes(p.steps))
        # as few tasks as hold their operand near, in equal shares of every thread
        p.each = min(p.own_pairs, cut_in(cut_in(p.own_pairs, most), threads) * threads)
        parallel(cut_in(p.pairs, PACKED_TOGETHER), threads, pack_shared, p)
        parallel(p.each, threads, task, p)
