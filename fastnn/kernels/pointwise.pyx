"""Elementwise kernels: functions of one and two variables, selection, copies and conversions.

Work is cut into blocks of about 16 K elements of the result, runs of a row or groups of rows.
"""
from libc.stdint cimport int64_t, uint8_t

from fastnn.kernels.native cimport (FN_BOOL, FN_F32, FN_F64, FN_I32, FN_U8, declare, fn_call, fn_kernel, parallel, table,
                                    threads_for)

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_unary:
        const char* name
        char saved
        void (*run)(int64_t n, const void* x, void* y, const double* scalar) noexcept nogil
        void (*gradient)(int64_t n, const void* saved, const void* g, void* dx, const double* scalar) noexcept nogil
    ctypedef struct fn_binary:
        const char* name
        void (*run)(int64_t n, const void* x, int64_t sx, const void* y, int64_t sy, void* z) noexcept nogil
    ctypedef struct fn_pointwise_table:
        int unaries
        int binaries
        int comparisons
        const fn_unary* unary
        const fn_binary* binary
        const fn_binary* comparison
        void (*where)(int64_t n, const uint8_t* c, int64_t sc, const void* x, int64_t sx, const void* y, int64_t sy,
                      void* z) noexcept nogil
        void (*prelu_gradient)(int64_t n, const void* x, int64_t sx, const void* w, int64_t sw, const void* g, int64_t sg,
                               void* dx, void* dw) noexcept nogil
        void (*accumulate)(int64_t n, double a, const void* x, void* y) noexcept nogil
        void (*fill)(int64_t n, double a, void* y) noexcept nogil
        void (*copy)(int itemsize, int64_t n, const void* x, int64_t sx, void* y, int64_t sy) noexcept nogil
        void (*transpose)(int itemsize, int64_t m, int64_t n, const void* x, int64_t ldx, void* y, int64_t ldy) noexcept nogil
        void (*convert)(int source, int target, int64_t n, const void* x, void* y) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_pointwise_table* pointwise[2]

cdef enum:
    BLOCK = 16384
    OPERANDS = 3
    COPY_DIMS = 8


cdef inline const fn_pointwise_table* kernels(const fn_call* call) noexcept nogil:
    return (<const tables*>table).pointwise[1 if call.dtype == FN_F64 else 0]

cdef inline int64_t bytes_of(int dtype) noexcept nogil:
    return 4 if dtype == FN_F32 or dtype == FN_I32 else 1 if dtype == FN_U8 or dtype == FN_BOOL else 8

cdef inline char* at(const void* p, int64_t i, int64_t item) noexcept nogil:
    return <char*>p + i * item

cdef inline int64_t blocks_of(int64_t n) noexcept nogil:
    return (n + BLOCK - 1) // BLOCK


# ---- names ------------------------------------------------------------------------------------------------------
cdef class Unary:
    def __init__(self, str name, int code, bint saves_output):
        self.name, self.code, self.saves_output = name, code, saves_output

    def __repr__(self):
        return f"Unary({self.name}: {self.code}, saves {'output' if self.saves_output else 'input'})"

cdef const fn_pointwise_table* names = (<const tables*>table).pointwise[0]

UNARIES = {names.unary[i].name.decode(): Unary(names.unary[i].name.decode(), i, names.unary[i].saved == c"y")
           for i in range(names.unaries)}
BINARIES = {names.binary[i].name.decode(): i for i in range(names.binaries)}
COMPARISONS = {names.comparison[i].name.decode(): i for i in range(names.comparisons)}

cdef int unary_code(str name) except -1:
    return (<Unary>UNARIES[name]).code

cdef int binary_code(str name) except -1:
    return BINARIES[name]

cdef int comparison_code(str name) except -1:
    return COMPARISONS[name]

cdef bint saves_output(int code) noexcept nogil:
    return names.unary[code].saved == c"y"


# ---- one variable ----------------------------------------------------------------------------------------------
cdef void unary_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = block * BLOCK, item = bytes_of(call.dtype)
    kernels(call).unary[call.size[0]].run(min(<int64_t>BLOCK, call.size[1] - first), at(call.slot[0], first, item),
                                          at(call.slot[1], first, item), call.scalar)

cdef void unary_run(fn_call* call) noexcept nogil:
    """y = f(x)"""
    parallel(blocks_of(call.size[1]), threads_for(call), unary_block, call)

cdef void unary_gradient_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = block * BLOCK, item = bytes_of(call.dtype)
    kernels(call).unary[call.size[0]].gradient(
        min(<int64_t>BLOCK, call.size[1] - first), at(call.slot[0], first, item), at(call.slot[1], first, item),
        at(call.slot[2], first, item), call.scalar)

cdef void unary_gradient_run(fn_call* call) noexcept nogil:
    """dx = g f'(saved)"""
    parallel(blocks_of(call.size[1]), threads_for(call), unary_gradient_block, call)


# ---- several operands over a common shape -----------------------------------------------------------------------
cdef struct Grid:
    fn_call* call
    int ndim
    int64_t[COPY_DIMS] shape
    int64_t[OPERANDS][COPY_DIMS] strides
    int64_t rows
    int64_t row             # length of a row
    int64_t pieces          # pieces of a row
    int64_t group           # rows of a block

cdef void collapse(Grid* g, int operands) noexcept nogil:
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

cdef void split(Grid* g) noexcept nogil:
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

cdef void read_grid(Grid* g, fn_call* call, int operands) noexcept nogil:
    cdef int d, k
    g.call = call
    g.ndim = <int>call.size[1]
    for d in range(g.ndim):
        g.shape[d] = call.size[2 + d]
        for k in range(operands):
            g.strides[k][d] = call.size[8 + 6 * k + d]
    collapse(g, operands)
    split(g)

ctypedef void (*row_kernel)(fn_call* call, int64_t n, int64_t* offset, int64_t* step, int64_t out) noexcept nogil

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
        kernel(g.call, n, here, step, row * g.row + start)
        advance(g, operands, offset, index)


cdef void binary_row(fn_call* call, int64_t n, int64_t* o, int64_t* s, int64_t out) noexcept nogil:
    cdef int64_t item = bytes_of(call.dtype)
    kernels(call).binary[call.size[0]].run(n, at(call.slot[0], o[0], item), s[0], at(call.slot[1], o[1], item), s[1],
                                           at(call.slot[2], out, item))

cdef void binary_block(void* context, int64_t block, int worker) noexcept nogil:
    walk(<Grid*>context, block, 2, binary_row)

cdef void binary_run(fn_call* call) noexcept nogil:
    """z = f(x, y)"""
    cdef Grid g
    read_grid(&g, call, 2)
    parallel(grid_blocks(&g), threads_for(call), binary_block, &g)


cdef void compare_row(fn_call* call, int64_t n, int64_t* o, int64_t* s, int64_t out) noexcept nogil:
    cdef int64_t item = bytes_of(call.dtype)
    kernels(call).comparison[call.size[0]].run(n, at(call.slot[0], o[0], item), s[0], at(call.slot[1], o[1], item), s[1],
                                               at(call.slot[2], out, 1))

cdef void compare_block(void* context, int64_t block, int worker) noexcept nogil:
    walk(<Grid*>context, block, 2, compare_row)

cdef void compare_run(fn_call* call) noexcept nogil:
    """z = x < y and the like, one byte each"""
    cdef Grid g
    read_grid(&g, call, 2)
    parallel(grid_blocks(&g), threads_for(call), compare_block, &g)


cdef void where_row(fn_call* call, int64_t n, int64_t* o, int64_t* s, int64_t out) noexcept nogil:
    cdef int64_t item = bytes_of(call.dtype)
    kernels(call).where(n, <const uint8_t*>call.slot[0] + o[0], s[0], at(call.slot[1], o[1], item), s[1],
                        at(call.slot[2], o[2], item), s[2], at(call.slot[3], out, item))

cdef void where_block(void* context, int64_t block, int worker) noexcept nogil:
    walk(<Grid*>context, block, 3, where_row)

cdef void where_run(fn_call* call) noexcept nogil:
    """z = x where c, else y"""
    cdef Grid g
    read_grid(&g, call, 3)
    parallel(grid_blocks(&g), threads_for(call), where_block, &g)


cdef void prelu_row(fn_call* call, int64_t n, int64_t* o, int64_t* s, int64_t out) noexcept nogil:
    cdef int64_t item = bytes_of(call.dtype)
    kernels(call).prelu_gradient(n, at(call.slot[0], o[0], item), s[0], at(call.slot[1], o[1], item), s[1],
                                 at(call.slot[2], o[2], item), s[2], at(call.slot[3], out, item), at(call.slot[4], out, item))

cdef void prelu_block(void* context, int64_t block, int worker) noexcept nogil:
    walk(<Grid*>context, block, 3, prelu_row)

cdef void prelu_run(fn_call* call) noexcept nogil:
    """dx and, per element of x, dw, of y = x where positive, else w x"""
    cdef Grid g
    read_grid(&g, call, 3)
    parallel(grid_blocks(&g), threads_for(call), prelu_block, &g)


# ---- contiguous runs ---------------------------------------------------------------------------------------------
cdef void accumulate_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = block * BLOCK, item = bytes_of(call.dtype)
    kernels(call).accumulate(min(<int64_t>BLOCK, call.size[0] - first), call.scalar[0], at(call.slot[0], first, item),
                             at(call.slot[1], first, item))

cdef void accumulate_run(fn_call* call) noexcept nogil:
    """y += a x"""
    parallel(blocks_of(call.size[0]), threads_for(call), accumulate_block, call)

cdef void fill_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = block * BLOCK
    kernels(call).fill(min(<int64_t>BLOCK, call.size[0] - first), call.scalar[0],
                       at(call.slot[0], first, bytes_of(call.dtype)))

cdef void fill_run(fn_call* call) noexcept nogil:
    """y = a"""
    parallel(blocks_of(call.size[0]), threads_for(call), fill_block, call)

cdef void convert_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = block * BLOCK
    cdef int source = <int>call.size[1], target = <int>call.size[2]
    kernels(call).convert(source, target, min(<int64_t>BLOCK, call.size[0] - first),
                          at(call.slot[0], first, bytes_of(source)), at(call.slot[1], first, bytes_of(target)))

cdef void convert_run(fn_call* call) noexcept nogil:
    """y = x in another dtype"""
    parallel(blocks_of(call.size[0]), threads_for(call), convert_block, call)


# ---- copies between any strides ----------------------------------------------------------------------------------
cdef enum: SOURCE = 0, TARGET = 1

cdef inline int64_t magnitude(int64_t a) noexcept nogil:
    return -a if a < 0 else a

cdef void order(Grid* g) noexcept nogil:
    """Dimensions by the stride of the target, so that its memory is written in order."""
    cdef int d, e, k
    for d in range(1, g.ndim):
        for e in range(d, 0, -1):
            if magnitude(g.strides[TARGET][e]) <= magnitude(g.strides[TARGET][e - 1]):
                break
            g.shape[e], g.shape[e - 1] = g.shape[e - 1], g.shape[e]
            for k in range(2):
                g.strides[k][e], g.strides[k][e - 1] = g.strides[k][e - 1], g.strides[k][e]

cdef void turn(Grid* g) noexcept nogil:
    """Make the dimension along which the source is contiguous the last but one: then the last two are a transposition."""
    cdef int d, e, k, last = g.ndim - 1
    if g.ndim < 2 or g.strides[TARGET][last] != 1 or g.strides[SOURCE][last] == 1:
        return
    for d in range(last):
        if g.strides[SOURCE][d] == 1 and g.shape[d] >= 4:
            for e in range(d, last - 1):
                g.shape[e], g.shape[e + 1] = g.shape[e + 1], g.shape[e]
                for k in range(2):
                    g.strides[k][e], g.strides[k][e + 1] = g.strides[k][e + 1], g.strides[k][e]
            g.pieces = 0        # says: transpose
            return

cdef void copy_row_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Grid* g = <Grid*>context
    cdef fn_call* call = g.call
    cdef int64_t item = call.size[0], first = block // g.pieces * g.group, start = block % g.pieces * BLOCK, _row
    cdef int64_t n = min(<int64_t>BLOCK, g.row - start), sx = g.strides[0][g.ndim - 1], sy = g.strides[1][g.ndim - 1]
    cdef int64_t[OPERANDS] offset
    cdef int64_t[COPY_DIMS] index
    locate(g, first, 2, offset, index)
    for _row in range(first, min(first + g.group, g.rows)):
        names.copy(<int>item, n, at(call.slot[0], offset[0] + start * sx, item), sx,
                   at(call.slot[1], offset[1] + start * sy, item), sy)
        advance(g, 2, offset, index)

cdef void transpose_block(void* context, int64_t block, int worker) noexcept nogil:
    """A band of one plane: g.row rows of the source, g.group of them per block, g.rows bands per plane."""
    cdef Grid* g = <Grid*>context
    cdef fn_call* call = g.call
    cdef int last = g.ndim - 1
    cdef int64_t item = call.size[0], band = block % g.rows * g.group
    cdef int64_t[OPERANDS] offset
    cdef int64_t[COPY_DIMS] index
    cdef Grid outer = g[0]
    outer.ndim = g.ndim - 1     # `locate` looks at all dimensions but the last
    locate(&outer, block // g.rows, 2, offset, index)
    names.transpose(<int>item, min(g.group, g.row - band), g.shape[last - 1],
                    at(call.slot[0], offset[0] + band * g.strides[SOURCE][last], item), g.strides[SOURCE][last],
                    at(call.slot[1], offset[1] + band, item), g.strides[TARGET][last - 1])

cdef void copy_strided_run(fn_call* call) noexcept nogil:
    """y = x, element by element, whatever their strides"""
    cdef Grid g
    cdef int d
    cdef int64_t planes = 1
    g.call = call
    g.ndim = <int>call.size[1]
    for d in range(g.ndim):
        g.shape[d] = call.size[2 + d]
        g.strides[SOURCE][d] = call.size[2 + COPY_DIMS + d]
        g.strides[TARGET][d] = call.size[2 + 2 * COPY_DIMS + d]
        if g.shape[d] == 0:
            return
    order(&g)
    collapse(&g, 2)
    split(&g)
    turn(&g)
    if g.pieces:
        parallel(grid_blocks(&g), threads_for(call), copy_row_block, &g)
        return
    for d in range(g.ndim - 2):
        planes *= g.shape[d]
    g.row = g.shape[g.ndim - 1]
    g.group = max(<int64_t>64, BLOCK // g.shape[g.ndim - 2] // 64 * 64)
    g.rows = (g.row + g.group - 1) // g.group
    parallel(planes * g.rows, threads_for(call), transpose_block, &g)


cdef fn_kernel UNARY, UNARY_GRADIENT, BINARY, COMPARE, WHERE, PRELU_GRADIENT, ACCUMULATE, FILL, CONVERT, COPY_STRIDED
declare(&UNARY, "unary", "x:in y:out", unary_run, NULL)
declare(&UNARY_GRADIENT, "unary_gradient", "saved:in g:in dx:out", unary_gradient_run, NULL)
declare(&BINARY, "binary", "x:in y:in z:out", binary_run, NULL)
declare(&COMPARE, "compare", "x:in y:in z:out", compare_run, NULL)
declare(&WHERE, "where", "c:in x:in y:in z:out", where_run, NULL)
declare(&PRELU_GRADIENT, "prelu_gradient", "x:in w:in g:in dx:out dw:out", prelu_run, NULL)
declare(&ACCUMULATE, "accumulate", "x:in y:acc", accumulate_run, NULL)
declare(&FILL, "fill", "y:out", fill_run, NULL)
declare(&CONVERT, "convert", "x:in y:out", convert_run, NULL)
declare(&COPY_STRIDED, "copy_strided", "x:in y:out", copy_strided_run, NULL)
