"""How a matrix product is done: in which orientation, what is copied, and in which blocks; found out from its sizes alone.

docs/gemm.md gives the reasons for the numbers below.
"""
from libc.stdint cimport int64_t

from fastnn.kernels.gemm_args cimport ceil_div, gemm_args, gemm_finish, transposed
from fastnn.kernels.gemm_parts cimport own_bytes, shared_bytes, suits_parts
from fastnn.kernels.native cimport table

cdef extern from "caches.h" nogil:
    int64_t fn_second_level() noexcept nogil
    bint fn_far_third_level() noexcept nogil

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
        void* copy
        int copied
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
        void (*pad)(int64_t rows, int64_t columns, void* y, int64_t rsy) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_gemm_table* gemm[2]

# A block of A (MC x KC) and a panel of B (KC x strip) share the second-level cache.
cdef enum:
    MC = 192
    KC = 256
    KC_FEW = 96                 # few rows: a freshly turned panel is used at once and should stay in the first level
    FAR_ROWS = 48               # where the third level is far, and up to so many rows of A, the way of a large B to the core takes as
    KC_FAR = 96                 # long as the multiply-adds: not many more rows of it at a time than prefetchers follow,
    LONG_COLUMNS = 512          # each as long a run as the threads allow
    NC = 512
    DOT_ROWS = 16               # up to here dot products may take the place of a turned B
    KC_DOTS = 512               # so few rows of A stay in the first level beside the columns of B that pass by,
    DOT_BYTES = 1 << 14         # and fewer rows for longer: then B passes by in runs of a page and more
    LONG_PANEL = 1 << 19        # bytes of a panel of B that many rows of A pass by, fetched a tile ahead from the third level
    DEEP_PANEL = 1 << 19        # bytes of a panel of B where C has to be turned after each
    PAD = 16                    # elements between rows of packed A: breaks up power-of-two strides
    # B in rows, and more rows of A than this: what the first tile reads of a strip of B is copied for the others,
    COPY_ROWS = 96
    COPY_ROWS_WIDE = 512        # of wide strips, whose rows are whole lines in either case,
    COPY_ROWS_FAR = 64          # but for lines split in two, and rows of B so far apart that a page holds one or two:
    COPY_STRIDE = 1 << 11       # few sets of the first level for all of a strip, and nothing for prefetchers to follow
    LARGE = 1 << 20
    NEAR = 1 << 17              # bytes of a B that hardly leaves the second level
    SHORT = 16                   # a K this short is bound by the writing of C: whole rows (as in micro/gemm.inc)
    PANEL_ROWS = 96             # of A that a panel should serve
    BLOCK_FLOP = 500_000
    LEAST_FLOP = 75_000         # of a block, where so many threads have one each
    BLOCKS = 16
    ROW_COLUMNS = 1024          # one row: most columns of a block, runs of memory long enough for the prefetchers,
    ROW_COLUMNS_LEAST = 64      # and least,
    ROW_BYTES = 3 << 17         # and bytes of B that are worth a block

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
    bint copy_b                 # B is used where it lies, and copied meanwhile for the rows below
    bint fetch                  # B may be far away
    bint far                    # and matters, to so few rows
    bint rows_ahead             # A may be, and passes by whole rows
    bint turned                 # g is the transposed product
    bint by_parts               # and rows of its C are contiguous: kernels/gemm_parts.pxd does it
    bint turn_c                 # C has contiguous columns: strips go through scratch,
    bint keep_c                 # where they stay for all of k
    int64_t block_rows          # the blocks of the split over threads
    int64_t block_columns
    int64_t blocks_across
    int64_t blocks
    bint by_columns             # neighbouring blocks lie below one another: a thread's share is columns of C, not rows
    bint in_order               # a block of C is a run of memory
    int rounds                  # parts of k, between which columns change from the one half of the threads to the other,
    int round                   # and the one of them at work
    int64_t scratch_bytes       # of one worker,
    int64_t shared_bytes        # and of all
    char* scratch


cdef inline int64_t round_up(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b * b


cdef inline int64_t even_depth(int64_t K, int64_t depth=KC) noexcept nogil:
    """About `depth`, in equal pieces: 784 are three of 262, not three of 256 and one of 16 for which C is loaded and stored again."""
    return ceil_div(K, max(1, (K + depth // 2) // depth))


cdef inline bint has_wide_strips(const Plan* p) noexcept nogil:
    """Is a row of a strip at least four lines?"""
    return p.kernels.columns_for(4) * p.element >= 256


cdef inline bint worth_copying(const Plan* p, int64_t rows) noexcept nogil:
    """Are so many rows of A better off with a copy of each strip of B, whose rows lie apart?"""
    cdef int64_t stride = p.g.rsB * p.element
    if not has_wide_strips(p):
        return rows > COPY_ROWS
    return rows > COPY_ROWS_WIDE or (rows >= COPY_ROWS_FAR and (stride >= COPY_STRIDE or stride % 64 != 0))


cdef inline int64_t packed_b_bytes(const Plan* p) noexcept nogil:
    return round_up(p.kc * min(p.nc, round_up(p.g.N, p.width)) * p.element, 64) if p.pack_b or p.copy_b else 0


cdef inline int64_t packed_a_bytes(const Plan* p) noexcept nogil:
    return round_up(min(p.g.M, MC) * (p.kc + PAD) * p.element, 64) if p.pack_a else 0


cdef inline double cycles(const gemm_args* g, int64_t lanes, bint turned) noexcept nogil:
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


cdef inline bint prefers_dots(const gemm_args* g, int64_t lanes, bint turned) noexcept nogil:
    """Are sums in lanes and then across them cheaper than a turned B?

    Of a transposed product only for one row: a batch times a narrow matrix keeps its chains, whatever the batch.
    """
    cdef double M = g.M, N = g.N, K = g.K
    if g.packed or g.csB == 1 or g.rsB != 1 or g.M > (1 if turned else DOT_ROWS):
        return False
    return M * N * (ceil_div(g.K, lanes) + SUM) < M * K * ceil_div(g.N, lanes) + K * N * TURN / lanes


cdef inline strip_function strip_of(const Plan* p) noexcept nogil:
    """The micro-kernel for an unpacked B as it lies; the common one takes a packed B as well."""
    cdef const gemm_args* g = &p.g
    if g.packed:
        return p.kernels.strip
    if g.M == 1 and g.csB == 1:
        return p.kernels.row_strip
    if prefers_dots(g, p.kernels.lanes, p.turned):
        return p.kernels.dot_strip
    return p.kernels.strip


cdef inline void make_plan(Plan* p, int dtype, const gemm_args* wanted) noexcept nogil:
    cdef gemm_args turned
    cdef gemm_args* g = &p.g
    p.kernels = (<const tables*>table).gemm[dtype]
    p.by_parts, p.shared_bytes = False, 0
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
    cdef int64_t strip = p.kernels.columns_for(4)
    p.turn_c = g.csC != 1
    p.strip = strip_of(p)
    p.pack_b = not g.packed and p.strip == p.kernels.strip and (
        g.csB != 1 or (g.N % p.kernels.lanes != 0 and not p.kernels.masked_tails))
    p.copy_b = (not (p.pack_b or g.packed) and p.strip == p.kernels.strip and g.K > SHORT and g.N >= strip and g.rsB > 2 * strip
                and worth_copying(p, g.M))
    p.pack_a = g.csA != 1 and (p.strip == p.kernels.dot_strip or (
        g.M > 1 and g.K > 2 * SHORT and g.csA * p.element > 256 and g.N > 2 * strip))
    cdef bint whole_rows = p.strip == p.kernels.row_strip or p.strip == p.kernels.dot_strip
    cdef bint in_place = not (p.pack_b or g.packed)
    # a B beyond the second-level cache is swept once, KC whole rows at a time: a strip down all of it would touch a page
    # per row, and come back to each page for every strip
    cdef bint large = in_place and g.csB == 1 and g.K * g.N * p.element > LARGE
    p.far = large and g.M <= FAR_ROWS and p.strip == p.kernels.strip and fn_far_third_level()
    p.fetch = p.strip == p.kernels.strip and g.K > SHORT and g.K * g.N * p.element > NEAR
    p.width = p.kernels.columns_for(g.M) if in_place else min(strip, round_up(max(1, g.N), p.kernels.lanes)) if p.pack_b else strip
    p.kc = g.K
    if p.pack_b and g.M <= 12 and not p.turn_c:
        p.kc = KC_FEW
    elif p.pack_a or p.pack_b or p.copy_b or g.packed or large:
        p.kc = even_depth(g.K, KC_FAR if p.far else KC)
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
    cdef bint long_strips = g.M > MC or not large if p.copy_b else p.pack_b and g.M > COPY_ROWS_WIDE
    if long_strips and not (p.pack_a or p.turn_c) and has_wide_strips(p):
        # down all of k: C is written once, and of many rows A comes from the third level for every strip
        p.kc = ceil_div(g.K, ceil_div(g.K, LONG_PANEL // (p.width * p.element)))
        p.nc = p.width
        p.rows_ahead = g.M * g.K * p.element > LARGE and g.csA == 1 and g.rsA == p.kc
    p.keep_c = p.turn_c and p.nc == p.width and g.M <= MC
    if p.turn_c and p.pack_b and not (p.pack_a or p.keep_c) and g.K > p.kc:     # C is turned there and back for every stretch of k
        p.kc = ceil_div(g.K, ceil_div(g.K, max(p.kc, DEEP_PANEL // (min(p.nc, round_up(g.N, p.width)) * p.element))))
    p.block_rows, p.block_columns, p.blocks_across, p.blocks, p.by_columns, p.rounds, p.round = g.M, g.N, 1, 1, False, 1, 0
    p.scratch_bytes = packed_b_bytes(p) + packed_a_bytes(p)
    if p.turn_c:
        p.scratch_bytes += min(g.M, MC) * p.width * p.element


cdef inline void cut_row(Plan* p, int threads) noexcept nogil:
    """Blocks of a single row of C: as wide as they can be, as they are bound by the reading of B."""
    cdef const gemm_args* g = &p.g
    cdef int64_t most = min(g.N // ROW_COLUMNS_LEAST, g.N * g.K * p.element // ROW_BYTES)
    cdef int64_t blocks = min(BLOCKS, most, max(threads, 2 * ceil_div(g.N, 2 * ROW_COLUMNS)))
    if blocks > 1:
        p.block_columns = round_up(ceil_div(g.N, blocks), p.kernels.columns_for(4) if g.packed else p.kernels.lanes)
        p.blocks_across = p.blocks = ceil_div(g.N, p.block_columns)


cdef inline void cut(Plan* p, int threads) noexcept nogil:
    """Blocks of C for the threads, so that few pack or turn the same piece of an operand; no bit depends on them."""
    cdef const gemm_args* g = &p.g
    cdef int64_t flops = 2 * g.M * g.N * g.K, wanted = min(BLOCKS, max(flops // BLOCK_FLOP, min(threads, flops // LEAST_FLOP)))
    if g.M == 1:
        cut_row(p, threads)
        return
    cdef int64_t unit = p.kernels.columns_for(4 if p.pack_b or g.packed else g.M)
    if g.M > 3 and unit != p.kernels.columns_for(4):    # strips of seven and eight rows do not divide most numbers of columns evenly
        unit = p.kernels.lanes
    if p.far or unit == p.kernels.lanes:
        wanted = min(wanted, max(threads, g.N // LONG_COLUMNS))
    if wanted < 2:
        return
    cdef int64_t strips = ceil_div(g.N, unit), down = max(1, g.M // 24), spare
    if p.pack_a or (g.K <= SHORT and g.csC == 1):       # rows of A are turned once; rows of C are written whole
        down = min(wanted, down)
        p.block_columns = ceil_div(strips, min(strips, max(1, wanted // down))) * unit
        p.blocks_across = ceil_div(g.N, p.block_columns)
    else:
        p.block_columns = ceil_div(strips, min(strips, wanted)) * unit
        p.blocks_across = ceil_div(g.N, p.block_columns)
        down = min(max(1, wanted // p.blocks_across), down)
        if p.pack_b or p.copy_b:
            # two blocks for a thread, in case one comes late, unless that leaves a panel with few rows to serve
            spare = 2 if threads * PANEL_ROWS <= p.blocks_across * g.M else 1
            down = min(down, max(g.M // PANEL_ROWS, ceil_div(spare * threads, p.blocks_across)))
    if down > 1:
        down -= down % 2                # as many blocks for one thread as for the other
    p.block_rows = ceil_div(g.M, down)
    p.blocks = p.blocks_across * ceil_div(g.M, p.block_rows)
    if p.copy_b and not worth_copying(p, p.block_rows):
        p.copy_b = p.rows_ahead = False
    # a share of rows reads all of B, one of columns all of A, and C leaves for the cores that will read its rows
    p.by_columns = not (p.turned or p.pack_a) and g.K * g.N > g.M * (g.K + g.N)


cdef inline bint may_stay(int64_t bytes, int threads) noexcept nogil:
    """Of a B of so many bytes, may much of a thread's share still lie in its second level from the last time?"""
    return 2 * bytes <= 3 * threads * fn_second_level()


cdef inline void cut_k(Plan* p, int threads) noexcept nogil:
    """Two parts of k for half of the columns each, where a thread's share would be the same bytes of every page of B.

    Those share a half of the sets of lines of the second-level cache; so do the other ones, of which the thread reads the other part of k.
    """
    cdef const gemm_args* g = &p.g
    cdef int64_t row = g.rsB * p.element
    if (not (p.far or (p.strip == p.kernels.row_strip and has_wide_strips(p))) or p.turn_c or p.blocks_across % 2 or g.K < 2 * KC
            or (row % 4096 and 4096 % max(1, row)) or g.K * row <= LARGE or not may_stay(g.K * row, threads)):
        return
    p.rounds = 2
    if g.M == 1:                # of whole rows the prefetchers would read on into the columns of the other thread
        p.width, p.kc, p.nc = p.kernels.columns_for(4), even_depth(g.K), p.block_columns


cdef inline void plan_parts(Plan* p, const gemm_args* g) noexcept nogil:
    p.kernels = (<const tables*>table).gemm[0]
    p.by_parts, p.turned, p.in_order = True, g.csC != 1, False
    p.g = g[0]
    if p.turned:
        transposed(g, &p.g)
    p.shared_bytes = shared_bytes(&p.g)
    p.scratch_bytes = own_bytes(&p.g)


cdef inline void plan_and_cut(Plan* p, int dtype, const gemm_args* g, int threads) noexcept nogil:
    if suits_parts(dtype, g):
        plan_parts(p, g)
        return
    make_plan(p, dtype, g)
    if threads > 1 or g.after != NULL:
        cut(p, threads)
        cut_k(p, threads)
    p.in_order = p.blocks > 1 and p.blocks_across == 1 and not p.turn_c
