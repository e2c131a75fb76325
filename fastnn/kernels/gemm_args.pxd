"""What a matrix product is asked for: kernels/gemm.pxd does it."""
from libc.stdint cimport int64_t

ctypedef void (*gemm_finish)(void* context, int64_t row, int64_t column, int64_t n, void* c) noexcept nogil

# Work on the elements of C and of arrays that lie as C does, in memory order: `part` does `n` of them from `start` on.  While the strips
# of a block are made, a thread does the work on the block that it finished before, a piece behind each strip, and the strip's tiles
# fetch what that piece will read.
ctypedef void (*gemm_part)(void* context, int64_t start, int64_t n) noexcept nogil
ctypedef struct gemm_left:          # of a thread
    int64_t start
    int64_t end
ctypedef struct gemm_after:
    gemm_part part
    void* context
    int arrays
    const void* beside[5]
    gemm_left* left                 # per thread; what it still holds at the end is the caller's to do

# C[M][N] = A[M][K] B[K][N] (+ bias[N], activation, `finish` on each finished piece of a row).  Strides in elements.
# csC or rsC is 1; csC is 1 where there is a `finish`.  Zero the struct first.
ctypedef struct gemm_args:
    int64_t M
    int64_t N
    int64_t K
    const void* A
    int64_t rsA
    int64_t csA
    const void* B
    int64_t rsB
    int64_t csB
    void* C
    int64_t rsC
    int64_t csC
    bint accumulate             # C += A B; the chain of each element then starts from C
    bint packed                 # B is what gemm_pack_b wrote (rsB, csB unused)
    bint short_a                # all elements of A are bfloat16 numbers, such as 0 and 1: by parts it has one; of B likewise
    bint short_b
    const void* bias            # N values, or NULL
    int relu
    gemm_finish finish          # or NULL
    void* context
    const gemm_after* after     # or NULL


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline void transposed(const gemm_args* g, gemm_args* t) noexcept nogil:
    """C^T = B^T A^T: the same chains, so the same bits."""
    t[0] = g[0]
    t.M, t.N = g.N, g.M
    t.A, t.rsA, t.csA = g.B, g.csB, g.rsB
    t.B, t.rsB, t.csB = g.A, g.csA, g.rsA
    t.short_a, t.short_b = g.short_b, g.short_a
    t.rsC, t.csC = g.csC, g.rsC
