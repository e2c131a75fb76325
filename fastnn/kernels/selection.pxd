"""Products whose left operand is mostly zeros, or binary: the work of a product, for this module's kernel and for the statistics of
Boltzmann machines."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

from fastnn.kernels.native cimport fn_call
from fastnn.kernels.update cimport fn_coefficients, fn_update_row

cdef extern from "fastnn.h" nogil:
    enum: FN_SUMS_DEPTH
    ctypedef struct fn_gemm_table:
        int lanes
        void (*pack)(int64_t rows, int64_t columns, const void* x, int64_t rsx, int64_t csx, void* y, int64_t rsy) noexcept nogil
    ctypedef struct fn_selection_table:
        int panel
        int (*words_along)(int64_t n, const void* x, uint16_t* word) noexcept nogil
        int (*words_down)(int64_t rows, int64_t n, const void* x, int64_t rsx, uint16_t* word, int64_t step) noexcept nogil
        void (*list_rows)(int64_t rows, int64_t n, const uint16_t* word, int64_t from_, int32_t* at, int32_t* starts,
                          int64_t step) noexcept nogil
        void (*gather)(int64_t count, const int32_t* at, const void* x, int64_t step, void* value) noexcept nogil
        void (*subset_sums)(int64_t rows, const void* b, int64_t rsb, void* sums) noexcept nogil
        void (*combine_sums)(int64_t rows, int64_t depth, const uint8_t* bits, int64_t from_, const void* sums, const void* x,
                             int64_t columns, const void* bias, void* c, int64_t rsc) noexcept nogil
        void (*combine)(int64_t rows, const int32_t* starts, int64_t step, const int32_t* at, const void* value,
                        const void* b, int64_t rsb, int roomy, int64_t columns, const void* bias, int load, void* c,
                        int64_t rsc) noexcept nogil
        void (*combine_sgd)(int64_t rows, const int32_t* starts, int64_t step, const int32_t* at, const void* value,
                            const void* b, int64_t rsb, int roomy, int64_t columns, int load, const void* c, int64_t rsc,
                            const fn_coefficients* k, int still, void* p) noexcept nogil
        void (*scaled)(int64_t columns, const void* x, double factor, void* y) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_gemm_table* gemm[2]
        const fn_selection_table* selection[2]

cdef enum:
    WORD = 16                   # elements whose bits make a word
    LIST_ROWS = 16              # rows of a block that makes lists
    ENTRIES = 1 << 18           # of the lists of a chunk of rows: 1 MB

cdef struct Found:
    int64_t ones
    int64_t others              # rows with elements besides 0 and 1

cdef struct Product:
    const fn_selection_table* kernels
    const fn_gemm_table* dense
    int dtype
    int threads
    int64_t item
    int64_t M
    int64_t N
    int64_t K
    const char* x               # A: rows of x, or, with `samples`, the columns of v on top of w
    const char* samples
    int64_t rows                # of v and of w; each filled up to whole words
    int64_t sample_rows
    const char* b
    int64_t rsb
    int64_t csb
    const char* bias
    char* c
    fn_update_row update        # of `parameter` by the product, which need not reach c then; or NULL
    fn_coefficients coefficients
    char* parameter
    bint still                  # a row of the product that is 0 leaves its row of the parameter as it is
    int64_t first               # the chunk of rows at work
    int64_t count
    int64_t words               # of a row
    int64_t room                # entries that a row's list may have
    int way
    bint binary
    bint in_place               # B is used where it lies
    int64_t depth               # of a stretch of K
    int64_t tables_depth        # rows of B in the tables at a time
    int64_t stretches
    int64_t width               # of a panel
    int64_t splits              # blocks of rows for one panel
    bint lists_by_panel         # no two panels need the list of a row
    bint parted                 # every stretch of K by a block of its own, into `parts`
    # Makes B where each worker is to have one of its own, `own_bytes` apart; what is to be done once is done with the `first`.
    void (*own_b)(void* context, char* b, bint first) noexcept nogil
    int64_t own_bytes
    int32_t* owned              # by worker: is it made?
    void* context               # of that
    char* parts
    uint16_t* words_of
    Found* found
    int32_t* starts
    int32_t* at
    char* values
    char* spare                 # a panel, tables of its sums and what they add up to, per worker
    int64_t spare_bytes
    char* end


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t padded(int64_t bytes) noexcept nogil:
    return (bytes + 127) // 64 * 64


cdef inline int64_t chunk_rows(const Product* p) noexcept nogil:
    return max(1, min(p.M, max(LIST_ROWS, ENTRIES // max(1, p.K))))


cdef Product begin_product(const fn_call* call, int threads) noexcept nogil
# Where the scratch lies, once the operands are known: from `at` to p.end.
cdef void lay_out(Product* p, char* at) noexcept nogil
cdef void run_product(Product* p) noexcept nogil
