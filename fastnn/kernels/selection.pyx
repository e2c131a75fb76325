"""Products whose left operand is mostly zeros, or binary: states of stochastic units.

Rows of B are added up as the nonzeros of a row of A select them, or by fours from tables of sums (csrc/micro/selection.h); which
of these, or the dense product, is decided by counting the nonzeros: docs/boltzmann.md has the figures behind the numbers below.
Zeros are skipped: 0 times a NaN or an infinity of B adds nothing here.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.gemm cimport gemm, gemm_args, gemm_cycles_by_parts, gemm_scratch
from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for

cdef enum:
    SHARED = 2048               # sums of stretches that two threads add up sooner than one
    BLOCK = 1024                # of them, in a block
    FIRST_LEVEL = 24576         # bytes of the rows of B, or of the tables of their sums, that a panel keeps in the cache
    PANEL_BYTES = 61440         # beyond the first level, where few ones are: each stretch of K costs a wrong guess of a count
    SUMS_ROWS = 1088            # of a product by tables at a time, at most: 1024 in shares of whole CUTs
    SERIAL = 1024               # words that one thread makes sooner than two
    FEW_USES = 4                # selections of a row of B for which a copy into a panel does not pay
    PARTS = 4                   # stretches of K, where a product of few rows is cut by them: all of B that a thread reads is its own
    FEW_ROWS = 64
    CUT = 64                    # rows of B, or of a product, in whose multiples threads share them; the same for every instruction set

# How the sums are formed.
cdef enum: DENSE, ROWS, SUMS

# Time in cycles, per vector of columns: a selection; a row of a stretch of K; a row of B copied, or turned; a sum of four rows
# taken from its table, C included, and a row of B made part of tables.
DEF SELECTION = 1.6
DEF WITH_VALUE = 1.9
DEF STRETCH_OF_ROWS = 4.5
DEF COPIED = 5.0
DEF TURNED = 5.0
DEF TAKEN = 1.6
DEF SUMMED = 11.0
DEF PARTS_UNIT = 1.15           # of this time in a cycle, where products are done by parts

cdef inline bint may_part(const Product* p) noexcept nogil:
    """May the product be cut by stretches of K?  Where the rows of B are contiguous and many, and those of A few."""
    return p.samples == NULL and p.csb == 1 and p.M < FEW_ROWS and p.K >= 4 * PARTS * WORD and p.K * p.N * p.item > 2 * PANEL_BYTES


cdef inline int64_t share_of(int64_t n, int64_t i, int64_t of) noexcept nogil:
    """Where the i-th of `of` shares of n begins.

    Products up, down and statistics cut the visible units alike, so that each thread finds its own rows of W in its own cache.
    """
    return min(n, ceil_div(n, CUT) * i // of * CUT)


cdef inline int64_t split_of(const Product* p, int64_t i) noexcept nogil:
    """Where a split of the chunk's rows begins."""
    return p.count * i // p.splits if p.count < 8 * CUT else share_of(p.count, i, p.splits)


cdef inline int64_t start_of(const Product* p, int64_t s) noexcept nogil:
    """Where a stretch of K begins."""
    return share_of(p.K, s, PARTS) if p.parted else min(p.K, s * p.depth)


cdef void lay_out(Product* p, char* at) noexcept nogil:
    """Where the scratch of a chunk lies: the lists, or in their place that of a dense product."""
    cdef int64_t rows = chunk_rows(p)
    cdef gemm_args g
    p.words = ceil_div(p.K, WORD)
    p.room = p.words * WORD
    p.words_of = <uint16_t*>at
    p.found = <Found*>(at + padded(rows * p.words * 2))
    p.starts = <int32_t*>(<char*>p.found + padded(max(PARTS, ceil_div(rows, LIST_ROWS)) * sizeof(Found)))
    p.at = <int32_t*>(<char*>p.starts + padded(rows * (p.words + 2) * 4))
    p.values = <char*>p.at + padded(rows * p.room * 4)
    p.spare = p.values + padded(rows * p.room * p.item)
    p.spare_bytes = padded(PANEL_BYTES + FIRST_LEVEL + min(rows, SUMS_ROWS) * p.kernels.panel * p.item)
    p.parts = p.spare + p.spare_bytes * max(1, p.threads)
    p.end = p.parts + (padded(PARTS * rows * p.N * p.item) if may_part(p) else 0)
    dense_chunk(p, &g)
    g.K = p.K
    p.end = at + max(p.end - at, gemm_scratch(p.dtype, &g, p.threads))


# ---- words and lists -----------------------------------------------------------------------------------------------
cdef int64_t count_bits(const uint16_t* word, int64_t n) noexcept nogil:
    """The bits of n words, four words at a time."""
    cdef uint64_t first = 0x1111111111111111, w
    cdef int64_t i = 0, ones = 0
    while i < n:
        w = 0
        memcpy(&w, word + i, <size_t>(2 * min(4, n - i)))
        ones += sum_of_fours((w & first) + (w >> 1 & first) + (w >> 2 & first) + (w >> 3 & first))
        i += 4
    return ones


cdef inline int64_t sum_of_fours(uint64_t w) noexcept nogil:
    cdef uint64_t low = 0x0f0f0f0f0f0f0f0f, ones = 0x0101010101010101
    return <int64_t>(((w & low) + (w >> 4 & low)) * ones >> 56)


cdef void words_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Product* p = <Product*>context
    cdef int64_t first = block * LIST_ROWS, n = min(LIST_ROWS, p.count - first), r, q, above = ceil_div(p.rows, WORD), row, left
    cdef const char* x
    cdef uint16_t* word = p.words_of + first * p.words
    cdef Found* found = p.found + block
    memset(found, 0, sizeof(Found))
    if p.samples == NULL:
        for r in range(n):
            found.others += not p.kernels.words_along(p.K, p.x + (p.first + first + r) * p.K * p.item, word + r * p.words)
    else:
        for q in range(p.words):
            x, row, left = p.x, WORD * q, p.rows
            if q >= above:
                x, row, left = p.samples, WORD * (q - above), p.sample_rows
            found.others += not p.kernels.words_down(min(WORD, left - row), n, x + (row * p.M + p.first + first) * p.item, p.M,
                                                     word + q, p.words)
    found.ones = count_bits(word, n * p.words)


cdef void words_of_stretch(void* context, int64_t s, int worker) noexcept nogil:
    """Of all rows, where each stretch of K may get a block of its own."""
    cdef Product* p = <Product*>context
    cdef int64_t k = share_of(p.K, s, PARTS), depth = share_of(p.K, s + 1, PARTS) - k, r
    cdef uint16_t* word
    cdef Found* found = p.found + s
    memset(found, 0, sizeof(Found))
    for r in range(p.count):
        word = p.words_of + r * p.words + k // WORD
        found.others += not p.kernels.words_along(depth, p.x + ((p.first + r) * p.K + k) * p.item, word)
        found.ones += count_bits(word, ceil_div(depth, WORD))


cdef void values_of(const Product* p, int64_t row, int64_t k, int64_t count, const int32_t* at, char* value) noexcept nogil:
    """The elements of A at `at`, counted from column k."""
    cdef int64_t above = ceil_div(p.rows, WORD) * WORD, t = 0
    if p.samples == NULL:
        p.kernels.gather(count, at, p.x + (row * p.K + k) * p.item, 1, value)
        return
    while t < count and k + at[t] < above:
        t += 1
    p.kernels.gather(t, at, p.x + (k * p.M + row) * p.item, p.M, value)
    p.kernels.gather(count - t, at + t, p.samples + ((k - above) * p.M + row) * p.item, p.M, value + t * p.item)


cdef void list_stretch(const Product* p, int64_t first, int64_t rows, int64_t s, int64_t start, int32_t* starts,
                       int64_t step) noexcept nogil:
    """What a stretch of K selects for some rows, one list behind the other: close together, whoever reads them finds them in the cache."""
    cdef int64_t k = start_of(p, s), words = ceil_div(start_of(p, s + 1) - k, WORD), r
    cdef const uint16_t* word = p.words_of + first * p.words + k // WORD
    starts[0] = <int32_t>start
    p.kernels.list_rows(rows, words, word, p.words, p.at, starts, step)
    if not p.binary:
        for r in range(rows):
            start = starts[r * step]
            values_of(p, p.first + first + r, k, starts[r * step + 1] - start, p.at + start, p.values + start * p.item)


cdef void make_lists(const Product* p, int64_t first, int64_t last) noexcept nogil:
    cdef int64_t r, s, step = p.stretches + 1, start = first * p.room
    cdef int32_t* starts = p.starts + first * step
    if p.stretches == 1:
        list_stretch(p, first, last - first, 0, start, starts, step)
        return
    for r in range(first, last):
        for s in range(p.stretches):
            list_stretch(p, r, 1, s, start, starts + s, step)
            start = starts[s + 1]
        starts += step


cdef void lists_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Product* p = <Product*>context
    make_lists(p, block * LIST_ROWS, min(p.count, (block + 1) * LIST_ROWS))


# ---- the sums ------------------------------------------------------------------------------------------------------
cdef struct Piece:              # of C: rows of the chunk, and columns
    int64_t first
    int64_t count
    int64_t column
    int64_t columns


cdef void part_block(void* context, int64_t s, int worker) noexcept nogil:
    """One stretch of K: its lists and its sums."""
    cdef Product* p = <Product*>context
    cdef int64_t k = start_of(p, s)
    cdef int32_t* starts = p.starts + 2 * p.count * s
    list_stretch(p, 0, p.count, s, p.count * k, starts, 2)
    p.kernels.combine(p.count, starts, 2, p.at, NULL if p.binary else p.values, p.b + k * p.rsb * p.item, p.rsb, 0, p.N, NULL, 0,
                      p.parts + s * p.count * p.N * p.item, p.N)


cdef void panel_block(void* context, int64_t block, int worker) noexcept nogil:
    """The columns of a panel for all rows of the chunk, or for one of its splits."""
    cdef Product* p = <Product*>context
    cdef int64_t column = block // p.splits * p.width, split = block % p.splits, s
    cdef Piece piece
    piece.first, piece.column, piece.columns = split_of(p, split), column, min(p.width, p.N - column)
    piece.count = split_of(p, split + 1) - piece.first
    if p.own_b != NULL and (block == 0 or not p.owned[worker]):
        p.owned[worker] = True
        p.own_b(p.context, <char*>p.b + worker * p.own_bytes, block == 0 and p.first == 0)
    if p.lists_by_panel:
        make_lists(p, piece.first, piece.first + piece.count)
    for s in range(p.stretches):
        stretch(p, &piece, s, worker)


cdef void stretch(Product* p, const Piece* piece, int64_t s, int worker) noexcept nogil:
    """What a stretch of K adds to a piece of C."""
    cdef int64_t k = start_of(p, s), depth = start_of(p, s + 1) - k, rs = p.rsb
    cdef char* panel = p.spare + worker * p.spare_bytes
    cdef const char* b = p.b + worker * p.own_bytes + (k * p.rsb + piece.column * p.csb) * p.item
    cdef const char* bias = p.bias + piece.column * p.item if p.bias != NULL and s == p.stretches - 1 else NULL
    cdef char* c = p.c + ((p.first + piece.first) * p.N + piece.column) * p.item
    if not p.in_place and not (p.way == SUMS and p.csb == 1 and piece.columns == p.width):
        if piece.columns < p.width:
            memset(panel, 0, depth * p.width * p.item)
        p.dense.pack(depth, piece.columns, b, p.rsb, p.csb, panel, p.width)
        b, rs = panel, p.width
    if p.way == SUMS:
        take_sums(p, piece, s, b, rs, panel + PANEL_BYTES, bias, c)
    elif p.update != NULL and s == p.stretches - 1:
        combine_and_step(p, piece, s, b, rs)
    else:
        combine_rows(p, piece, s, b, rs, bias, s > 0, c, p.N)


cdef inline void take_sums(Product* p, const Piece* piece, int64_t s, const char* b, int64_t rs, char* tables, const char* bias,
                           char* c) noexcept nogil:
    """Tables of a few rows of B after the other, and what all rows of the piece take from them; up to the last one in memory of its own."""
    cdef int64_t k = start_of(p, s), end = start_of(p, s + 1), depth, panel = p.kernels.panel
    cdef const uint8_t* bits = <uint8_t*>(p.words_of + piece.first * p.words)
    cdef char* sums = tables + FIRST_LEVEL
    cdef const char* before
    while k < end:
        depth, before = min(p.tables_depth, end - k), sums if k else NULL
        p.kernels.subset_sums(depth, b, rs, tables)
        if k + depth < p.K:
            p.kernels.combine_sums(piece.count, depth, bits + k // 8, 2 * p.words, tables, before, panel, NULL, sums, panel)
        else:
            p.kernels.combine_sums(piece.count, depth, bits + k // 8, 2 * p.words, tables, before, piece.columns, bias, c, p.N)
        k += depth
        b += depth * rs * p.item


cdef inline void combine_rows(Product* p, const Piece* piece, int64_t s, const char* b, int64_t rs, const char* bias, bint load, char* c,
                              int64_t rsc) noexcept nogil:
    p.kernels.combine(piece.count, p.starts + piece.first * (p.stretches + 1) + s, p.stretches + 1, p.at,
                      NULL if p.binary else p.values, b, rs, not p.in_place or p.samples != NULL, piece.columns, bias, load, c, rsc)


cdef inline void combine_and_step(Product* p, const Piece* piece, int64_t s, const char* b, int64_t rs) noexcept nogil:
    """The parameter's step by the sums, straight from registers."""
    cdef int64_t at = ((p.first + piece.first) * p.N + piece.column) * p.item
    p.kernels.combine_sgd(piece.count, p.starts + piece.first * (p.stretches + 1) + s, p.stretches + 1, p.at,
                          NULL if p.binary else p.values, b, rs, not p.in_place or p.samples != NULL, piece.columns, <int>s, p.c + at, p.N,
                          &p.coefficients, p.still, p.parameter + at)


cdef void update_block(void* context, int64_t block, int worker) noexcept nogil:
    """The parameter's step by rows of a product that lies in c."""
    cdef Product* p = <Product*>context
    cdef int64_t first = block * LIST_ROWS, rows = min(LIST_ROWS, p.count - first), at = (p.first + first) * p.N * p.item
    p.update(rows * p.N, &p.coefficients, p.parameter + at, p.c + at, NULL)


cdef inline int64_t rows_of_block(const Product* p) noexcept nogil:
    return max(1, BLOCK // max(1, p.N))


cdef void add_parts(void* context, int64_t block, int worker) noexcept nogil:
    """c = the stretches' sums, added up in order, + bias; rows of a block."""
    cdef Product* p = <Product*>context
    cdef int32_t[PARTS] every = [0, 1, 2, 3]
    cdef int32_t[2] ends = [0, PARTS]
    cdef int64_t first = block * rows_of_block(p), last = min(p.count, first + rows_of_block(p)), row
    for row in range(first, last):
        p.kernels.combine(1, ends, 0, every, NULL, p.parts + row * p.N * p.item, p.count * p.N, 0, p.N, p.bias, 0,
                          p.c + (p.first + row) * p.N * p.item, p.N)


cdef void dense_chunk(const Product* p, gemm_args* g) noexcept nogil:
    memset(g, 0, sizeof(gemm_args))
    g.M, g.N, g.K = p.count, p.N, p.K
    g.A, g.rsA, g.csA = p.x + p.first * p.K * p.item, p.K, 1
    g.B, g.rsB, g.csB = p.b, p.rsb, p.csb
    g.C, g.rsC, g.csC = p.c + p.first * p.N * p.item, p.N, 1
    g.bias, g.short_a = p.bias, p.binary
    if p.samples != NULL:
        g.K = p.rows
        g.A, g.rsA, g.csA = p.x + p.first * p.item, 1, p.M


cdef void run_dense(Product* p) noexcept nogil:
    cdef gemm_args g
    dense_chunk(p, &g)
    gemm(p.dtype, &g, p.threads, p.words_of)
    if p.samples != NULL:
        g.K, g.accumulate = p.sample_rows, True
        g.A = p.samples + p.first * p.item
        g.B = p.b + ceil_div(p.rows, WORD) * WORD * p.rsb * p.item
        gemm(p.dtype, &g, p.threads, p.words_of)


cdef int64_t depth_of(const Product* p, const Found* f) noexcept nogil:
    """Rows of B in a stretch: about as many as the cache holds, in equal pieces."""
    cdef int64_t bytes = PANEL_BYTES if 4 * f.ones < p.count * p.K else FIRST_LEVEL
    cdef int64_t most = bytes // (p.kernels.panel * p.item)
    return max(1, ceil_div(ceil_div(p.K, max(1, ceil_div(8 * p.K, 9 * most))), WORD)) * WORD


cdef void choose(Product* p, const Found* f) noexcept nogil:
    """The way that should take the least time, by a model of it; and how the work is cut."""
    cdef double rows, sums, dense = <double>p.count * p.K, moved = (COPIED if p.csb == 1 else TURNED) * p.K
    p.binary = f.others == 0
    p.in_place = p.csb == 1 and (f.ones < FEW_USES * p.K or p.K * p.N * p.item <= PANEL_BYTES)
    p.parted = p.in_place and may_part(p)
    p.depth = depth_of(p, f)
    if p.in_place:
        p.depth = max(1, p.K)
    p.stretches = PARTS if p.parted else max(1, ceil_div(p.K, p.depth))
    cdef gemm_args g
    dense_chunk(p, &g)
    cdef double by_parts = gemm_cycles_by_parts(p.dtype, &g) * (1 if p.samples == NULL else 2)
    if by_parts > 0:
        dense = by_parts * PARTS_UNIT / ceil_div(p.N, p.dense.lanes)
    rows = (SELECTION if p.binary else WITH_VALUE) * f.ones + STRETCH_OF_ROWS * p.count * p.stretches
    if not p.in_place:
        rows += moved
    p.tables_depth = FN_SUMS_DEPTH * max(1, FIRST_LEVEL // (4 * FN_SUMS_DEPTH * p.kernels.panel * p.item))
    sums = (TAKEN * p.count / 4 + SUMMED) * ceil_div(p.K, FN_SUMS_DEPTH) * FN_SUMS_DEPTH + (moved if p.csb != 1 else 0)
    p.way = ROWS if rows < dense else DENSE
    if p.binary and sums < min(rows, dense):
        p.way, p.in_place = SUMS, False
        p.depth = PANEL_BYTES // (p.tables_depth * p.kernels.panel * p.item) * p.tables_depth
        p.stretches = max(1, ceil_div(p.K, p.depth))
    p.parted = p.parted and p.way == ROWS
    p.width = p.kernels.panel
    if p.in_place and not p.parted:
        p.width = max(p.N, 1) if p.count >= 64 else max(1, ceil_div(p.N, 8 * p.width)) * 2 * p.width
    p.splits = 1
    if p.count >= 64 and ceil_div(p.N, p.width) < 4:
        p.splits = min(16, p.count // 24 if p.count < 8 * CUT else ceil_div(p.count, CUT))
    if p.way == SUMS:
        p.splits = max(p.splits, ceil_div(p.count, SUMS_ROWS - CUT))
    p.lists_by_panel = p.way == ROWS and not p.parted and p.N <= p.width


cdef void run_chunk(Product* p) noexcept nogil:
    cdef Found all
    cdef int64_t block, blocks = ceil_div(p.count, LIST_ROWS), finders = PARTS if may_part(p) else blocks
    cdef int threads = p.threads if p.count * p.words > SERIAL else 1
    if may_part(p):
        parallel(PARTS, p.threads if p.count * p.words > SERIAL // PARTS else 1, words_of_stretch, p)
    else:
        parallel(blocks, threads, words_block, p)
    memset(&all, 0, sizeof(Found))
    for block in range(finders):
        all.ones += p.found[block].ones
        all.others += p.found[block].others
    choose(p, &all)
    if p.own_b != NULL and (p.way != ROWS or not p.in_place):
        p.own_b(p.context, <char*>p.b, True)            # one for all
        p.own_b, p.own_bytes = NULL, 0
    if p.way == DENSE:
        run_dense(p)
        if p.update != NULL:
            parallel(blocks, p.threads, update_block, p)
    elif p.parted:
        parallel(PARTS, p.threads, part_block, p)
        parallel(ceil_div(p.count, rows_of_block(p)), p.threads if p.count * p.N > SHARED else 1, add_parts, p)
    else:
        if p.way == ROWS and not p.lists_by_panel:
            parallel(blocks, threads, lists_block, p)
        parallel(ceil_div(p.N, p.width) * p.splits, p.threads, panel_block, p)
        if p.way == SUMS and p.update != NULL:
            parallel(blocks, p.threads, update_block, p)


cdef void run_product(Product* p) noexcept nogil:
    cdef int64_t chunk = chunk_rows(p)
    p.first = 0
    while p.first < p.M:
        p.count = min(chunk, p.M - p.first)
        run_chunk(p)
        p.first += chunk


cdef Product begin_product(const fn_call* call, int threads) noexcept nogil:
    cdef Product p
    memset(&p, 0, sizeof(Product))
    p.dtype = 1 if call.dtype == FN_F64 else 0
    p.item = 8 if p.dtype else 4
    p.kernels = (<const tables*>table).selection[p.dtype]
    p.dense = (<const tables*>table).gemm[p.dtype]
    p.threads = threads
    return p


# ---- selected_matmul: c = a b + bias; size = M, N, K, strides of b (one of them 1) -------------------------------------
cdef fn_kernel SELECTED_MATMUL

cdef Product product_of(const fn_call* call, int threads) noexcept nogil:
    cdef Product p = begin_product(call, threads)
    p.M, p.N, p.K = call.size[0], call.size[1], call.size[2]
    p.x, p.b, p.bias, p.c = <char*>call.slot[0], <char*>call.slot[1], <char*>call.slot[2], <char*>call.slot[3]
    p.rsb, p.csb = call.size[3], call.size[4]
    p.count = chunk_rows(&p)
    lay_out(&p, <char*>call.scratch)
    return p

cdef int64_t selected_matmul_scratch(const fn_call* call) noexcept nogil:
    cdef Product p = product_of(call, call.threads)
    return p.end - <char*>call.scratch

cdef void selected_matmul_run(fn_call* call) noexcept nogil:
    """c = a b + bias, a in C order."""
    cdef Product p = product_of(call, threads_for(call))
    run_product(&p)


declare(&SELECTED_MATMUL, "selected_matmul", "a:in b:in bias:in c:out", selected_matmul_run, selected_matmul_scratch)
