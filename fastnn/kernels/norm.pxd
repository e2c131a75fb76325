"""What the normalisations share: their micro-kernels, and access to arrays of a call's dtype."""
from libc.stdint cimport int64_t, uint32_t

from fastnn.kernels.native cimport FN_F64, fn_call, table

cdef extern from "fastnn.h" nogil:
    enum: FN_NORM_CHANNELS
    ctypedef struct fn_norm_dropout:
        uint32_t* mask
        const void* drawn
        double factor
        int64_t rows
        int64_t row
        int64_t column
        int relu
    ctypedef struct fn_norm_table:
        void (*moment)(int64_t n, const void* x, double* moment) noexcept nogil
        void (*affine)(int64_t n, const void* x, double mean, double scale, double shift, void* y) noexcept nogil
        void (*sums)(int64_t n, const void* g, const void* x, double mean, double* sums) noexcept nogil
        void (*affine_bwd)(int64_t n, const void* g, const void* x, double mean, double a, double b, double c,
                           void* dx) noexcept nogil
        void (*column_moment)(int64_t rows, int64_t C, int64_t n, const void* x, double* moment) noexcept nogil
        void (*column_merge)(int64_t C, double seen, double count, const double* more, double* moment) noexcept nogil
        void (*column_affine)(int64_t rows, int64_t C, int64_t n, const void* x, const void* mean, const void* scale,
                              const void* shift, int relu, int stream, void* y) noexcept nogil
        void (*column_dropout)(int64_t rows, int64_t C, int64_t n, const void* x, const void* mean, const void* scale,
                               const void* shift, const fn_norm_dropout* dropout, void* y) noexcept nogil
        void (*column_sums)(int64_t rows, int64_t C, int64_t n, const void* g, const void* gate, const fn_norm_dropout* dropout,
                            const void* x, const void* mean, double* sums) noexcept nogil
        void (*column_affine_bwd)(int64_t rows, int64_t C, int64_t n, const void* g, const void* gate, const fn_norm_dropout* dropout,
                                  const void* x, const void* mean, const void* a, const void* b, const void* c, int stream,
                                  void* dx) noexcept nogil
        void (*layer)(int rms, int64_t rows, int64_t n, double eps, const void* x, const void* w, const void* b, void* y,
                      void* mean, void* rstd) noexcept nogil
        void (*layer_bwd)(int rms, int64_t rows, int64_t n, const void* x, const void* w, const void* mean,
                          const void* rstd, const void* g, void* dx, void* dw, void* db) noexcept nogil
        void (*group)(int64_t channels, int64_t inner, const void* x, const void* w, const void* b, double mean,
                      double rstd, void* y) noexcept nogil
        void (*group_bwd)(int64_t channels, int64_t inner, const void* x, const void* w, const void* g, double mean,
                          double rstd, void* dx, double* sums) noexcept nogil
        void (*add)(int64_t n, const void* x, void* y) noexcept nogil
        void (*response)(int64_t C, int64_t inner, int64_t size, double alpha, double beta, double k, const void* x,
                         void* d, void* y) noexcept nogil
        void (*response_bwd)(int64_t C, int64_t inner, int64_t size, double alpha, double beta, const void* x,
                             const void* d, const void* g, void* dx) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_norm_table* norm[2]

cdef enum:
    BLOCK = 16384               # elements of a block of rows

cdef inline const fn_norm_table* kernels(const fn_call* call) noexcept nogil:
    return (<const tables*>table).norm[1 if call.dtype == FN_F64 else 0]

cdef inline char* at(const fn_call* call, const void* p, int64_t i) noexcept nogil:
    """The i-th element of an array of the call's dtype; NULL stays NULL."""
    return NULL if p == NULL else <char*>p + i * (8 if call.dtype == FN_F64 else 4)

cdef inline double get(const fn_call* call, const void* p, int64_t i, double absent) noexcept nogil:
    if p == NULL:
        return absent
    return (<const double*>p)[i] if call.dtype == FN_F64 else (<const float*>p)[i]

cdef inline void put(const fn_call* call, void* p, int64_t i, double v) noexcept nogil:
    if p == NULL:
        return
    if call.dtype == FN_F64:
        (<double*>p)[i] = v
    else:
        (<float*>p)[i] = <float>v

cdef inline int64_t rows_per_block(int64_t C) noexcept nogil:
    return max(4 * BLOCK // max(C, 1), 16)

cdef inline int64_t blocks_of(int64_t rows, int64_t span) noexcept nogil:
    return (rows + span - 1) // span
