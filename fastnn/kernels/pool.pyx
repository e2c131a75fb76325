"""Pooling: maxima and averages over windows, forward and backward, on channels-last memory.

Along an axis, target pixel j sees the source pixels low, low + d, ... < high; for fixed windows low moves by the stride,
for adaptive ones the windows tile the axis as evenly as whole pixels allow.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.native cimport declare, fn_call, fn_kernel, parallel, table, threads_for

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_pool_run:
        int64_t count
        int64_t C
        int64_t rows
        int64_t columns
        const void** x
        int64_t xstep
        int64_t xcolumn
        void* y
        void* index
        const int64_t* at
        int64_t atstep
        int64_t atcolumn
        double row_divisor
        const double* divisor
        int stream
        int last
        int64_t ahead
    ctypedef struct fn_pool_back:
        int64_t count
        int64_t C
        const void* dy
        const void* index
        const void* gate
        int64_t at
        int64_t atstep
        void* dx
        int64_t xstep
        double row_divisor
        const double* divisor
    ctypedef struct fn_pool_tile:
        int64_t count
        int64_t C
        int64_t columns
        const void* dy
        const void* index
        const void* gate
        int64_t at
        void* dx
    ctypedef struct fn_pool_table:
        void (*maximum)(const fn_pool_run* s) noexcept nogil
        void (*average)(const fn_pool_run* s) noexcept nogil
        void (*maximum_back)(const fn_pool_back* s) noexcept nogil
        void (*average_back)(const fn_pool_back* s) noexcept nogil
        void (*maximum_tile)(const fn_pool_tile* s) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_pool_table* pool[2]

# Positions in fn_call.size; ops/pooling.pyx fills them.
cdef enum:
    N_ = 0
    C_ = 1
    IN_ = 2
    OUT_ = 5
    KERNEL_ = 8
    STRIDE_ = 11
    PAD_ = 14
    DILATION_ = 17
    ADAPTIVE_ = 20
    COUNT_PADDING_ = 21         # averages: the padding counts
    DIVISOR_ = 22               # averages: this divisor, or 0
    BLOCK_BYTES = 65536         # of a block's rows and of what they are made from
    STREAM_BYTES = 16777216     # results from this size on go past the caches: no reader would find them there
    SHORT_LEAD = 1024           # bytes fetched ahead within a row
    LEAD_BYTES = 262144         # of source rows that wait in a second-level cache
    LINE = 64                   # bytes
    MANY = 64                   # blocks from which on they are made larger: neighbours read the rows between them twice

cdef struct Axis:
    int64_t source
    int64_t target
    int64_t kernel
    int64_t stride
    int64_t pad
    int64_t dilation
    bint adaptive

cdef struct Pool:
    Axis[3] axis
    const fn_pool_table* kernels
    int64_t element
    int64_t N
    int64_t C
    bint maximum
    bint count_padding
    bint stream                 # the results go past the caches
    int64_t ahead               # bytes behind what is read that are fetched meanwhile
    int64_t divisor
    int64_t rows                # of a block
    int64_t all_rows
    int64_t most                # window rows, at most
    const char* x               # or dy
    char* y                     # or dx
    char* index
    const char* gate
    int64_t low                 # target columns whose windows are whole: low <= j < high
    int64_t high
    double* divisors            # per target column
    char* workers
    int64_t worker_bytes


cdef inline void window(const Axis* a, int64_t j, int64_t* low, int64_t* high) noexcept nogil:
    """Source pixels of window j, clipped to the source."""
    if a.adaptive:
        low[0] = j * a.source // a.target
        high[0] = ((j + 1) * a.source + a.target - 1) // a.target
        return
    low[0] = j * a.stride - a.pad
    high[0] = min(low[0] + (a.kernel - 1) * a.dilation + 1, a.source)
    if low[0] < 0:
        low[0] += (-low[0] + a.dilation - 1) // a.dilation * a.dilation


cdef inline int64_t pixels(const Axis* a, int64_t low, int64_t high) noexcept nogil:
    return 0 if high <= low else (high - low + a.dilation - 1) // a.dilation


cdef inline int64_t counted(const Pool* p, const Axis* a, int64_t j) noexcept nogil:
    """What window j adds to the divisor along one axis."""
    cdef int64_t low, high
    if p.count_padding and not a.adaptive:
        low = j * a.stride - a.pad
        return min(low + a.kernel, a.source + a.pad) - low
    window(a, j, &low, &high)
    return max(1, pixels(a, low, high))


cdef inline double row_divisor(const Pool* p, int64_t j0, int64_t j1) noexcept nogil:
    return <double>p.divisor if p.divisor else <double>(counted(p, &p.axis[0], j0) * counted(p, &p.axis[1], j1))


cdef void set_up(const fn_call* call, Pool* p, bint maximum) noexcept nogil:
    cdef int i
    cdef Axis* a
    memset(p, 0, sizeof(Pool))
    p.kernels = (<const tables*>table).pool[call.dtype]
    p.element = 8 if call.dtype == 1 else 4
    p.N, p.C = call.size[N_], call.size[C_]
    p.maximum = maximum
    p.count_padding, p.divisor = call.size[COUNT_PADDING_], call.size[DIVISOR_]
    for i in range(3):
        a = &p.axis[i]
        a.source, a.target, a.kernel = call.size[IN_ + i], call.size[OUT_ + i], call.size[KERNEL_ + i]
        a.stride, a.pad, a.dilation = call.size[STRIDE_ + i], call.size[PAD_ + i], call.size[DILATION_ + i]
        a.adaptive = call.size[ADAPTIVE_]
        if a.adaptive and a.target and a.source % a.target == 0:        # windows of equal size
            a.adaptive, a.kernel, a.stride = False, a.source // a.target, a.source // a.target
    a = &p.axis[2]
    p.most = 1
    for i in range(2):
        p.most *= (p.axis[i].source if p.axis[i].adaptive else p.axis[i].kernel) + 1
    if a.adaptive:
        return
    p.low = min(a.target, (a.pad + a.stride - 1) // a.stride)
    p.high = (a.source - 1 + a.pad - (a.kernel - 1) * a.dilation)
    p.high = max(p.low, min(a.target, p.high // a.stride + 1 if p.high >= 0 else 0))


cdef int64_t divisors_bytes(const Pool* p) noexcept nogil:
    return (p.axis[2].target * 8 + 63) // 64 * 64


cdef void lay_out(Pool* p, char* scratch) noexcept nogil:
    """Divisors of the columns, then each worker's row pointers and positions."""
    cdef int64_t j
    p.divisors = <double*>scratch
    p.workers = scratch + divisors_bytes(p)
    p.worker_bytes = (2 * p.most * 8 + 63) // 64 * 64
    for j in range(p.axis[2].target):
        p.divisors[j] = 1.0 if p.divisor else <double>counted(p, &p.axis[2], j)


cdef void cut(Pool* p, int64_t rows) noexcept nogil:
    """Blocks of rows: a row has its share of both maps."""
    cdef int64_t source = p.axis[0].source * p.axis[1].source * p.axis[2].source
    cdef int64_t target = p.axis[0].target * p.axis[1].target * p.axis[2].target
    p.all_rows = rows
    p.rows = max(1, BLOCK_BYTES * rows // max(1, p.N * (source + target) * p.C * p.element))
    p.rows = max(p.rows, min(4 * p.rows, rows // MANY))


# ---- forward ---------------------------------------------------------------------------------------------------------

cdef void some_columns(const Pool* p, fn_pool_run* s, const void** x, const int64_t* at, int64_t rows, int64_t line, int64_t j,
                       int64_t count, const void** shifted, int64_t* shifted_at) noexcept nogil:
    """Targets j .. j + count of one row; x and at are the starts of the source rows."""
    cdef const Axis* a = &p.axis[2]
    cdef int64_t low, high, i
    window(a, j, &low, &high)
    s.columns = pixels(a, low, high)
    s.rows = rows if s.columns else 0
    for i in range(s.rows):
        shifted[i] = <const char*>x[i] + low * p.C * p.element
        shifted_at[i] = at[i] + low
    s.x, s.at, s.count = shifted, shifted_at, count
    s.y = p.y + (line + j) * p.C * p.element
    s.index = p.index + (line + j) * p.C * p.element if p.index != NULL else NULL
    s.divisor = p.divisors + j
    s.stream = p.stream and count > 1
    if p.maximum:
        p.kernels.maximum(s)
    else:
        p.kernels.average(s)


cdef void forward_body(void* context, int64_t block, int worker) noexcept nogil:
    cdef const Pool* p = <const Pool*>context
    cdef const Axis* a = &p.axis[0]
    cdef int64_t row, n, j0, j1, j, l0, h0, l1, h1, s0, s1, rows
    cdef const void** x = <const void**>(p.workers + 2 * worker * p.worker_bytes)
    cdef int64_t* at = <int64_t*>(x + p.most)
    cdef const void** shifted = <const void**>(p.workers + (2 * worker + 1) * p.worker_bytes)
    cdef int64_t* shifted_at = <int64_t*>(shifted + p.most)
    cdef fn_pool_run s
    cdef int64_t end = min(p.all_rows, (block + 1) * p.rows)
    s.C, s.xstep, s.xcolumn = p.C, a[2].stride * p.C, a[2].dilation * p.C
    s.atstep, s.atcolumn, s.ahead = a[2].stride, a[2].dilation, p.ahead
    for row in range(block * p.rows, end):
        s.last = p.stream and row + 1 == end
        j1, n = row % a[1].target, row // a[1].target
        j0, n = n % a[0].target, n // a[0].target
        window(&a[0], j0, &l0, &h0)
        window(&a[1], j1, &l1, &h1)
        rows, s0 = 0, l0
        while s0 < h0:
            s1 = l1
            while s1 < h1:
                at[rows] = (s0 * a[1].source + s1) * a[2].source
                x[rows] = p.x + (n * a[0].source * a[1].source * a[2].source + at[rows]) * p.C * p.element
                rows += 1
                s1 += a[1].dilation
            s0 += a[0].dilation
        if not p.maximum:
            s.row_divisor = row_divisor(p, j0, j1)
        for j in range(p.low):
            some_columns(p, &s, x, at, rows, row * a[2].target, j, 1, shifted, shifted_at)
        if p.high > p.low:
            some_columns(p, &s, x, at, rows, row * a[2].target, p.low, p.high - p.low, shifted, shifted_at)
        for j in range(p.high, a[2].target):
            some_columns(p, &s, x, at, rows, row * a[2].target, j, 1, shifted, shifted_at)


cdef bint streams(const Pool* p) noexcept nogil:
    cdef int64_t pixel = p.C * p.element
    return (pixel % LINE == 0 and <size_t>p.y % LINE == 0
            and p.N * p.axis[0].target * p.axis[1].target * p.axis[2].target * pixel >= STREAM_BYTES)


cdef int64_t fetches(const Pool* p) noexcept nogil:
    """How far ahead of the reading a large map is fetched.

    Where windows share rows with those below, few rows of a window come from memory, and the core's own prefetching does not
    keep up: what the next row of windows adds is fetched while this one is made.  Otherwise it needs little help.
    """
    cdef const Axis* a = &p.axis[1]
    cdef int64_t row = p.axis[2].source * p.C * p.element
    if p.N * p.axis[0].source * a.source * row < STREAM_BYTES:
        return 0
    if not a.adaptive and (a.kernel - 1) * a.dilation >= a.stride and a.stride * row <= LEAD_BYTES:
        return a.stride * row
    return SHORT_LEAD


cdef void forward(fn_call* call, bint maximum) noexcept nogil:
    cdef Pool p
    set_up(call, &p, maximum)
    p.x, p.y = <const char*>call.slot[0], <char*>call.slot[1]
    p.index = <char*>call.slot[2] if maximum else NULL
    p.stream = streams(&p)
    p.ahead = fetches(&p)
    lay_out(&p, <char*>call.scratch)
    cut(&p, p.N * p.axis[0].target * p.axis[1].target)
    parallel((p.all_rows + p.rows - 1) // p.rows, threads_for(call), forward_body, &p)


cdef void max_forward(fn_call* call) noexcept nogil:
    forward(call, True)


cdef void average_forward(fn_call* call) noexcept nogil:
    forward(call, False)


# ---- backward --------------------------------------------------------------------------------------------------------

cdef void one_line(const Pool* p, fn_pool_back* s, char* dx, int64_t at, int64_t line) noexcept nogil:
    """Add what one target row gives to one source row of its windows; `at` is the source row's first position."""
    cdef const Axis* a = &p.axis[2]
    cdef int64_t t, j, low, high, i, first, last
    if a.adaptive:
        for j in range(a.target):
            window(a, j, &low, &high)
            for i in range(low, high):
                add_run(p, s, dx, at, line, j, 1, i)
        return
    for t in range(a.kernel):
        first = a.pad - t * a.dilation          # stride * j >= first
        last = a.source - 1 + first             # stride * j <= last
        j = 0 if first <= 0 else (first + a.stride - 1) // a.stride
        high = min(a.target - 1, last // a.stride) if last >= 0 else -1
        if high >= j:
            add_run(p, s, dx, at, line, j, high - j + 1, j * a.stride - first)


cdef void add_run(const Pool* p, fn_pool_back* s, char* dx, int64_t at, int64_t line, int64_t j, int64_t count,
                  int64_t column) noexcept nogil:
    cdef int64_t pixel = p.C * p.element
    s.count, s.dx, s.dy = count, dx + column * pixel, p.x + (line + j) * pixel
    if p.maximum:
        s.index, s.at = p.index + (line + j) * pixel, at + column
        s.gate = p.gate + (line + j) * pixel if p.gate != NULL else NULL
        p.kernels.maximum_back(s)
    else:
        s.divisor = p.divisors + j
        p.kernels.average_back(s)


cdef void targets(const Axis* a, int64_t i, int64_t* first, int64_t* last) noexcept nogil:
    """Windows first <= j < last may hold source pixel i."""
    if a.adaptive:
        first[0] = i * a.target // a.source
        last[0] = ((i + 1) * a.target + a.source - 1) // a.source
        return
    first[0] = i + a.pad - (a.kernel - 1) * a.dilation
    first[0] = 0 if first[0] <= 0 else (first[0] + a.stride - 1) // a.stride
    last[0] = min(a.target, (i + a.pad) // a.stride + 1)


cdef bint sees(const Axis* a, int64_t j, int64_t i) noexcept nogil:
    cdef int64_t low, high
    window(a, j, &low, &high)
    return low <= i < high and (i - low) % a.dilation == 0


cdef void backward_body(void* context, int64_t block, int worker) noexcept nogil:
    """Whole source rows: no two blocks write the same pixel."""
    cdef const Pool* p = <const Pool*>context
    cdef const Axis* a = &p.axis[0]
    cdef int64_t row, n, i0, i1, j0, j1, f0, l0, f1, l1
    cdef char* dx
    cdef fn_pool_back s
    s.C, s.xstep, s.atstep = p.C, a[2].stride * p.C, a[2].stride
    for row in range(block * p.rows, min(p.all_rows, (block + 1) * p.rows)):
        i1, n = row % a[1].source, row // a[1].source
        i0, n = n % a[0].source, n // a[0].source
        dx = p.y + row * a[2].source * p.C * p.element
        memset(dx, 0, a[2].source * p.C * p.element)
        targets(&a[0], i0, &f0, &l0)
        targets(&a[1], i1, &f1, &l1)
        for j0 in range(f0, l0):
            if not sees(&a[0], j0, i0):
                continue
            for j1 in range(f1, l1):
                if sees(&a[1], j1, i1):
                    if not p.maximum:
                        s.row_divisor = row_divisor(p, j0, j1)
                    one_line(p, &s, dx, (i0 * a[1].source + i1) * a[2].source,
                             ((n * a[0].target + j0) * a[1].target + j1) * a[2].target)


cdef bint tiles(const Pool* p) noexcept nogil:
    """Does every window lie inside, beside the next?"""
    cdef int i
    cdef const Axis* a
    for i in range(3):
        a = &p.axis[i]
        if a.adaptive or a.stride != a.kernel or a.pad or (a.dilation > 1 and a.kernel > 1) or a.target * a.kernel > a.source:
            return False
    return True


cdef void tile_body(void* context, int64_t block, int worker) noexcept nogil:
    """Source rows of windows that tile: each is written once, from one target row."""
    cdef const Pool* p = <const Pool*>context
    cdef const Axis* a = &p.axis[0]
    cdef int64_t row, n, i0, i1, line, pixel = p.C * p.element, seen = a[2].target * a[2].kernel
    cdef char* dx
    cdef fn_pool_tile s
    s.count, s.C, s.columns = a[2].target, p.C, a[2].kernel
    for row in range(block * p.rows, min(p.all_rows, (block + 1) * p.rows)):
        i1, n = row % a[1].source, row // a[1].source
        i0, n = n % a[0].source, n // a[0].source
        dx = p.y + row * a[2].source * pixel
        if i0 >= a[0].target * a[0].kernel or i1 >= a[1].target * a[1].kernel:
            memset(dx, 0, a[2].source * pixel)
            continue
        line = ((n * a[0].target + i0 // a[0].kernel) * a[1].target + i1 // a[1].kernel) * a[2].target * pixel
        s.dy, s.index, s.dx = p.x + line, p.index + line, dx
        s.gate = p.gate + line if p.gate != NULL else NULL
        s.at = (i0 * a[1].source + i1) * a[2].source
        p.kernels.maximum_tile(&s)
        memset(dx + seen * pixel, 0, (a[2].source - seen) * pixel)


cdef void backward(fn_call* call, bint maximum) noexcept nogil:
    cdef Pool p
    set_up(call, &p, maximum)
    p.x = <const char*>call.slot[0]
    p.index = <char*>call.slot[1] if maximum else NULL
    p.gate = <const char*>call.slot[3] if maximum else NULL
    p.y = <char*>call.slot[2 if maximum else 1]
    lay_out(&p, <char*>call.scratch)
    cut(&p, p.N * p.axis[0].source * p.axis[1].source)
    parallel((p.all_rows + p.rows - 1) // p.rows, threads_for(call), tile_body if maximum and tiles(&p) else backward_body, &p)


cdef void max_backward(fn_call* call) noexcept nogil:
    backward(call, True)


cdef void average_backward(fn_call* call) noexcept nogil:
    backward(call, False)


cdef int64_t scratch(const fn_call* call) noexcept nogil:
    cdef Pool p
    set_up(call, &p, True)
    return divisors_bytes(&p) + 2 * threads_for(call) * ((2 * p.most * 8 + 63) // 64 * 64)


cdef fn_kernel MAX_POOL, MAX_POOL_BACKWARD, AVERAGE_POOL, AVERAGE_POOL_BACKWARD
declare(&MAX_POOL, "max_pool", "x:in y:out index:out", max_forward, scratch, True)
# gate: what the pooling returned, where a relu before it is part of the call; or absent
declare(&MAX_POOL_BACKWARD, "max_pool_backward", "dy:in index:in dx:out gate:in", max_backward, scratch, True)
declare(&AVERAGE_POOL, "average_pool", "x:in y:out", average_forward, scratch)
declare(&AVERAGE_POOL_BACKWARD, "average_pool_backward", "dy:in dx:out", average_backward, scratch)
