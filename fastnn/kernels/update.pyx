"""Optimizer updates: one pass over parameter, gradient and state.

Every update kernel has the slots parameter, gradient, hyper, then its state under torch's names.  `hyper` is a float64
array that holds what the user may change between steps; its layout stands in HYPER.  The step counter is a state slot
that the driver itself advances, and what follows from it (bias corrections) is computed here in float64: so a replayed
step goes on counting.  Scalar state (step, mu_product, eta, mu) is float32, as torch keeps it.

size[0] = elements; size[1]: only find out what is to be done, for matmul_update (at the end) or the call that leads;
size[UPDATE_BESIDE]: the records behind this one, in a plan, that it does as well.
"""
from libc.math cimport pow, sqrt
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.gemm cimport args_of, gemm_of_call, matmul_scratch
from fastnn.kernels.gemm_args cimport gemm_after, gemm_args
from fastnn.kernels.native cimport FN_F64, declare, fn_call, fn_driver, fn_kernel, parallel, table, threads_now
from fastnn.kernels.update_clip cimport clamp, clip_factor, norm_scratch, scale, sum_of_squares
from fastnn.kernels.update_pass cimport (
    BLOCK, FIRST_STATE, GRADIENT, HYPER_SLOT, LINE, PARAMETER, PIECES, THREADS, UPDATE_BESIDE, Pass, Rest, Together, blocks_of, pass_block,
    pass_part, rest_block, tables, together_block)

cdef extern from "fastnn.h" nogil:
    enum:
        FN_UPDATE_STATES
        FN_UPDATE_sgd, FN_UPDATE_sgd_momentum, FN_UPDATE_sgd_nesterov, FN_UPDATE_adagrad, FN_UPDATE_adadelta
        FN_UPDATE_rmsprop, FN_UPDATE_rmsprop_momentum, FN_UPDATE_rmsprop_centered, FN_UPDATE_rmsprop_centered_momentum
        FN_UPDATE_adam, FN_UPDATE_adam_amsgrad, FN_UPDATE_adamax, FN_UPDATE_nadam, FN_UPDATE_radam
        FN_UPDATE_radam_early, FN_UPDATE_asgd, FN_UPDATE_rprop

# What each family's hyper array holds: options of a parameter group, pairs one after the other, absent ones as 0.
cdef enum: LR, WEIGHT_DECAY, MAXIMIZE, OWN      # every update begins with these three
HYPER = {
    "sgd": "lr weight_decay maximize momentum dampening",
    "adagrad": "lr weight_decay maximize lr_decay eps",
    "adadelta": "lr weight_decay maximize rho eps",
    "rmsprop": "lr weight_decay maximize alpha eps momentum",
    "adam": "lr weight_decay maximize betas eps decoupled_weight_decay",
    "adamax": "lr weight_decay maximize betas eps",
    "nadam": "lr weight_decay maximize betas eps decoupled_weight_decay momentum_decay",
    "radam": "lr weight_decay maximize betas eps decoupled_weight_decay",
    "asgd": "lr weight_decay maximize lambd alpha t0",
    "rprop": "lr weight_decay maximize etas step_sizes",
}
HYPER_LENGTH = 10

cdef extern from *:
    """
    #include <math.h>
    /* base to the power of a step number. All parameters of a group ask for the same ones, one after another: a thread keeps its last
     * answers, one for each of an update's two bases. */
    static double fn_step_power(int which, double base, double step) {
        static _Thread_local struct { double base, step, power; } last[2] = {{0, 0, 1}, {0, 0, 1}};
        if (last[which].base != base || last[which].step != step) {
            last[which].base = base;
            last[which].step = step;
            last[which].power = pow(base, step);
        }
        return last[which].power;
    }
    """
    double step_power "fn_step_power"(int which, double base, double step) noexcept nogil

cdef fn_kernel[16] updates
cdef dict update_number = {}


cdef const fn_kernel* update_kernel(str name) noexcept:
    number = update_number.get(name)
    return NULL if number is None else &updates[<int>number]


cdef int number_of_update(const fn_kernel* kernel) noexcept:
    return <int>(kernel - &updates[0]) if &updates[0] <= kernel < &updates[0] + len(update_number) else -1


cdef int declare_update(str name, str slots, fn_driver run) except -1:
    cdef int number = len(update_number)
    declare(&updates[number], name, "parameter:state gradient:in hyper:in " + slots, run, NULL)
    update_number[name] = number
    return 0


# ---- one pass over the arrays --------------------------------------------------------------------------------------
cdef void update(fn_call* call, int row, const fn_coefficients* k, int first, int arrays) noexcept nogil:
    """Run one row of update.def; its state arrays are the slots from `first` on."""
    cdef Pass t
    cdef int64_t blocks
    cdef int j
    t.row = (<const tables*>table).update[call.dtype == FN_F64].row[row]
    t.k = k
    t.n = call.size[0]
    t.item = 8 if call.dtype == FN_F64 else 4
    t.arrays = arrays
    t.parameter = <char*>call.slot[PARAMETER]
    t.gradient = <char*>call.slot[GRADIENT]
    for j in range(arrays):
        t.state[j] = <char*>call.slot[first + j]
    # an even number of equal blocks: of two threads each updates the half whose gradient it has just computed
    blocks = 1 if t.n <= BLOCK else 2 * ((t.n + 2 * BLOCK - 1) // (2 * BLOCK))
    t.block = ((t.n + blocks - 1) // blocks + LINE - 1) // LINE * LINE
    if call.size[1]:
        (<Pass*>call.scratch)[0] = t
        (<Pass*>call.scratch).own = k[0]
    elif call.size[UPDATE_BESIDE]:
        update_together(call, &t)
    else:
        parallel(blocks_of(&t), threads_now(call), pass_block, &t)


cdef void update_together(fn_call* call, const Pass* first) noexcept nogil:
    """This update and those behind it in one launch: threads meet once, and small ones are shared out too."""
    cdef Together all
    cdef fn_call* other
    cdef Pass* t
    cdef int64_t blocks, before = 0, behind = 0
    cdef int j
    all.count = <int>call.size[UPDATE_BESIDE] + 1
    for j in range(all.count):
        t = &all.passes[j]
        if j:
            other = call + j
            other.scratch = t
            call.kernel.run(other)
            t.k = &t.own
        else:
            t[0] = first[0]
        blocks = blocks_of(t)
        all.blocks[0][j] = (blocks + (before <= behind)) // 2
        all.blocks[1][j] = blocks - all.blocks[0][j]
        before += all.blocks[0][j]
        behind += all.blocks[1][j]
    parallel(before + behind, threads_now(call), together_block, &all)


cdef void beside(fn_call* call) noexcept nogil:
    """Done by the update before it."""


# ---- what a step's numbers are -------------------------------------------------------------------------------------
cdef inline const double* shared_by_all(const double* h, fn_coefficients* k) noexcept nogil:
    """The coefficients every update shares; returns the family's own hyper-parameters."""
    memset(k, 0, sizeof(fn_coefficients))
    k.sign = -1.0 if h[MAXIMIZE] else 1.0
    k.decay = h[WEIGHT_DECAY]
    k.shrink = 1
    k.rate = h[LR]
    return h + OWN


cdef inline const double* begin(fn_call* call, fn_coefficients* k) noexcept nogil:
    return shared_by_all(<const double*>call.slot[HYPER_SLOT], k)


cdef inline double lr(fn_call* call) noexcept nogil:
    return (<const double*>call.slot[HYPER_SLOT])[LR]


cdef inline double advance(fn_call* call) noexcept nogil:
    """Count the step in the first state slot; returns its number, from 1."""
    cdef float* step = <float*>call.slot[FIRST_STATE]
    step[0] += 1
    return step[0]


cdef inline void decouple(fn_coefficients* k, double decoupled) noexcept nogil:
    """Weight decay on the parameter instead of the gradient."""
    if decoupled:
        k.shrink = 1 - k.rate * k.decay
        k.decay = 0


cdef inline void averages(fn_coefficients* k, double beta1, double beta2) noexcept nogil:
    k.keep, k.mix = beta1, 1 - beta1
    k.keep2, k.mix2 = beta2, 1 - beta2


# ---- drivers, in the order of update.def ---------------------------------------------------------------------------
cdef fn_update_row plain_sgd(int dtype, const double* hyper, fn_coefficients* k) noexcept nogil:
    shared_by_all(hyper, k)
    return (<const tables*>table).update[dtype == FN_F64].row[FN_UPDATE_sgd]


cdef void sgd(fn_call* call) noexcept nogil:
    cdef fn_coefficients k
    begin(call, &k)
    update(call, FN_UPDATE_sgd, &k, FIRST_STATE, 0)


cdef void momentum(fn_call* call, int row) noexcept nogil:
    """`first`, where present, is 1 until the first step, whose buffer is the gradient itself, without dampening."""
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    cdef float* first = <float*>call.slot[FIRST_STATE + 1]
    k.keep, k.mix = h[0], 1 - h[1]
    if first != NULL and first[0] != 0:
        k.mix = 1
        first[0] = 0
    update(call, row, &k, FIRST_STATE, 1)


cdef void sgd_momentum(fn_call* call) noexcept nogil:
    momentum(call, FN_UPDATE_sgd_momentum)


cdef void sgd_nesterov(fn_call* call) noexcept nogil:
    momentum(call, FN_UPDATE_sgd_nesterov)


cdef void adagrad(fn_call* call) noexcept nogil:
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    k.rate = lr(call) / (1 + (advance(call) - 1) * h[0])
    k.eps = h[1]
    update(call, FN_UPDATE_adagrad, &k, FIRST_STATE + 1, 1)


cdef void adadelta(fn_call* call) noexcept nogil:
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    advance(call)
    k.keep, k.mix, k.eps = h[0], 1 - h[0], h[1]
    update(call, FN_UPDATE_adadelta, &k, FIRST_STATE + 1, 2)


cdef void rms(fn_call* call, int row, int arrays) noexcept nogil:
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    advance(call)
    k.keep, k.mix, k.eps, k.keep2 = h[0], 1 - h[0], h[1], h[2]
    update(call, row, &k, FIRST_STATE + 1, arrays)


cdef void rmsprop(fn_call* call) noexcept nogil:
    rms(call, FN_UPDATE_rmsprop, 1)


cdef void rmsprop_momentum(fn_call* call) noexcept nogil:
    rms(call, FN_UPDATE_rmsprop_momentum, 2)


cdef void rmsprop_centered(fn_call* call) noexcept nogil:
    rms(call, FN_UPDATE_rmsprop_centered, 2)


cdef void rmsprop_centered_momentum(fn_call* call) noexcept nogil:
    rms(call, FN_UPDATE_rmsprop_centered_momentum, 3)


cdef void adams(fn_call* call, int row, int arrays) noexcept nogil:
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    cdef double step = advance(call)
    averages(&k, h[0], h[1])
    decouple(&k, h[3])
    k.rate = lr(call) / (1 - step_power(0, h[0], step))
    k.eps = h[2]
    k.correction = 1 / sqrt(1 - step_power(1, h[1], step))
    update(call, row, &k, FIRST_STATE + 1, arrays)


cdef void adam(fn_call* call) noexcept nogil:
    adams(call, FN_UPDATE_adam, 2)


cdef void adam_amsgrad(fn_call* call) noexcept nogil:
    adams(call, FN_UPDATE_adam_amsgrad, 3)


cdef void adamax(fn_call* call) noexcept nogil:
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    averages(&k, h[0], h[1])
    k.rate = lr(call) / (1 - step_power(0, h[0], advance(call)))
    k.eps = h[2]
    update(call, FN_UPDATE_adamax, &k, FIRST_STATE + 1, 2)


cdef void nadam(fn_call* call) noexcept nogil:
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    cdef double step = advance(call)
    cdef float* product = <float*>call.slot[FIRST_STATE + 1]
    cdef double mu = h[0] * (1 - 0.5 * pow(0.96, step * h[4]))
    cdef double mu_next = h[0] * (1 - 0.5 * pow(0.96, (step + 1) * h[4]))
    product[0] *= <float>mu
    averages(&k, h[0], h[1])
    decouple(&k, h[3])
    k.rate = lr(call) * (1 - mu) / (1 - <double>product[0])
    k.rate2 = lr(call) * mu_next / (1 - product[0] * mu_next)
    k.eps = h[2]
    k.correction = 1 / (1 - step_power(1, h[1], step))
    update(call, FN_UPDATE_nadam, &k, FIRST_STATE + 2, 2)


cdef void radam(fn_call* call) noexcept nogil:
    """The step is rectified once the variance of the adaptive rate is tractable (rho > 5)."""
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    cdef double step = advance(call)
    cdef double bias2 = 1 - step_power(1, h[1], step)
    cdef double rho_end = 2 / (1 - h[1]) - 1
    cdef double rho = rho_end - 2 * step * (1 - bias2) / bias2
    averages(&k, h[0], h[1])
    decouple(&k, h[3])
    k.rate = lr(call) / (1 - step_power(0, h[0], step))
    k.eps = h[2]
    if rho > 5:
        k.rate *= sqrt((rho - 4) * (rho - 2) * rho_end / ((rho_end - 4) * (rho_end - 2) * rho)) * sqrt(bias2)
        update(call, FN_UPDATE_radam, &k, FIRST_STATE + 1, 2)
    else:
        update(call, FN_UPDATE_radam_early, &k, FIRST_STATE + 1, 2)


cdef void asgd(fn_call* call) noexcept nogil:
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    cdef double step = advance(call)
    cdef float* eta = <float*>call.slot[FIRST_STATE + 1]
    cdef float* mu = <float*>call.slot[FIRST_STATE + 2]
    k.rate = eta[0]
    k.shrink = 1 - h[0] * k.rate
    k.keep, k.mix = 1 - mu[0], mu[0]
    update(call, FN_UPDATE_asgd, &k, FIRST_STATE + 3, 1)
    eta[0] = <float>(lr(call) / pow(1 + h[0] * lr(call) * step, h[1]))
    mu[0] = <float>(1 / max(1.0, step - h[2]))


cdef void rprop(fn_call* call) noexcept nogil:
    cdef fn_coefficients k
    cdef const double* h = begin(call, &k)
    advance(call)
    k.mix, k.keep, k.lower, k.upper = h[0], h[1], h[2], h[3]
    update(call, FN_UPDATE_rprop, &k, FIRST_STATE + 1, 2)


declare_update("sgd", "", sgd)
declare_update("sgd_momentum", "momentum_buffer:state first:state", sgd_momentum)
declare_update("sgd_nesterov", "momentum_buffer:state first:state", sgd_nesterov)
declare_update("adagrad", "step:state sum:state", adagrad)
declare_update("adadelta", "step:state square_avg:state acc_delta:state", adadelta)
declare_update("rmsprop", "step:state square_avg:state", rmsprop)
declare_update("rmsprop_momentum", "step:state square_avg:state momentum_buffer:state", rmsprop_momentum)
declare_update("rmsprop_centered", "step:state square_avg:state grad_avg:state", rmsprop_centered)
declare_update("rmsprop_centered_momentum", "step:state square_avg:state grad_avg:state momentum_buffer:state",
               rmsprop_centered_momentum)
declare_update("adam", "step:state exp_avg:state exp_avg_sq:state", adam)
declare_update("adam_amsgrad", "step:state exp_avg:state exp_avg_sq:state max_exp_avg_sq:state", adam_amsgrad)
declare_update("adamax", "step:state exp_avg:state exp_inf:state", adamax)
declare_update("nadam", "step:state mu_product:state exp_avg:state exp_avg_sq:state", nadam)
declare_update("radam", "step:state exp_avg:state exp_avg_sq:state", radam)
declare_update("asgd", "step:state eta:state mu:state ax:state", asgd)
declare_update("rprop", "step:state prev:state step_size:state", rprop)


declare(&BESIDE, "update_beside", "parameter:state gradient:in options:in step:state state1:state state2:state state3:state", beside,
        NULL)


# ---- a product whose result is the gradient -------------------------------------------------------------------------
cdef void matmul_update(fn_call* call) noexcept nogil:
    """c = a b is the gradient that the parameter is updated by: a block of it while the next one is made."""
    cdef fn_call wanted
    cdef gemm_args g
    cdef gemm_after after
    cdef Pass t
    cdef Rest rest
    cdef int j
    memset(&wanted, 0, sizeof(wanted))
    memset(&rest, 0, sizeof(rest))
    wanted.kernel, wanted.dtype, wanted.scratch = &updates[call.size[UPDATE_NUMBER]], call.dtype, &t
    wanted.size[0], wanted.size[1] = call.size[0] * call.size[1], 1
    wanted.slot[PARAMETER], wanted.slot[GRADIENT], wanted.slot[HYPER_SLOT] = call.slot[UPDATED], call.slot[3], call.slot[UPDATED_BY]
    for j in range(wanted.kernel.slots - FIRST_STATE):
        wanted.slot[FIRST_STATE + j] = call.slot[UPDATED_STATE + j]
    wanted.kernel.run(&wanted)
    rest.t, after.left = &t, rest.left
    after.part, after.context, after.arrays = pass_part, &t, t.arrays + 2
    after.beside[0], after.beside[1] = t.parameter, t.gradient
    for j in range(t.arrays):
        after.beside[2 + j] = t.state[j]
    args_of(call, &g)
    g.after = &after
    gemm_of_call(call, &g)
    parallel(PIECES * min(call.threads, THREADS), call.threads, rest_block, &rest)


declare(&MATMUL_UPDATE, "matmul_update",
        "a:in b:in bias:in c:out parameter:state hyper:in step:state state1:state state2:state state3:state", matmul_update,
        matmul_scratch)


# ---- clipping ------------------------------------------------------------------------------------------------------
declare(&SUM_OF_SQUARES, "sum_of_squares", "x:in total:out", sum_of_squares, norm_scratch)
declare(&CLIP_FACTOR, "clip_factor", "totals:in norm:out factor:out", clip_factor, NULL)
declare(&SCALE, "scale_in_place", "x:state factor:in", scale, NULL)
declare(&CLAMP, "clamp_in_place", "x:state", clamp, NULL)
