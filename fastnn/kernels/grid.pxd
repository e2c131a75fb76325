"""Several operands over a common shape: dimensions that all walk in one stride become one, rows along the last are cut into blocks."""
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport fn_call

cdef enum:
    BLOCK = 16384               # elements of the result
    OPERANDS = 3
    COPY_DIMS = 8

cdef inline int64_t blocks_of(int64_t n) noexcept nogil:
    return (n + BLOCK - 1) // BLOCK


cdef struct Grid:
    fn_call* call
    int ndim
    int64_t[COPY_DIMS] shape
    int64_t[OPERANDS][COPY_DIMS] strides
    int64_t rows
    int64_t row             # length of a row
    int64_t pieces          # pieces of a row
    int64_t group           # rows of a block

cdef inline void collapse(Grid* g, int operands) noexcept nogil:
    """Drop dimensions of one element and merge neighbours that every operand walks in one stride."""
    cdef int d, k, out = 0
    cdef bint merge
    for d in range(g.ndim):
        if g.shape[d] == 1:
            continue
        merge = out > 0
        for k in range(operands):
            if merge and g.strides[k][out - 1] != g.strides[k][d] * g.shape[d]:
                merge = False
        if merge:
            out -= 1
            g.shape[out] *= g.shape[d]
        else:
            g.shape[out] = g.shape[d]
        for k in range(operands):
            g.strides[k][out] = g.strides[k][d]
        out += 1
    if out == 0:
        g.shape[0] = 1
        for k in range(operands):
            g.strides[k][0] = 0
        out = 1
    g.ndim = out

cdef inline void split(Grid* g) noexcept nogil:
    """Rows along the last dimension, cut into blocks."""
    cdef int d
    g.row = g.shape[g.ndim - 1]
    g.rows = 1
    for d in range(g.ndim - 1):
        g.rows *= g.shape[d]
    g.pieces = max(<int64_t>1, blocks_of(g.row))
    g.group = max(<int64_t>1, BLOCK // max(<int64_t>1, g.row))

cdef inline int64_t grid_blocks(const Grid* g) noexcept nogil:
    return (g.rows + g.group - 1) // g.group * g.pieces if g.row else 0

cdef inline void locate(const Grid* g, int64_t row, int operands, int64_t* offset, int64_t* index) noexcept nogil:
    """Where a row starts in every operand, and its index along the outer dimensions."""
    cdef int d, k
    for k in range(operands):
        offset[k] = 0
    for d in range(g.ndim - 2, -1, -1):
        index[d] = row % g.shape[d]
        row //= g.shape[d]
        for k in range(operands):
            offset[k] += index[d] * g.strides[k][d]

cdef inline void advance(const Grid* g, int operands, int64_t* offset, int64_t* index) noexcept nogil:
    cdef int d, k
    for d in range(g.ndim - 2, -1, -1):
        index[d] += 1
        for k in range(operands):
            offset[k] += g.strides[k][d]
        if index[d] < g.shape[d]:
            return
        index[d] = 0
        for k in range(operands):
            offset[k] -= g.shape[d] * g.strides[k][d]

cdef inline void read_grid(Grid* g, fn_call* call, int operands) noexcept nogil:
    cdef int d, k
    g.call = call
    g.ndim = <int>call.size[1]
    for d in range(g.ndim):
        g.shape[d] = call.size[2 + d]
        for k in range(operands):
            g.strides[k][d] = call.size[8 + 6 * k + d]
    collapse(g, operands)
    split(g)

ctypedef void (*row_kernel)(const Grid* g, int64_t n, int64_t* offset, int64_t* step, int64_t out) noexcept nogil

cdef inline void walk(Grid* g, int64_t block, int operands, row_kernel kernel) noexcept nogil:
    """Call `kernel` on every piece of row of a block."""
    cdef int64_t first = block // g.pieces * g.group, start = block % g.pieces * BLOCK
    cdef int64_t last = min(first + g.group, g.rows), row, n = min(<int64_t>BLOCK, g.row - start)
    cdef int64_t[OPERANDS] offset, step, here
    cdef int64_t[COPY_DIMS] index
    cdef int k
    locate(g, first, operands, offset, index)
    for k in range(operands):
        step[k] = g.strides[k][g.ndim - 1]
    for row in range(first, last):
        for k in range(operands):
            here[k] = offset[k] + start * step[k]
        kernel(g, n, here, step, row * g.row + start)
        advance(g, operands, offset, index)
