"""The C border as Cython sees it: kernel calls, their declarations, the table of micro-kernels, the threads."""
from libc.stdint cimport int64_t, uint8_t

cdef extern from "fastnn.h" nogil:
    enum: FN_F32, FN_F64, FN_I64, FN_I32, FN_U8, FN_BOOL
    enum: FN_IN, FN_OUT, FN_ACC, FN_STATE
    enum: FN_OK, FN_INDEX_OUT_OF_RANGE, FN_OUTSIDE_UNIT_INTERVAL
    enum: FN_SLOTS, FN_SIZES, FN_SCALARS, FN_MEMO

    ctypedef struct fn_call
    ctypedef void (*fn_driver)(fn_call* call) noexcept nogil
    ctypedef int64_t (*fn_scratch)(const fn_call* call) noexcept nogil
    ctypedef void (*fn_block)(void* context, int64_t block, int worker) noexcept nogil
    ctypedef struct fn_kernel:
        const char* name
        int slots
        const char* slot_name[16]
        uint8_t role[16]
        fn_driver run
        fn_scratch scratch
        bint keeps_denormals
    ctypedef struct fn_call:
        const fn_kernel* kernel
        int dtype
        int threads
        int status
        int64_t fault
        double flops
        double bytes
        void* scratch
        void* memo
        void* slot[16]
        int64_t size[32]
        double scalar[8]

    void fn_parallel(int64_t blocks, int threads, fn_block body, void* context)

    # The tables themselves stay opaque here: each driver module declares the family it calls.
    ctypedef struct fn_table:
        const char* isa
        int vector_bytes

# The table picked at import; FASTNN_ISA forces a lower one.
cdef const fn_table* table

cdef void parallel(int64_t blocks, int threads, fn_block body, void* context) noexcept nogil

# Do helpers wait for work without sleeping?
cdef bint team_awake() noexcept nogil

# What set_num_threads last said.
cdef int current_threads() noexcept nogil

# Declare a kernel: `slots` is "name:role name:role ...", role one of in, out, acc, state.  One that keeps denormal numbers runs in the
# caller's float mode; for all others they are 0.
cdef int declare(fn_kernel* kernel, str name, str slots, fn_driver run, fn_scratch scratch, bint keeps_denormals=*) except -1

# Run records one after the other, until one fails: returns its number, or -1.
cdef int run_calls(fn_call* calls, int count) noexcept nogil

# A declared kernel by its name: ops import the driver module (which declares it), then look it up once.
cdef const fn_kernel* kernel_named(str name) except NULL

cdef inline int threads_for(const fn_call* call) noexcept nogil:
    """Threads worth waking: below about 20 us of one core (2 MFLOP or 400 kB moved) the caller does it alone."""
    return call.threads if call.flops > 1.0e6 or call.bytes > 4.0e5 else 1

cdef inline int threads_now(const fn_call* call) noexcept nogil:
    """As threads_for, but a team that is awake costs next to nothing: then a few us of one core are worth sharing.

    For drivers whose scratch does not depend on the number of threads: two calls of this may differ.
    """
    return call.threads if call.threads > 1 and (call.flops > 1.5e5 or call.bytes > 1.0e5) and (
        call.flops > 1.0e6 or call.bytes > 4.0e5 or team_awake()) else 1
