"""Matrix products for this module's kernels and for other drivers (convolution, recurrent nets, RBM)."""
from libc.stdint cimport int64_t

from fastnn.kernels.gemm_args cimport gemm_after, gemm_args, gemm_finish, gemm_left, gemm_part  # no-cython-lint: for who cimports this
from fastnn.kernels.native cimport fn_call

# Bytes of scratch: enough for this product and for any smaller one (tails of a driver's blocks), packed or not.
cdef int64_t gemm_scratch(int dtype, const gemm_args* g, int threads) noexcept nogil
# Is it done by parts (gemm_parts.pxd), and in how many cycles of one thread, roughly?  Else 0.
cdef double gemm_cycles_by_parts(int dtype, const gemm_args* g) noexcept nogil
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
