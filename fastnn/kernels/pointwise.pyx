"""Elementwise kernels: functions of one and two variables, selection, copies and conversions.

Work is cut into blocks of about 16 K elements of the result, runs of a row or groups of rows.
"""
from libc.stdint cimport int64_t, uint8_t

from fastnn.kernels.grid cimport BLOCK, COPY_DIMS, OPERANDS, Grid, advance, blocks_of, collapse, grid_blocks, locate, read_grid, split, walk
from fastnn.kernels.native cimport (FN_BOOL, FN_F32, FN_F64, FN_I32, FN_U8, declare, fn_call, fn_kernel, parallel, table,
                                    threads_for, threads_now)
from fastnn.kernels.stage cimport STREAM_BYTES, make_result, staged

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
        void (*stream)(int64_t bytes, const void* x, void* y, int last) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_pointwise_table* pointwise[2]


cdef enum: LONG_ROW = 1024     # elements, below which a row is not worth the way over a stage


cdef inline const fn_pointwise_table* kernels(const fn_call* call) noexcept nogil:
    return (<const tables*>table).pointwise[1 if call.dtype == FN_F64 else 0]

cdef inline int64_t bytes_of(int dtype) noexcept nogil:
    return 4 if dtype == FN_F32 or dtype == FN_I32 else 1 if dtype == FN_U8 or dtype == FN_BOOL else 8

cdef inline char* at(const void* p, int64_t i, int64_t item) noexcept nogil:
    return <char*>p + i * item


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
cdef void unary_piece(void* context, int64_t first, int64_t n, char* y) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    kernels(call).unary[call.size[0]].run(n, at(call.slot[0], first, bytes_of(call.dtype)), y, call.scalar)

cdef void unary_run(fn_call* call) noexcept nogil:
    """y = f(x)"""
    make_result(unary_piece, call, call.size[1], bytes_of(call.dtype), 1, call.slot[1], call.slot[0] == call.slot[1], threads_now(call))

cdef void unary_gradient_piece(void* context, int64_t first, int64_t n, char* dx) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t item = bytes_of(call.dtype)
    kernels(call).unary[call.size[0]].gradient(n, at(call.slot[0], first, item), at(call.slot[1], first, item), dx, call.scalar)

cdef void unary_gradient_run(fn_call* call) noexcept nogil:
    """dx = g f'(saved)"""
    cdef bint in_place = call.slot[2] == call.slot[0] or call.slot[2] == call.slot[1]
    make_result(unary_gradient_piece, call, call.size[1], bytes_of(call.dtype), 1, call.slot[2], in_place, threads_now(call))


# ---- several operands over a common shape: grid.pxd
cdef struct Row:
    const fn_call* call
    const int64_t* offset
    const int64_t* step

cdef void binary_piece(void* context, int64_t first, int64_t n, char* z) noexcept nogil:
    cdef Row* r = <Row*>context
    cdef const fn_call* call = r.call
    cdef int64_t item = bytes_of(call.dtype)
    kernels(call).binary[call.size[0]].run(n, at(call.slot[0], r.offset[0] + first * r.step[0], item), r.step[0],
                                           at(call.slot[1], r.offset[1] + first * r.step[1], item), r.step[1], z)

cdef void binary_row(const Grid* g, int64_t n, int64_t* offset, int64_t* step, int64_t out) noexcept nogil:
    cdef const fn_call* call = g.call
    cdef int64_t item = bytes_of(call.dtype)
    cdef char* z = at(call.slot[2], out, item)
    cdef Row row = Row(call, offset, step)
    cdef bint in_place = call.slot[2] == call.slot[0] or call.slot[2] == call.slot[1]
    if n >= LONG_ROW and g.rows * g.row * item >= STREAM_BYTES and not in_place:
        staged(binary_piece, &row, 0, n, item, 1, z)
    else:
        binary_piece(&row, 0, n, z)

cdef void binary_block(void* context, int64_t block, int worker) noexcept nogil:
    walk(<Grid*>context, block, 2, binary_row)

cdef void binary_run(fn_call* call) noexcept nogil:
    """z = f(x, y)"""
    cdef Grid g
    read_grid(&g, call, 2)
    parallel(grid_blocks(&g), threads_now(call), binary_block, &g)


cdef void compare_row(const Grid* g, int64_t n, int64_t* o, int64_t* s, int64_t out) noexcept nogil:
    cdef fn_call* call = g.call
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


cdef void where_row(const Grid* g, int64_t n, int64_t* o, int64_t* s, int64_t out) noexcept nogil:
    cdef fn_call* call = g.call
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


cdef void prelu_row(const Grid* g, int64_t n, int64_t* o, int64_t* s, int64_t out) noexcept nogil:
    cdef fn_call* call = g.call
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
    cdef bint large = sx == 1 and sy == 1 and n >= LONG_ROW and g.rows * g.row * item >= STREAM_BYTES
    cdef char* x
    cdef char* y
    for _row in range(first, min(first + g.group, g.rows)):
        x, y = at(call.slot[0], offset[0] + start * sx, item), at(call.slot[1], offset[1] + start * sy, item)
        if large:
            names.stream(n * item, x, y, True)
        else:
            names.copy(<int>item, n, x, sx, y, sy)
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
declare(&UNARY, "unary", "x:in y:out", unary_run, NULL, True)
declare(&UNARY_GRADIENT, "unary_gradient", "saved:in g:in dx:out", unary_gradient_run, NULL, True)
declare(&BINARY, "binary", "x:in y:in z:out", binary_run, NULL)
declare(&COMPARE, "compare", "x:in y:in z:out", compare_run, NULL, True)
declare(&WHERE, "where", "c:in x:in y:in z:out", where_run, NULL, True)
declare(&PRELU_GRADIENT, "prelu_gradient", "x:in w:in g:in dx:out dw:out", prelu_run, NULL, True)
declare(&ACCUMULATE, "accumulate", "x:in y:acc", accumulate_run, NULL)
declare(&FILL, "fill", "y:out", fill_run, NULL, True)
declare(&CONVERT, "convert", "x:in y:out", convert_run, NULL, True)
declare(&COPY_STRIDED, "copy_strided", "x:in y:out", copy_strided_run, NULL, True)
