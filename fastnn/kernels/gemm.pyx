"""Matrix products: blocking, packing and the split over threads.

Every element of C is one chain over k, whatever the blocks: cutting and packing are free to follow speed alone.
docs/gemm.md gives the reasons for the numbers below.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fastnn.kernels.native cimport FN_MEMO, declare, fn_call, fn_kernel, parallel, table, threads_for, threads_now

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_gemm_strip:
        int64_t M
        int64_t n
        int64_t K
        const void* a
        int64_t rsa
        int64_t csa
        const void* b
        int64_t rsb
        int64_t csb
        int padded
        const void* next
        const void* beside[5]
        int besides
        int64_t span
        int rows_ahead
        void* c
        int64_t rsc
        int load
        const void* bias
        const void* row_bias
        int relu
        gemm_finish finish
        void* context
        int64_t row
        int64_t column
    ctypedef struct fn_gemm_table:
        int lanes
        int masked_tails
        int64_t (*columns_for)(int64_t M) noexcept nogil
        void (*strip)(const fn_gemm_strip* s) noexcept nogil
        void (*row_strip)(const fn_gemm_strip* s) noexcept nogil
        void (*dot_strip)(const fn_gemm_strip* s) noexcept nogil
        void (*pack)(int64_t rows, int64_t columns, const void* x, int64_t rsx, int64_t csx, void* y,
                     int64_t rsy) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_gemm_table* gemm[2]

cdef extern from *:
    """
    enum { FN_KNOWN = 16, FN_KNOWN_BYTES = 448 };
    static __thread _Alignas(64) char fn_known[FN_KNOWN * FN_KNOWN_BYTES];
    static inline char *fn_known_at(uint64_t i) { return fn_known + i % FN_KNOWN * FN_KNOWN_BYTES; }
    """
    enum: FN_KNOWN_BYTES
    char* fn_known_at(uint64_t i) noexcept nogil

# A block of A (MC x KC) and a panel of B (KC x strip) share the second-level cache.
cdef enum:
    MC = 192
    KC = 256
    KC_FEW = 96                 # few rows: a freshly turned panel is used at once and should stay in the first level
    NC = 512
    DOT_ROWS = 16               # up to here dot products may take the place of a turned B
    KC_DOTS = 512               # so few rows of A stay in the first level beside the columns of B that pass by,
    DOT_BYTES = 1 << 14         # and fewer rows for longer: then B passes by in runs of a page and more
    LONG_PANEL = 1 << 19        # bytes of a panel of B that many rows of A pass by, fetched a tile ahead from the third level
    DEEP_PANEL = 1 << 19        # bytes of a panel of B where C has to be turned after each
    PAD = 16                    # elements between rows of packed A: breaks up power-of-two strides
    # up to so many rows, looking again and again at B costs less than a copy of it, once whole lines are read in either case
    NO_PACK_ROWS = 96
    NO_PACK_ROWS_WIDE = 512     # of wide strips
    LARGE = 1 << 20
    NEAR = 1 << 17              # bytes of a B that hardly leaves the second level
    SHORT = 16                   # a K this short is bound by the writing of C: whole rows (as in micro/gemm.inc)
    PANEL_ROWS = 96             # of A that a panel should serve
    BLOCK_FLOP = 500_000
    LEAST_FLOP = 75_000         # of a block, where so many threads have one each
    BLOCKS = 16
    ROW_COLUMNS = 1024          # one row: most columns of a block, runs of memory long enough for the prefetchers,
    ROW_COLUMNS_LEAST = 128     # and least,
    ROW_BYTES = 3 << 17         # and bytes of B that are worth a block
    SIZES = 11                  # of a record, that a plan is made for

# Cycles per element turned (copied to rows from columns), times lanes: the FMA of a vector is one cycle.
DEF TURN = 4.0
# Cycles to add up the lanes of one dot product.
DEF SUM = 3.0

ctypedef void (*strip_function)(const fn_gemm_strip* s) noexcept nogil

cdef struct Plan:
    gemm_args g
    const fn_gemm_table* kernels
    strip_function strip
    int64_t element             # bytes
    int64_t width               # columns of a strip
    int64_t kc
    int64_t nc
    bint pack_a
    bint pack_b
    bint pack_for_rows          # B could be used where it lies, but for the many rows
    bint fetch                  # B may be far away
    bint rows_ahead             # A may be, and passes by whole rows
    bint turned                 # g is the transposed product
    bint turn_c                 # C has contiguous columns: strips go through scratch,
    bint keep_c                 # where they stay for all of k
    int64_t block_rows          # the blocks of the split over threads
    int64_t block_columns
    int64_t blocks_across
    int64_t blocks
    bint by_columns             # neighbouring blocks lie below one another: a thread's share is columns of C, not rows
    bint in_order               # a block of C is a run of memory
    int64_t scratch_bytes       # of one worker
    char* scratch


cdef struct Known:              # the plan of a call of this thread, for the next one of the same sizes
    const fn_kernel* kernel
    int64_t threads
    int64_t dtype
    int64_t[SIZES] size
    Plan plan


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t round_up(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b * b


cdef inline int64_t even_depth(int64_t K) noexcept nogil:
    """About KC, in equal pieces: 784 are three of 262, not three of 256 and one of 16 for which C is loaded and stored again."""
    return ceil_div(K, max(1, (K + KC // 2) // KC))


cdef inline bint has_wide_strips(const Plan* p) noexcept nogil:
    """Is a row of a strip at least four lines?"""
    return p.kernels.columns_for(4) * p.element >= 256


cdef inline int64_t unpacked_rows(const Plan* p) noexcept nogil:
    """Up to so many rows B is used where it lies."""
    return NO_PACK_ROWS_WIDE if has_wide_strips(p) else NO_PACK_ROWS


cdef inline int64_t packed_b_bytes(const Plan* p) noexcept nogil:
    return round_up(p.kc * min(p.nc, round_up(p.g.N, p.width)) * p.element, 64) if p.pack_b else 0


cdef inline int64_t packed_a_bytes(const Plan* p) noexcept nogil:
    return round_up(min(p.g.M, MC) * (p.kc + PAD) * p.element, 64) if p.pack_a else 0


cdef double cycles(const gemm_args* g, int64_t lanes, bint turned) noexcept nogil:
    """Model of the time of a product as it stands: multiply-adds, and what must be turned to have contiguous rows."""
    cdef double M = g.M, N = g.N, K = g.K, moved = 0, products = M * K * ceil_div(g.N, lanes)
    if g.csA != 1 and g.K > 2 * SHORT:
        moved += M * K
    if g.csC != 1:              # there and back again for every stretch of k
        moved += M * N * (2 * (ceil_div(g.K, even_depth(g.K)) if g.csA != 1 and g.K > KC else 1) - (0 if g.accumulate else 1))
    if prefers_dots(g, lanes, turned):
        products = M * N * (ceil_div(g.K, lanes) + SUM)
    elif g.csB != 1 and not g.packed:
        moved += K * N
    return products + moved * TURN / lanes


cdef bint prefers_dots(const gemm_args* g, int64_t lanes, bint turned) noexcept nogil:
    """Are sums in lanes and then across them cheaper than a turned B?

    Of a transposed product only for one row: a batch times a narrow matrix keeps its chains, whatever the batch.
    """
    cdef double M = g.M, N = g.N, K = g.K
    if g.packed or g.csB == 1 or g.rsB != 1 or g.M > (1 if turned else DOT_ROWS):
        return False
    return M * N * (ceil_div(g.K, lanes) + SUM) < M * K * ceil_div(g.N, lanes) + K * N * TURN / lanes


cdef void transposed(const gemm_args* g, gemm_args* t) noexcept nogil:
    """C^T = B^T A^T: the same chains, so the same bits."""
    t[0] = g[0]
    t.M, t.N = g.N, g.M
    t.A, t.rsA, t.csA = g.B, g.csB, g.rsB
    t.B, t.rsB, t.csB = g.A, g.csA, g.rsA
    t.rsC, t.csC = g.csC, g.rsC


cdef strip_function strip_of(const Plan* p) noexcept nogil:
    """The micro-kernel for an unpacked B as it lies; the common one takes a packed B as well."""
    cdef const gemm_args* g = &p.g
    if g.packed:
        return p.kernels.strip
    if g.M == 1 and g.csB == 1:
        return p.kernels.row_strip
    if prefers_dots(g, p.kernels.lanes, p.turned):
        return p.kernels.dot_strip
    return p.kernels.strip


cdef void make_plan(Plan* p, int dtype, const gemm_args* wanted) noexcept nogil:
    cdef gemm_args turned
    cdef gemm_args* g = &p.g
    p.kernels = (<const tables*>table).gemm[dtype]
    p.element = 8 if dtype == 1 else 4
    g[0] = wanted[0]
    if g.N == 1:                # strides of a dimension of one are free
        g.csB = g.csC = 1
    if g.M == 1:
        g.csA, g.rsA = g.csA, 1
        g.rsC = 1 if g.csC != 1 else g.N
    p.turned = False
    if g.finish == NULL and not g.packed:
        transposed(g, &turned)
        p.turned = cycles(&turned, p.kernels.lanes, True) < cycles(g, p.kernels.lanes, False)
        if p.turned:
            g[0] = turned
    cdef int64_t strip = p.kernels.columns_for(g.M if g.M > 3 else 4)
    cdef bint many_rows = g.M > unpacked_rows(p)
    p.turn_c = g.csC != 1
    p.strip = strip_of(p)
    p.pack_b = not g.packed and p.strip == p.kernels.strip and (
        g.csB != 1 or (g.N % p.kernels.lanes != 0 and not p.kernels.masked_tails))
    p.pack_for_rows = (not (p.pack_b or g.packed) and p.strip == p.kernels.strip and many_rows and g.K > SHORT
                       and g.rsB > 2 * strip)
    p.pack_b = p.pack_b or p.pack_for_rows
    p.pack_a = g.csA != 1 and (p.strip == p.kernels.dot_strip or (
        g.M > 1 and g.K > 2 * SHORT and g.csA * p.element > 256 and g.N > 2 * strip))
    cdef bint whole_rows = p.strip == p.kernels.row_strip or p.strip == p.kernels.dot_strip
    cdef bint in_place = not (p.pack_b or g.packed)
    # a B beyond the second-level cache is swept once, KC whole rows at a time: a strip down all of it would touch a page
    # per row, and come back to each page for every strip
    cdef bint large = in_place and g.csB == 1 and g.K * g.N * p.element > LARGE
    p.fetch = p.strip == p.kernels.strip and g.K > SHORT and g.K * g.N * p.element > NEAR
    p.width = p.kernels.columns_for(g.M) if in_place else min(strip, round_up(max(1, g.N), p.kernels.lanes)) if p.pack_b else strip
    p.kc = g.K
    if p.pack_b and g.M <= 12 and not p.turn_c:
        p.kc = KC_FEW
    elif p.pack_a or p.pack_b or g.packed or many_rows or large:
        p.kc = even_depth(g.K)
    if whole_rows:
        p.kc = max(KC_DOTS, DOT_BYTES // (max(1, g.M) * p.element)) if p.strip == p.kernels.dot_strip else g.K
        p.width = round_up(g.N, p.kernels.lanes)
    if g.K <= SHORT and not p.turn_c:
        if p.pack_b:
            p.width = min(NC, round_up(max(1, g.N), p.kernels.lanes))
        elif in_place and g.csB == 1:
            p.width = round_up(g.N, p.kernels.lanes)
    p.kc = max(1, min(p.kc, g.K))
    p.nc = NC if g.M > MC or p.pack_a else round_up(g.N, p.width) if large else p.width
    p.nc = max(p.nc, p.width)
    p.rows_ahead = False
    if many_rows and p.kc < g.K and p.pack_b and not (p.pack_a or p.turn_c) and has_wide_strips(p):
        # a strip down all of k: C is written once, and A comes from the third level for every strip
        p.kc = ceil_div(g.K, ceil_div(g.K, LONG_PANEL // (p.width * p.element)))
        p.nc = p.width
        p.rows_ahead = g.csA == 1 and g.rsA == p.kc
    p.keep_c = p.turn_c and p.nc == p.width and g.M <= MC
    if p.turn_c and p.pack_b and not (p.pack_a or p.keep_c) and g.K > p.kc:     # C is turned there and back for every stretch of k
        p.kc = ceil_div(g.K, ceil_div(g.K, max(p.kc, DEEP_PANEL // (min(p.nc, round_up(g.N, p.width)) * p.element))))
    p.block_rows, p.block_columns, p.blocks_across, p.blocks, p.by_columns = g.M, g.N, 1, 1, False
    p.scratch_bytes = packed_b_bytes(p) + packed_a_bytes(p)
    if p.turn_c:
        p.scratch_bytes += min(g.M, MC) * p.width * p.element


cdef void cut_row(Plan* p, int threads) noexcept nogil:
    """Blocks of a single row of C: as wide as they can be, as they are bound by the reading of B."""
    cdef const gemm_args* g = &p.g
    cdef int64_t most = min(g.N // ROW_COLUMNS_LEAST, g.N * g.K * p.element // ROW_BYTES)
    cdef int64_t blocks = min(BLOCKS, most, max(threads, 2 * ceil_div(g.N, 2 * ROW_COLUMNS)))
    if blocks > 1:
        p.block_columns = round_up(ceil_div(g.N, blocks), p.kernels.columns_for(4) if g.packed else p.kernels.lanes)
        p.blocks_across = p.blocks = ceil_div(g.N, p.block_columns)


cdef void cut(Plan* p, int threads) noexcept nogil:
    """Blocks of C for the threads, so that few pack or turn the same piece of an operand; no bit depends on them."""
    cdef const gemm_args* g = &p.g
    cdef int64_t flops = 2 * g.M * g.N * g.K, wanted = min(BLOCKS, max(flops // BLOCK_FLOP, min(threads, flops // LEAST_FLOP)))
    if g.M == 1:
        cut_row(p, threads)
        return
    if wanted < 2:
        return
    cdef int64_t unit = p.kernels.columns_for(g.M)
    cdef int64_t strips = ceil_div(g.N, unit), down = max(1, g.M // 24), spare
    if p.pack_a or (g.K <= SHORT and g.csC == 1):       # rows of A are turned once; rows of C are written whole
        down = min(wanted, down)
        p.block_columns = ceil_div(strips, min(strips, max(1, wanted // down))) * unit
        p.blocks_across = ceil_div(g.N, p.block_columns)
    else:
        p.block_columns = ceil_div(strips, min(strips, wanted)) * unit
        p.blocks_across = ceil_div(g.N, p.block_columns)
        down = min(max(1, wanted // p.blocks_across), down)
        if p.pack_b:
            # two blocks for a thread, in case one comes late, unless that leaves a panel with few rows to serve
            spare = 2 if threads * PANEL_ROWS <= p.blocks_across * g.M else 1
            down = min(down, max(g.M // PANEL_ROWS, ceil_div(spare * threads, p.blocks_across)))
    if down > 1:
        down -= down % 2                # as many blocks for one thread as for the other
    p.block_rows = ceil_div(g.M, down)
    p.blocks = p.blocks_across * ceil_div(g.M, p.block_rows)
    if p.pack_for_rows and p.block_rows <= min(MC, unpacked_rows(p)):
        p.pack_b = p.rows_ahead = False
    # a share of rows reads all of B, one of columns all of A, and C leaves for the cores that will read its rows
    p.by_columns = not (p.turned or p.pack_a) and g.K * g.N > g.M * (g.K + g.N)


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

    Of more than MC rows only the last chunk is followed by this one; the others fetch too early.
    """
    cdef const gemm_args* g = &p.g
    if p.pack_b or not p.fetch:
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
    cdef int64_t e = p.element, across, down, deep, t, j, nc, k, w
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
        for deep in range(max(1, ceil_div(g.K, p.kc))):
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
            for down in range(ceil_div(rows, MC)):
                multiply(p, &s, row + down * MC, min(MC, rows - down * MC), j, nc, k, scratch, left)


cdef void block_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Plan* p = <const Plan*>context
    cdef int64_t down = p.blocks // p.blocks_across
    cdef int64_t row = block % down if p.by_columns else block // p.blocks_across
    cdef int64_t column = block // down if p.by_columns else block % p.blocks_across
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
    return round_up((panel + min(longest, MC) * (kc + PAD + strip) + 8 * strip) * element, 64) * max(1, threads)


cdef inline void plan_and_cut(Plan* p, int dtype, const gemm_args* g, int threads) noexcept nogil:
    make_plan(p, dtype, g)
    if threads > 1 or g.after != NULL:
        cut(p, threads)
    p.in_order = p.blocks > 1 and p.blocks_across == 1 and not p.turn_c


cdef void run_plan(Plan* p, int threads, void* scratch) noexcept nogil:
    if p.blocks == 1:
        run_block(p, 0, p.g.M, 0, p.g.N, <char*>scratch, NULL)
    else:
        p.scratch = <char*>scratch
        parallel(p.blocks, threads, block_body, p)
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
    return known_plan(call, threads_now(call)).scratch_bytes * max(1, call.threads)


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
