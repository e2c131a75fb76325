"""Matrix products for this module's kernels and for other drivers (convolution, recurrent nets, RBM)."""
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport fn_call

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
    const void* bias            # N values, or NULL
    int relu
    gemm_finish finish          # or NULL
    void* context
    const gemm_after* after     # or NULL

# Bytes of scratch: enough for this product and for any smaller one (tails of a driver's blocks), packed or not.
cdef int64_t gemm_scratch(int dtype, const gemm_args* g, int threads) noexcept nogil
cdef void gemm(int dtype, const gemm_args* g, int threads, void* scratch) noexcept nogil
cdef void gemm_serial(int dtype, const gemm_args* g, void* scratch) noexcept nogil

# A record's product: its arguments as matmul has them, and how it is run; what is derived from its sizes is kept in a plan.
cdef void args_of(const fn_call* call, gemm_args* g) noexcept nogil
cdef void gemm_of_call(fn_call* call, const gemm_args* g) noexcept nogil
cdef int64_t matmul_scratch(const fn_call* call) noexcept nogil

# B copied once into panels, for a B that many products share.
cdef int64_t gemm_packed_bytes(int dtype, int64_t K, int64_t N) noexcept nogil
cdef void gemm_pack_b(int dtype, int64_t K, int64_t N, const void* B, int64_t rsB, int64_t csB, void* packed) noexcept nogil

# `batch` products, operands apart by bsA, bsB, bsC elements (0: shared).
cdef int64_t gemm_batched_scratch(int dtype, const gemm_args* g, int64_t batch, int threads) noexcept nogil
cdef void gemm_batched(int dtype, const gemm_args* g, int64_t batch, int64_t bsA, int64_t bsB, int64_t bsC, int threads,
                       void* scratch) noexcept nogil
