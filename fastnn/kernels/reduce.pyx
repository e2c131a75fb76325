"""Reductions over any set of dimensions, largest and smallest elements, running sums.

An array is seen as results (kept dimensions) by elements of one result (reduced dimensions).  Neighbouring results are
reduced together as columns where they lie side by side; else each result is a row.  What makes one result is cut into
parts of about 256 K elements by shape alone, so neither the other results nor the threads change its bits.
"""
from libc.stdint cimport int64_t

from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_reduction:
        const char* name
        double (*row)(int64_t n, const void* x, int64_t sx, double m) noexcept nogil
        void (*columns)(int64_t rows, int64_t n, const void* x, int64_t ld, const void* m, double* total,
                        int start) noexcept nogil
        void (*merge)(int64_t n, double* total, const double* other) noexcept nogil
        void (*rows)(int64_t rows, int64_t n, const void* x, int64_t ld, const void* m, double scale, void* y) noexcept nogil
        double start
    ctypedef struct fn_reduce_table:
        int reductions
        const fn_reduction* reduction
        void (*finish)(int64_t n, const double* total, double scale, void* y) noexcept nogil
        void (*extreme_row)(int smallest, int64_t n, const void* x, void* y, int64_t* index) noexcept nogil
        void (*extreme_columns)(int smallest, int64_t n, int64_t ld, int64_t width, const void* x, void* y,
                                int64_t* index) noexcept nogil
        void (*running)(int product, int reverse, int64_t n, int64_t ld, int64_t width, const void* x, void* y) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_reduce_table* reduce[2]

cdef enum:
    BLOCK = 16384           # elements of x worth a block
    PIECE = 16384           # elements of one call of a row
    PART = 262144           # elements of a part of one result
    COLUMNS = 512           # results reduced together

REDUCTIONS = {(<const tables*>table).reduce[0].reduction[i].name.decode(): i
              for i in range((<const tables*>table).reduce[0].reductions)}

cdef int reduction_code(str name) except -1:
    return REDUCTIONS[name]


cdef inline const fn_reduce_table* kernels(const fn_call* call) noexcept nogil:
    return (<const tables*>table).reduce[1 if call.dtype == FN_F64 else 0]

cdef inline int64_t item_of(const fn_call* call) noexcept nogil:
    return 8 if call.dtype == FN_F64 else 4

cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b

cdef inline int64_t abs64(int64_t a) noexcept nogil:
    return -a if a < 0 else a


cdef struct Dims:
    int ndim
    int64_t[MAX_DIMS] shape
    int64_t[MAX_DIMS] stride
    int64_t count

cdef void read_dims(Dims* g, int ndim, const int64_t* size, bint any_order) noexcept nogil:
    """Dimensions of one element dropped, neighbours walked in one stride merged; by falling stride where order is free."""
    cdef int d, e, out = 0
    cdef int64_t shape, stride
    g.count = 1
    for d in range(ndim):
        shape, stride = size[d], size[MAX_DIMS + d]
        g.count *= shape
        if shape == 1:
            continue
        e = out
        while any_order and e > 0 and abs64(g.stride[e - 1]) < abs64(stride):
            g.shape[e], g.stride[e] = g.shape[e - 1], g.stride[e - 1]
            e -= 1
        g.shape[e], g.stride[e] = shape, stride
        out += 1
    g.ndim = 0
    for d in range(out):
        if g.ndim > 0 and g.stride[g.ndim - 1] == g.stride[d] * g.shape[d]:
            g.shape[g.ndim - 1] *= g.shape[d]
            g.stride[g.ndim - 1] = g.stride[d]
        else:
            g.shape[g.ndim], g.stride[g.ndim] = g.shape[d], g.stride[d]
            g.ndim += 1
    if g.ndim == 0:
        g.ndim, g.shape[0], g.stride[0] = 1, 1, 1

cdef inline int64_t offset_of(const Dims* g, int64_t i, int skip) noexcept nogil:
    """Where the i-th index over all but the last `skip` dimensions starts."""
    cdef int64_t offset = 0
    cdef int d
    for d in range(g.ndim - 1 - skip, -1, -1):
        offset += i % g.shape[d] * g.stride[d]
        i //= g.shape[d]
    return offset


cdef struct Job:
    fn_call* call
    int code
    const char* x
    const char* m           # what to deviate from, one value per result, or NULL
    char* y
    double scale
    double* totals          # results x parts, when there are several parts
    Dims kept
    Dims reduced
    bint columns
    int64_t line            # last reduced dimension
    int64_t pieces          # pieces of it
    int64_t step            # its length
    int64_t all_pieces      # pieces that make one result
    int64_t part            # pieces of one part
    int64_t parts
    int64_t group           # results of a block
    int64_t groups          # blocks over the results: rows of results, then groups

cdef void plan(Job* j, fn_call* call) noexcept nogil:
    cdef int64_t width
    j.call = call
    read_dims(&j.kept, <int>call.size[1], &call.size[3], False)
    read_dims(&j.reduced, <int>call.size[2], &call.size[3 + 2 * MAX_DIMS], True)
    cdef Dims* r = &j.reduced
    cdef Dims* k = &j.kept
    j.line = r.shape[r.ndim - 1]
    j.columns = k.stride[k.ndim - 1] == 1 and k.shape[k.ndim - 1] > 1 and (r.stride[r.ndim - 1] != 1 or j.line == 1)
    width = k.shape[k.ndim - 1] if j.columns else 1
    j.step = max(<int64_t>1, min(<int64_t>PIECE, j.line))
    j.pieces = ceil_div(j.line, j.step)
    j.all_pieces = max(<int64_t>1, j.pieces * (r.count // max(<int64_t>1, j.line)))
    j.part = max(<int64_t>1, PART // (j.step * min(width, <int64_t>COLUMNS)))
    j.parts = ceil_div(j.all_pieces, j.part)
    if j.columns:
        j.group = min(width, <int64_t>COLUMNS)
        j.groups = ceil_div(width, j.group) * (k.count // width)
    else:
        j.group = 1 if j.parts > 1 else max(<int64_t>1, BLOCK // max(<int64_t>1, r.count))
        j.groups = ceil_div(k.count, j.group)

cdef inline int64_t line_at(Job* j, int64_t piece, int64_t* n) noexcept nogil:
    """Length of a piece of the last reduced dimension, and its distance in bytes from where its result starts."""
    cdef int64_t start = piece % j.pieces * j.step
    n[0] = min(j.step, j.line - start)
    return (offset_of(&j.reduced, piece // j.pieces, 1) + start * j.reduced.stride[j.reduced.ndim - 1]) * item_of(j.call)

cdef void reduce_row(Job* j, int64_t result, int64_t part) noexcept nogil:
    cdef const fn_reduction* f = &kernels(j.call).reduction[j.code]
    cdef int64_t item = item_of(j.call), n, piece, start
    cdef const char* x = j.x + offset_of(&j.kept, result, 0) * item
    cdef double m = 0, total = f.start, one
    if j.m != NULL:
        m = (<const double*>j.m)[result] if item == 8 else (<const float*>j.m)[result]
    if j.reduced.count:
        for piece in range(part * j.part, min((part + 1) * j.part, j.all_pieces)):
            start = line_at(j, piece, &n)
            one = f.row(n, x + start, j.reduced.stride[j.reduced.ndim - 1], m)
            f.merge(1, &total, &one)
    if j.parts > 1:
        j.totals[part * j.kept.count + result] = total
    else:
        kernels(j.call).finish(1, &total, j.scale, j.y + result * item)

cdef void reduce_rows(Job* j, int64_t first, int64_t last) noexcept nogil:
    """Results first .. last - 1, each one piece of neighbours: as many in one call as lie at even distances."""
    cdef const fn_reduction* f = &kernels(j.call).reduction[j.code]
    cdef int64_t item = item_of(j.call), width = j.kept.shape[j.kept.ndim - 1], count
    while first < last:
        count = min(last - first, width - first % width)
        f.rows(count, j.line, j.x + offset_of(&j.kept, first, 0) * item, j.kept.stride[j.kept.ndim - 1],
               j.m + first * item if j.m != NULL else NULL, j.scale, j.y + first * item)
        first += count

cdef void reduce_columns(Job* j, int64_t group, int64_t part) noexcept nogil:
    cdef const fn_reduction* f = &kernels(j.call).reduction[j.code]
    cdef int64_t item = item_of(j.call), n, piece, start, width = j.kept.shape[j.kept.ndim - 1], across = ceil_div(width, j.group)
    cdef int64_t column = group % across * j.group, outer = group // across
    cdef int64_t count = min(j.group, width - column), result = outer * width + column, k
    cdef const char* x = j.x + (offset_of(&j.kept, outer, 1) + column) * item
    cdef const char* m = j.m + result * item if j.m != NULL else NULL
    cdef double[COLUMNS] room
    cdef double* total = j.totals + part * j.kept.count + result if j.parts > 1 else room
    if j.reduced.count == 0:
        for k in range(count):
            total[k] = f.start
    else:
        for piece in range(part * j.part, min((part + 1) * j.part, j.all_pieces)):
            start = line_at(j, piece, &n)
            f.columns(n, count, x + start, j.reduced.stride[j.reduced.ndim - 1], m, total, piece == part * j.part)
    if j.parts == 1:
        kernels(j.call).finish(count, total, j.scale, j.y + result * item)

cdef void reduce_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Job* j = <Job*>context
    cdef int64_t part = block % j.parts, group = block // j.parts, result
    if j.columns:
        reduce_columns(j, group, part)
        return
    if j.all_pieces == 1 and j.reduced.count and j.reduced.stride[j.reduced.ndim - 1] == 1:
        reduce_rows(j, group * j.group, min((group + 1) * j.group, j.kept.count))
        return
    for result in range(group * j.group, min((group + 1) * j.group, j.kept.count)):
        reduce_row(j, result, part)

cdef void reduce_all(Job* j) noexcept nogil:
    cdef int64_t part, n = j.kept.count
    if n == 0:
        return
    parallel(j.groups * j.parts, threads_for(j.call), reduce_block, j)
    if j.parts > 1:
        for part in range(1, j.parts):
            kernels(j.call).reduction[j.code].merge(n, j.totals, j.totals + part * n)
        kernels(j.call).finish(n, j.totals, j.scale, j.y)

cdef int64_t reduce_scratch(const fn_call* call) noexcept nogil:
    cdef Job j
    plan(&j, <fn_call*>call)
    return 8 * j.kept.count * j.parts if j.parts > 1 else 0

cdef void reduce_run(fn_call* call) noexcept nogil:
    """y = scale f(x) over the reduced dimensions"""
    cdef Job j
    plan(&j, call)
    j.code, j.x, j.m, j.y = <int>call.size[0], <const char*>call.slot[0], NULL, <char*>call.slot[1]
    j.scale, j.totals = call.scalar[0], <double*>call.scratch
    reduce_all(&j)

cdef int DEVIATIONS = REDUCTIONS["sum_deviations"], SUM = REDUCTIONS["sum"]

cdef void variance_run(fn_call* call) noexcept nogil:
    """mean, then var from the squared distances to it"""
    cdef Job j
    plan(&j, call)
    j.code, j.x, j.m, j.y = SUM, <const char*>call.slot[0], NULL, <char*>call.slot[1]
    j.scale, j.totals = call.scalar[0], <double*>call.scratch
    reduce_all(&j)
    j.code, j.m, j.y, j.scale = DEVIATIONS, <const char*>call.slot[1], <char*>call.slot[2], call.scalar[1]
    reduce_all(&j)


# ---- x as (outer, n, inner), contiguous ---------------------------------------------------------------------------
cdef struct Cut:
    fn_call* call
    int64_t outer, n, inner
    int64_t span            # rows (inner == 1) or columns of a block
    int64_t across          # blocks over the columns

cdef int64_t cut(Cut* c, fn_call* call, int first) noexcept nogil:
    c.call = call
    c.outer, c.n, c.inner = call.size[first], call.size[first + 1], call.size[first + 2]
    cdef int64_t n = max(c.n, <int64_t>1)
    if c.inner == 1:
        c.span, c.across = max(BLOCK // n, <int64_t>1), 1
        return ceil_div(c.outer, c.span)
    c.span = max(BLOCK // n // 64 * 64, <int64_t>64)
    c.across = ceil_div(c.inner, c.span)
    return c.outer * c.across

cdef void extreme_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t item = item_of(call), column = block % c.across * c.span, r, row
    cdef const char* x = <const char*>call.slot[0]
    cdef char* y = <char*>call.slot[1]
    cdef int64_t* index = <int64_t*>call.slot[2]
    if c.inner == 1:
        for row in range(block * c.span, min((block + 1) * c.span, c.outer)):
            kernels(call).extreme_row(<int>call.size[0], c.n, x + row * c.n * item, y + row * item if y != NULL else NULL,
                                      index + row if index != NULL else NULL)
        return
    row = block // c.across
    r = row * c.inner + column
    kernels(call).extreme_columns(<int>call.size[0], c.n, c.inner, min(c.span, c.inner - column),
                                  x + (row * c.n * c.inner + column) * item, y + r * item if y != NULL else NULL,
                                  index + r if index != NULL else NULL)

cdef void extreme_run(fn_call* call) noexcept nogil:
    """The largest (smallest) of n elements and the first index where it is; n > 0."""
    cdef Cut c
    cdef int64_t blocks = cut(&c, call, 1)
    parallel(blocks, threads_for(call), extreme_block, &c)

cdef void running_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Cut* c = <Cut*>context
    cdef fn_call* call = c.call
    cdef int64_t item = item_of(call), column = block % c.across * c.span, row, at
    cdef int64_t first = block * c.span if c.inner == 1 else block // c.across
    cdef int64_t last = min(first + c.span, c.outer) if c.inner == 1 else first + 1
    for row in range(first, last):
        at = (row * c.n * c.inner + column) * item
        kernels(call).running(<int>call.size[0], <int>call.size[1], c.n, c.inner, min(c.span, c.inner - column),
                              <const char*>call.slot[0] + at, <char*>call.slot[1] + at)

cdef void running_run(fn_call* call) noexcept nogil:
    """Running sums or products along n."""
    cdef Cut c
    cdef int64_t blocks = cut(&c, call, 2)
    if c.n:
        parallel(blocks, threads_for(call), running_block, &c)


cdef fn_kernel REDUCE, VARIANCE, EXTREME, RUNNING
declare(&REDUCE, "reduce", "x:in y:out", reduce_run, reduce_scratch, True)
declare(&VARIANCE, "variance", "x:in mean:out var:out", variance_run, reduce_scratch, True)
declare(&EXTREME, "extreme", "x:in y:out index:out", extreme_run, NULL, True)
declare(&RUNNING, "running", "x:in y:out", running_run, NULL, True)
