"""One pass of an update over parameter, gradient and state: in blocks, beside those of other updates, or behind a product.

kernels/update.pyx says what is computed.
"""
from libc.stdint cimport int64_t

from fastnn.kernels.gemm_args cimport gemm_left

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_coefficients:
        double sign, decay, shrink, rate, rate2, keep, mix, keep2, mix2, eps, correction, lower, upper
    ctypedef void (*fn_update_row)(int64_t n, const fn_coefficients* k, void* p, const void* g,
                                   void** state) noexcept nogil
    ctypedef struct fn_update_table:
        fn_update_row* row
        double (*sum_of_squares)(int64_t n, const void* x) noexcept nogil
        void (*scale)(int64_t n, double factor, void* x) noexcept nogil
        void (*clamp)(int64_t n, double lower, double upper, void* x) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_update_table* update[2]

cdef enum: PARAMETER, GRADIENT, HYPER_SLOT, FIRST_STATE      # slots of an update

# Elements per block: small enough to share out, large enough that handing over a block costs nothing against it.
cdef enum:
    BLOCK = 16384
    PIECES = 16                     # of what a thread has left to update behind a product
    THREADS = 256                   # as many as the team may have
    LINE = 64                       # elements that blocks are rounded to: whole lines of any type

# Updates of one kind, one record behind the other in a plan: the first does them all, the others have BESIDE as kernel and size[1] set.
cdef enum:
    MOST_BESIDE = 31
    UPDATE_BESIDE = 2           # size[]


cdef struct Pass:
    fn_update_row row
    const fn_coefficients* k
    fn_coefficients own             # where k has to outlive the call that made it
    int64_t n, block                # elements; of a block
    int item, arrays
    char* parameter
    char* gradient
    char* state[3]


cdef struct Together:               # updates of one launch: first halves of all of them, then second halves
    Pass[MOST_BESIDE + 1] passes
    int64_t[2][MOST_BESIDE + 1] blocks
    int count


cdef inline int64_t blocks_of(const Pass* t) noexcept nogil:
    return (t.n + t.block - 1) // t.block if t.n else 0


cdef inline void run_pass(const Pass* t, const fn_coefficients* k, int64_t start, int64_t n) noexcept nogil:
    cdef int64_t offset = start * t.item
    cdef void* state[3]
    cdef int j
    for j in range(t.arrays):
        state[j] = t.state[j] + offset
    t.row(n, k, t.parameter + offset, t.gradient + offset, state)


cdef inline void pass_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Pass* t = <const Pass*>context
    run_pass(t, t.k, block * t.block, min(t.block, t.n - block * t.block))


cdef inline void together_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Together* all = <Together*>context
    cdef int half, j
    for half in range(2):
        for j in range(all.count):
            if block < all.blocks[half][j]:
                pass_block(&all.passes[j], block + half * all.blocks[0][j], worker)
                return
            block -= all.blocks[half][j]


# ---- behind a product whose result is the gradient -----------------------------------------------------------------------
cdef inline void pass_part(void* context, int64_t start, int64_t n) noexcept nogil:
    run_pass(<const Pass*>context, &(<const Pass*>context).own, start, n)


cdef struct Rest:
    Pass* t
    gemm_left left[THREADS]


cdef inline void rest_block(void* context, int64_t block, int worker) noexcept nogil:
    """A piece of what a thread has left."""
    cdef Rest* r = <Rest*>context
    cdef gemm_left* left = &r.left[block // PIECES]
    cdef int64_t n = ((left.end - left.start + PIECES - 1) // PIECES + LINE - 1) // LINE * LINE
    cdef int64_t first = left.start + block % PIECES * n
    if first < left.end:
        pass_part(r.t, first, min(n, left.end - first))
