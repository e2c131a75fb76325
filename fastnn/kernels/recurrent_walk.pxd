"""What the drivers of recurrent layers share: the shape of a call, the walk through time, products with packed weights."""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.native cimport FN_F64, fn_call, table

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_gemm_strip:
        int64_t M, n, K
        const void* a
        int64_t rsa, csa
        const void* b
        int64_t rsb, csb
        int padded
        void* c
        int64_t rsc
        int load
        const void* bias
    ctypedef struct fn_gemm_table:
        int lanes
        int64_t (*columns_for)(int64_t M) noexcept nogil
        void (*strip)(const fn_gemm_strip* s) noexcept nogil
        void (*pack)(int64_t rows, int64_t columns, const void* x, int64_t rsx, int64_t csx, void* y,
                     int64_t rsy) noexcept nogil
        void (*pad)(int64_t rows, int64_t columns, void* y, int64_t rsy) noexcept nogil
    ctypedef struct fn_cell_rows:
        int64_t M, n, width
        int relu
        void* sums
        const void* hidden
        int64_t rs_sums
        void* gates
        int64_t rs_gates
        const void* before
        int64_t rs_before
        void* state
        int64_t rs_state
        void* h
        int64_t rs_h
        const void* near
        int64_t near_lines
    ctypedef struct fn_cell_gradient:
        int64_t M, n, width
        int relu
        const void* gates
        int64_t rs_gates
        const void* before
        int64_t rs_before
        const void* state
        int64_t rs_state
        const void* more
        int64_t rs_more
        void* dh
        void* dc
        void* dgates
        void* dhidden
    ctypedef struct fn_cell_sums:
        int gates
        int64_t n, K, width
        const void* a
        const void* b
        int64_t rsb
        const void* bias
        int load
        void* sums
    ctypedef struct fn_cell_step:
        fn_cell_rows rows
        int64_t inputs, width
        const void* x
        const void* h
        int64_t rs_x, rs_h
        const void* panel
        const void* bias
        const void* hidden_bias
        const void* near
        int64_t near_bytes
    enum:
        FN_CELL_REGIONS
    ctypedef struct fn_cell_product:
        int64_t M, K
        const void* a
        const void* panel
        int64_t rsa
        void* c
        int64_t rsc
        int load
        const void* near[FN_CELL_REGIONS]
        int64_t near_lines[FN_CELL_REGIONS]
    enum:
        FN_CELL_AHEAD
    ctypedef struct fn_cell_stream:
        int vectors, load
        int64_t K, inputs
        const void* h
        const void* panel
        const void* bias
        void* sums
        int64_t first, end
        const void* x
        const void* x_panel
        int64_t rs_x
        const void* x_bias
        void* x_sums
    ctypedef struct fn_cell_table:
        int64_t step_rows
        void (*rnn)(const fn_cell_rows* s) noexcept nogil
        void (*lstm)(const fn_cell_rows* s) noexcept nogil
        void (*gru)(const fn_cell_rows* s) noexcept nogil
        void (*rnn_step)(const fn_cell_step* s) noexcept nogil
        void (*lstm_step)(const fn_cell_step* s) noexcept nogil
        void (*gru_step)(const fn_cell_step* s) noexcept nogil
        void (*rnn_gradient)(const fn_cell_gradient* s) noexcept nogil
        void (*lstm_gradient)(const fn_cell_gradient* s) noexcept nogil
        void (*gru_gradient)(const fn_cell_gradient* s) noexcept nogil
        void (*product)(const fn_cell_product* s) noexcept nogil
        void (*sums)(const fn_cell_sums* s) noexcept nogil
        int (*streams)(int64_t vectors) noexcept nogil
        void (*stream)(const fn_cell_stream* s) noexcept nogil
        void (*add)(int64_t n, const void* x, void* y) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_cell_table* cell[2]
        const fn_gemm_table* gemm[2]

cdef extern from "stages.h" nogil:
    ctypedef struct fn_part:
        pass
    void fn_parts_begin(fn_part* parts, int count)
    bint fn_part_claim(fn_part* part, int64_t stage, int64_t count)
    void fn_part_done(fn_part* part, int64_t stage)
    bint fn_part_ready(fn_part* part, int64_t stage)
    void fn_part_wait(fn_part* part, int64_t stage)

cdef enum:
    SMALL_BLOCK = 16
    LARGE_BLOCK = 32
    LARGE_WEIGHT = 512 * 1024   # bytes: then a block of more rows reads it less often
    HUGE_BLOCK = 128
    HUGE_WEIGHT = 1024 * 1024   # beyond the second-level cache, or most of it
    DEEP = 512                  # rows of a panel that a strip goes through before the next tile comes to them
    CLAIM_STEPS = 8             # after so many steps, in which a late thread comes in, shares are claimed for so many at a time
    MOST_SHARES = 63            # bits of a word
    PART_VECTORS = 1500         # multiply-adds of a vector, or reads, that are worth a thread's part of a step

cdef enum Kind:
    RNN_TANH, RNN_RELU, LSTM, GRU

# size[]: what the calls share; W are strides of the hidden weight, I of the input weight, P of the projection
cdef enum:
    KIND, STEPS, BATCH, HIDDEN, OUT_WIDTH, REVERSE, H_STRIDE, W_ROW, W_COLUMN, P_ROW, P_COLUMN, DH_STRIDE, INPUTS, I_ROW, I_COLUMN

cdef struct Sequence:
    const fn_cell_table* cell
    const fn_gemm_table* gemm
    fn_call* call
    int dtype, kind, gates                      # gates per unit
    int64_t element, T, B, I, H, P, lanes       # P: width of h
    bint reverse
    int64_t h_stride
    const int64_t* sizes                        # rows of each step, NULL: B
    int64_t rows, blocks                        # rows of a block

# A block of the batch on its way through time.
cdef struct Walk:
    int64_t step, t                     # steps taken; the time it stands at
    int64_t start, most                 # the block's first row in the batch, and its rows
    int64_t base, before                # the first row of this step and of the one before, of the whole batch
    int64_t active, carried             # the block's rows of this step; those that have a state from the step before


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t aligned(int64_t bytes) noexcept nogil:
    return (bytes + 63) // 64 * 64


cdef inline int64_t clamp(int64_t value, int64_t high) noexcept nogil:
    return 0 if value < 0 else high if value > high else value


cdef inline int64_t rows_at(const Sequence* s, int64_t t) noexcept nogil:
    return s.B if s.sizes == NULL else s.sizes[t]


cdef inline int64_t shares_for(int threads, int64_t vectors, int64_t pieces) noexcept nogil:
    """Among how many threads to share a step of `vectors` multiply-adds that can be cut into so many pieces."""
    return max(1, min(vectors // PART_VECTORS, min(min(threads, pieces), MOST_SHARES)))


cdef inline int64_t claim(fn_part* part, int64_t step, int64_t stages, int64_t held) noexcept nogil:
    """Does this thread do the part in this step, of `stages`, given what it `held` in the one before?"""
    if step < CLAIM_STEPS:
        return fn_part_claim(part, step * stages, stages)
    if step % CLAIM_STEPS == 0:
        return fn_part_claim(part, step * stages, CLAIM_STEPS * stages)
    return held


cdef inline void wait_for_all(fn_part* parts, int64_t count, int64_t stage) noexcept nogil:
    cdef int64_t i
    for i in range(count):
        fn_part_wait(&parts[i], stage)


cdef inline void describe(Sequence* s, fn_call* call, int sizes_slot) noexcept nogil:
    cdef int which = 1 if call.dtype == FN_F64 else 0
    cdef int64_t weight
    s.call = call
    s.dtype = call.dtype
    s.cell = (<const tables*>table).cell[which]
    s.gemm = (<const tables*>table).gemm[which]
    s.lanes = s.gemm.lanes
    s.element = 8 if which else 4
    s.kind, s.T, s.B, s.H = call.size[KIND], call.size[STEPS], call.size[BATCH], call.size[HIDDEN]
    s.P, s.reverse, s.h_stride, s.I = call.size[OUT_WIDTH], call.size[REVERSE], call.size[H_STRIDE], call.size[INPUTS]
    s.gates = 4 if s.kind == LSTM else 3 if s.kind == GRU else 1
    s.sizes = <const int64_t*>call.slot[sizes_slot]
    weight = s.gates * s.H * s.P * s.element
    s.rows = SMALL_BLOCK if weight <= LARGE_WEIGHT else LARGE_BLOCK if weight <= HUGE_WEIGHT or s.P < s.H else HUGE_BLOCK
    s.blocks = max(1, s.B // s.rows)
    s.rows = ceil_div(s.B, s.blocks)
    s.blocks = ceil_div(s.B, s.rows) if s.rows else 0


cdef inline void begin_walk(const Sequence* s, Walk* w, int64_t block) noexcept nogil:
    cdef int64_t t
    w.step = -1
    w.start = block * s.rows
    w.most = clamp(s.B - w.start, s.rows)
    w.base = w.before = 0
    if s.reverse:
        for t in range(s.T):
            w.base += rows_at(s, t)


cdef inline bint next_step(const Sequence* s, Walk* w) noexcept nogil:
    if w.step >= 0:
        w.before = w.base
        if not s.reverse:
            w.base += rows_at(s, w.t)
    w.step += 1
    if w.step >= s.T:
        return False
    w.t = s.T - 1 - w.step if s.reverse else w.step
    if s.reverse:
        w.base -= rows_at(s, w.t)
    w.active = clamp(rows_at(s, w.t) - w.start, w.most)
    w.carried = 0
    if w.step:
        w.carried = clamp(rows_at(s, w.t + 1 if s.reverse else w.t - 1) - w.start, w.active)
    return True


# c[M][N] (+)= a[M][K] b[K][N] (+ bias) for a strip of columns; b's rows are contiguous, `padded`: to whole vectors.
cdef inline void strip(const Sequence* s, int64_t M, int64_t N, int64_t K, const void* a, int64_t rsa, const void* b, int64_t rsb,
                       bint padded, void* c, int64_t rsc, bint load, const void* bias) noexcept nogil:
    cdef fn_gemm_strip g
    cdef int64_t i, k
    if M <= 0:
        return
    memset(&g, 0, sizeof(g))
    g.M, g.n = M, N
    g.rsa, g.csa, g.rsb, g.csb, g.padded = rsa, 1, rsb, 1, padded
    g.c, g.rsc = c, rsc
    for i in range(max(1, ceil_div(K, DEEP))):
        k = i * DEEP
        g.K = min(K - k, DEEP)
        g.a = <const char*>a + k * s.element
        g.b = <const char*>b + k * rsb * s.element
        g.load = load or k > 0
        g.bias = bias if k + DEEP >= K else NULL
        s.gemm.strip(&g)
