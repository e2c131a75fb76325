"""Units of Boltzmann machines: means and samples from inputs, and the two sides of the contrastive loss.

A row draws from groups of the generator's counters that belong to it alone, so samples depend neither on the number of
threads nor on how rows are cut into blocks.
"""
from libc.math cimport exp, log
from libc.stdint cimport int64_t, uint64_t

from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_kernel, parallel, table, threads_for
from fastnn.kernels.pointwise cimport unary_code
from fastnn.kernels.random cimport fn_random_table, fn_take_groups, random_tables

import fastnn.kernels.pointwise  # no-cython-lint: names of the functions

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_unary:
        void (*run)(int64_t n, const void* x, void* y, const double* scalar) noexcept nogil
    ctypedef struct fn_pointwise_table:
        const fn_unary* unary
    ctypedef struct fn_loss_table:
        double (*total)(int64_t n, const void* x) noexcept nogil
    ctypedef struct tables "fn_table":
        const fn_pointwise_table* pointwise[2]
        const fn_loss_table* loss[2]

ctypedef fused real:
    float
    double

# Elements of a block: enough to pay for handing it out, few enough to stay in the first-level cache between passes; and of a call
# that two threads do sooner than one.
cdef enum: BLOCK = 1024, SHARED = 2048

cdef int SIGMOID = unary_code("sigmoid"), SOFTPLUS = unary_code("softplus")
cdef double[3] SOFTPLUS_ARGUMENTS = [1.0, 40.0, 0.0]      # beta, and where x itself is exact in float64

cdef fn_kernel BERNOULLI_UNITS, CATEGORICAL_UNITS, MULTINOMIAL_UNITS, HALF_SQUARES, CONTRAST_VALUE, CONTRAST_ROWS


cdef struct Rows:
    fn_call* call
    const fn_unary* unary
    const fn_random_table* random
    int64_t rows, columns, per_block, item
    int64_t groups              # of the generator, per row
    uint64_t key, group
    int64_t scratch_bytes       # of one worker


cdef Rows begin_rows(fn_call* call, int64_t draws) noexcept nogil:
    """The work of a call on size[0] rows of size[1] columns that draws `draws` numbers per row from slot 1, if at all."""
    cdef Rows r
    cdef int kind = 1 if call.dtype == FN_F64 else 0
    r.call = call
    r.unary = (<const tables*>table).pointwise[kind].unary
    r.random = (<const random_tables*>table).random[kind]
    r.rows, r.columns = call.size[0], call.size[1]
    r.per_block = max(1, BLOCK // max(1, r.columns))
    r.item = 8 if kind else 4
    r.groups = (draws + r.random.per_group - 1) // r.random.per_group
    r.key = r.group = 0
    r.scratch_bytes = 0
    if call.slot[1] != NULL:
        r.key = (<uint64_t*>call.slot[1])[0]
        r.group = fn_take_groups(<uint64_t*>call.slot[1], <uint64_t>(r.groups * r.rows))
    return r


cdef inline void run_rows(Rows* r, void (*body)(void* context, int64_t block, int worker) noexcept nogil) noexcept nogil:
    cdef int threads = r.call.threads if r.rows * r.columns > SHARED else 1
    parallel((r.rows + r.per_block - 1) // r.per_block, threads, body, r)


cdef inline char* row_of(const Rows* r, int slot, int64_t row, int64_t columns) noexcept nogil:
    return <char*>r.call.slot[slot] + row * columns * r.item


cdef inline double total(const fn_call* call, const void* x, int64_t n) noexcept nogil:
    """The sum, added in float64."""
    return (<const tables*>table).loss[1 if call.dtype == FN_F64 else 0].total(n, x)


# ---- bernoulli units: size = rows, columns -------------------------------------------------------------------------
cdef void bernoulli_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Rows* r = <Rows*>context
    cdef int64_t row
    cdef char* x
    cdef char* mean
    cdef char* spare = <char*>r.call.scratch + worker * r.scratch_bytes
    for row in range(block * r.per_block, min(r.rows, (block + 1) * r.per_block)):
        x = row_of(r, 0, row, r.columns)
        if r.call.slot[4] != NULL:
            r.unary[SOFTPLUS].run(r.columns, x, spare, SOFTPLUS_ARGUMENTS)
            if r.call.dtype == FN_F64:
                (<double*>r.call.slot[4])[row] = total(r.call, spare, r.columns)
            else:
                (<float*>r.call.slot[4])[row] = <float>total(r.call, spare, r.columns)
        mean = row_of(r, 2, row, r.columns) if r.call.slot[2] != NULL else spare
        r.unary[SIGMOID].run(r.columns, x, mean, r.call.scalar)
        if r.call.slot[3] != NULL:
            r.random.bernoulli(r.key, r.group + row * r.groups, r.columns, mean, row_of(r, 3, row, r.columns))

cdef int64_t row_scratch(const fn_call* call) noexcept nogil:
    return (call.size[1] * (8 if call.dtype == FN_F64 else 4) + 63) // 64 * 64 * max(1, call.threads)

cdef void bernoulli_units_run(fn_call* call) noexcept nogil:
    """mean = sigmoid(x), sample = 1 with that probability, energy = sum of softplus(x) over the row."""
    cdef Rows r = begin_rows(call, call.size[1])
    r.scratch_bytes = (r.columns * r.item + 63) // 64 * 64
    run_rows(&r, bernoulli_block)


# ---- categorical units: size = rows, columns, categories of a unit -----------------------------------------------------
cdef double softmax_group(const real* x, real* p, int64_t n) noexcept nogil:
    """p = softmax(x); returns the log of the sum of exp(x)."""
    cdef double top = x[0], sum = 0
    cdef int64_t i
    for i in range(n):
        if not x[i] <= top:             # a NaN becomes the top and spreads
            top = x[i]
    for i in range(n):
        p[i] = <real>exp(x[i] - top)
        sum += p[i]
    for i in range(n):
        p[i] = <real>(p[i] / sum)
    return top + log(sum)

cdef void draw_one(const real* p, real* y, int64_t n, double u) noexcept nogil:
    """One-hot of the category whose stretch of [0, 1) holds u."""
    cdef double reached = 0
    cdef int64_t i, chosen = -1
    for i in range(n):
        y[i] = 0
        reached += p[i]
        if chosen < 0 and u < reached:
            chosen = i
    if chosen < 0:                      # rounding left a gap below 1: the last category that can occur
        chosen = n - 1
        while chosen > 0 and p[chosen] == 0:
            chosen -= 1
    y[chosen] = 1

cdef void categorical_row(const Rows* r, int64_t row, real* spare) noexcept nogil:
    cdef int64_t K = r.call.size[2], units = r.columns // K, g, i
    cdef const real* x = (<const real*>r.call.slot[0]) + row * r.columns
    cdef real* mean = (<real*>r.call.slot[2]) + row * r.columns
    cdef real* sample = (<real*>r.call.slot[3]) + row * r.columns if r.call.slot[3] != NULL else NULL
    cdef const real* present = (<const real*>r.call.slot[5]) + row * units if r.call.slot[5] != NULL else NULL
    cdef double energy = 0
    if sample != NULL:
        r.random.uniform(r.key, r.group + row * r.groups, units, spare)
    for g in range(units):
        if present != NULL and present[g] == 0:
            for i in range(g * K, (g + 1) * K):
                mean[i] = 0
                if sample != NULL:
                    sample[i] = 0
            continue
        energy += softmax_group(x + g * K, mean + g * K, K)
        if sample != NULL:
            draw_one(mean + g * K, sample + g * K, K, spare[g])
    if r.call.slot[4] != NULL:
        (<real*>r.call.slot[4])[row] = <real>energy

cdef void categorical_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Rows* r = <Rows*>context
    cdef int64_t row
    cdef char* spare = <char*>r.call.scratch + worker * r.scratch_bytes
    for row in range(block * r.per_block, min(r.rows, (block + 1) * r.per_block)):
        if r.call.dtype == FN_F64:
            categorical_row[double](r, row, <double*>spare)
        else:
            categorical_row[float](r, row, <float*>spare)

cdef void categorical_units_run(fn_call* call) noexcept nogil:
    """mean = softmax of every `categories` columns, sample = one-hot draws, energy = sum of the log partition functions.

    Units whose `present` is 0 are left out: zeros.
    """
    cdef Rows r = begin_rows(call, call.size[1] // call.size[2])
    r.scratch_bytes = (r.columns * r.item + 63) // 64 * 64
    run_rows(&r, categorical_block)


# ---- multinomial units: size = rows, columns, most draws of a row ------------------------------------------------------
cdef int64_t multinomial_scratch_bytes(const fn_call* call) noexcept nogil:
    return ((call.size[1] + call.size[2]) * 8 + 127) // 64 * 64

cdef int64_t multinomial_scratch(const fn_call* call) noexcept nogil:
    return multinomial_scratch_bytes(call) * max(1, call.threads)

cdef void multinomial_row(const Rows* r, int64_t row, double* reached, real* u) noexcept nogil:
    cdef const real* x = (<const real*>r.call.slot[0]) + row * r.columns
    cdef real* mean = (<real*>r.call.slot[2]) + row * r.columns
    cdef real* counts = (<real*>r.call.slot[3]) + row * r.columns if r.call.slot[3] != NULL else NULL
    cdef int64_t draws = <int64_t>(<const real*>r.call.slot[5])[row], i, low, high, middle
    cdef double energy = softmax_group(x, mean, r.columns), sum = 0
    if r.call.slot[4] != NULL:
        (<real*>r.call.slot[4])[row] = <real>energy
    if counts != NULL:
        for i in range(r.columns):
            counts[i] = 0
            sum += mean[i]
            reached[i] = sum
        r.random.uniform(r.key, r.group + row * r.groups, draws, u)
        for i in range(draws):
            low, high = 0, r.columns - 1
            while low < high:
                middle = (low + high) // 2
                if u[i] * sum < reached[middle]:
                    high = middle
                else:
                    low = middle + 1
            counts[low] += 1
    for i in range(r.columns):
        mean[i] = <real>(mean[i] * draws)

cdef void multinomial_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef Rows* r = <Rows*>context
    cdef int64_t row
    cdef double* reached = <double*>(<char*>r.call.scratch + worker * r.scratch_bytes)
    for row in range(block * r.per_block, min(r.rows, (block + 1) * r.per_block)):
        if r.call.dtype == FN_F64:
            multinomial_row[double](r, row, reached, reached + r.columns)
        else:
            multinomial_row[float](r, row, reached, <float*>(reached + r.columns))

cdef void multinomial_units_run(fn_call* call) noexcept nogil:
    """mean = length softmax(x), sample = counts of `length` draws, energy = log of the sum of exp(x)."""
    cdef Rows r = begin_rows(call, call.size[2])
    r.scratch_bytes = multinomial_scratch_bytes(call)
    run_rows(&r, multinomial_block)


# ---- contrastive loss ----------------------------------------------------------------------------------------------
cdef double mean_of(const fn_call* call, int slot, int64_t rows) noexcept nogil:
    return total(call, call.slot[slot], rows) / rows if rows else 0

cdef double weighted_change(int64_t n, const real* sum, double factor, const real* sample_sum, double sample_factor, const real* weight,
                            real* change) noexcept nogil:
    """change = factor sum - sample_factor sample_sum; returns its product with the weights."""
    cdef double value = 0, difference
    cdef int64_t i
    for i in range(n):
        difference = factor * sum[i] - sample_factor * sample_sum[i]
        change[i] = <real>difference
        value += difference * weight[i]
    return value

cdef void contrast_value_run(fn_call* call) noexcept nogil:
    """value = mean free energy of the data less that of the samples; change = mean v of the data less that of the samples.

    size = rows of data, rows of samples, visible units.  energy: sums of softplus (less what F has besides) per row;
    sum: column sums of v.
    """
    cdef int64_t rows = call.size[0], samples = call.size[1], n = call.size[2]
    cdef double value = mean_of(call, 3, samples) - mean_of(call, 1, rows), a = 1.0 / rows, b = 1.0 / samples
    if call.dtype == FN_F64:
        value -= weighted_change(n, <double*>call.slot[0], a, <double*>call.slot[2], b, <double*>call.slot[4], <double*>call.slot[6])
        (<double*>call.slot[5])[0] = value
    else:
        value -= weighted_change(n, <float*>call.slot[0], a, <float*>call.slot[2], b, <float*>call.slot[4], <float*>call.slot[6])
        (<float*>call.slot[5])[0] = <float>value


cdef double half_square(const real* v, int64_t n) noexcept nogil:
    cdef double sum = 0
    cdef int64_t i
    for i in range(n):
        sum += <double>v[i] * v[i]
    return sum / 2

cdef void half_squares_run(fn_call* call) noexcept nogil:
    """energy -= |v|^2 / 2 of every row.  size = rows, columns."""
    cdef int64_t row, n = call.size[1]
    for row in range(call.size[0]):
        if call.dtype == FN_F64:
            (<double*>call.slot[1])[row] -= half_square[double]((<const double*>call.slot[0]) + row * n, n)
        else:
            (<float*>call.slot[1])[row] -= <float>half_square[float]((<const float*>call.slot[0]) + row * n, n)


cdef void scale_block(void* context, int64_t block, int worker) noexcept nogil:
    cdef fn_call* call = <fn_call*>context
    cdef int64_t first = block * BLOCK, last = min(call.size[0], first + BLOCK), i
    cdef const double* x = <const double*>call.slot[0]
    cdef double* y = <double*>call.slot[2]
    cdef const float* xf = <const float*>call.slot[0]
    cdef float* yf = <float*>call.slot[2]
    cdef double factor
    cdef float narrow
    if call.dtype == FN_F64:
        factor = call.scalar[0] * (<const double*>call.slot[1])[0]
        for i in range(first, last):
            y[i] = factor * x[i]
    else:
        narrow = <float>(call.scalar[0] * (<const float*>call.slot[1])[0])
        for i in range(first, last):
            yf[i] = narrow * xf[i]

cdef void contrast_rows_run(fn_call* call) noexcept nogil:
    """y = scalar g x, g one number: what a statistic passes on.  size = n."""
    parallel((call.size[0] + BLOCK - 1) // BLOCK, threads_for(call), scale_block, call)


declare(&BERNOULLI_UNITS, "bernoulli_units", "x:in rng:state mean:out sample:out energy:out", bernoulli_units_run, row_scratch)
declare(&CATEGORICAL_UNITS, "categorical_units", "x:in rng:state mean:out sample:out energy:out present:in",
        categorical_units_run, row_scratch)
declare(&MULTINOMIAL_UNITS, "multinomial_units", "x:in rng:state mean:out sample:out energy:out length:in",
        multinomial_units_run, multinomial_scratch)
declare(&HALF_SQUARES, "half_squares", "v:in energy:acc", half_squares_run, NULL)
declare(&CONTRAST_VALUE, "contrast_value", "sum:in energy:in sample_sum:in sample_energy:in vbias:in value:out change:out",
        contrast_value_run, NULL)
declare(&CONTRAST_ROWS, "contrast_rows", "x:in g:in y:out", contrast_rows_run, NULL)
