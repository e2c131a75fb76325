"""Forward: the layer of a call, its chunks of hidden units, and one step of one chunk."""
from libc.stdint cimport int64_t

from fastnn.kernels.gemm cimport gemm_args
from fastnn.kernels.recurrent_walk cimport Sequence, Walk, fn_part

# Slots: gates, c: what backward will want, NULL where there is none; unprojected: o tanh(c) before an LSTM's projection.
cdef enum:
    X, W_IH, W_HH, B_IH, B_HH, H0, C0, PROJECTION, SIZES, GATES, H, C, H_LAST, C_LAST, UNPROJECTED

cdef struct Layer:
    Sequence s
    bint packed
    int64_t units, chunks               # of a chunk; the last may have fewer
    int64_t span                        # steps whose input side is multiplied at once
    bint streams                        # one row: that of the group to come, beside the hidden side (then `span` is two groups)
    int64_t panel_bytes, sums_bytes, worker_bytes
    bint passing                        # a thread's panels do not stay in its second-level cache
    char* panels                        # per chunk: rows of W_ih, of W_hh, the bias of each side
    char* sums                          # per chunk, of `span` steps; with a span of one a worker's own scratch
    char* workers
    char* bias                          # of the input side: without packing; but for a GRU that of the hidden side is in it
    const void* projection              # packed, or NULL
    fn_part* parts                      # shares of the chunks in every step
    int64_t shares
    bint single                         # one step of few rows
    int threads

# A chunk: units from `first` on, their sums `columns` wide in rows of `stride`.
cdef struct Chunk:
    int64_t first, n, columns, stride
    char* panel
    char* sums

cdef int64_t share_begin(const Layer* l, int64_t share) noexcept nogil
cdef void pack_chunk(void* context, int64_t number, int worker) noexcept nogil
cdef void step_chunk(const Layer* l, const Walk* w, int64_t number, int64_t next, char* scratch) noexcept nogil
cdef void project_args(const Layer* l, gemm_args* g) noexcept nogil
cdef void project(const Layer* l, const Walk* w, char* scratch) noexcept nogil
