"""A convolution call seen as gathered products: the forward pass is one, the input gradient one per phase of its pixels."""
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn.kernels.conv cimport (
    Axis, DILATION_, G_, Gather, I_, IN_, KERNEL_, N_, O_, OUT_, PAD_, PLANAR_, RELU_, STRIDE_, WI_, WK_, WO_, ceil_div, fn_conv_table,
    fn_gemm_table)
from fastnn.kernels.native cimport fn_call, table

cdef extern from "fastnn.h" nogil:
    ctypedef struct tables "fn_table":
        const fn_conv_table* conv[2]
        const fn_gemm_table* gemm[2]


cdef void common(const fn_call* call, Gather* g) noexcept nogil:
    memset(g, 0, sizeof(Gather))
    g.dtype = call.dtype
    g.element = 8 if call.dtype == 1 else 4
    g.kernels = (<const tables*>table).conv[call.dtype]
    g.gemm = (<const tables*>table).gemm[call.dtype]
    g.N, g.groups = call.size[N_], call.size[G_]
    g.wg = call.size[O_] * call.size[WO_]
    g.end.relu = <int>call.size[RELU_]
    cdef int i
    for i in range(3):
        g.wt[i] = call.size[WK_ + i]


cdef void forward_gather(const fn_call* call, Gather* g) noexcept nogil:
    cdef int i
    cdef Axis* x
    common(call, g)
    g.K, g.n = call.size[I_], call.size[O_]
    g.wk, g.wj = call.size[WI_], call.size[WO_]
    g.planar = call.size[PLANAR_]
    for i in range(3):
        x = &g.axis[i]
        x.source, x.target = call.size[IN_ + i], call.size[OUT_ + i]
        x.count, x.start, x.step = x.target, 0, 1
        x.a = call.size[STRIDE_ + i]
        x.taps, x.k, x.kstep = call.size[KERNEL_ + i], 0, 1
        x.b, x.bstep = -call.size[PAD_ + i], call.size[DILATION_ + i]


cdef int64_t phases_of(const fn_call* call) noexcept nogil:
    return call.size[STRIDE_] * call.size[STRIDE_ + 1] * call.size[STRIDE_ + 2]


cdef void phase_axis(const fn_call* call, int i, int64_t phase, Axis* x) noexcept nogil:
    """dx pixel h = phase + s j sees dy pixel (h + p - k d) / s for every k that makes it whole."""
    cdef int64_t s = call.size[STRIDE_ + i], d = call.size[DILATION_ + i], kernel = call.size[KERNEL_ + i]
    cdef int64_t first = -1, last = -1, period = 0, k
    x.source, x.target = call.size[OUT_ + i], call.size[IN_ + i]
    x.start, x.step, x.a = phase, s, 1
    x.count = max(0, ceil_div(x.target - phase, s))
    for k in range(kernel):
        if (phase + call.size[PAD_ + i] - k * d) % s == 0:
            if first < 0:
                first = k
            elif period == 0:
                period = k - first
            last = k
    x.taps = 0 if first < 0 else 1 if period == 0 else (last - first) // period + 1
    x.k, x.kstep = last, -period        # k falls, so that the source pixel rises
    x.b = (phase + call.size[PAD_ + i] - last * d) // s if x.taps else 0
    x.bstep = period * d // s


cdef void phase_gather(const fn_call* call, int64_t phase, Gather* g) noexcept nogil:
    cdef int i
    common(call, g)
    g.K, g.n = call.size[O_], call.size[I_]
    g.wk, g.wj = call.size[WO_], call.size[WI_]
    for i in range(2, -1, -1):
        phase_axis(call, i, phase % call.size[STRIDE_ + i], &g.axis[i])
        phase //= call.size[STRIDE_ + i]
