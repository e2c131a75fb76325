"""What the normalisations of channels share."""
cimport numpy as np
from libc.stdint cimport int64_t

from fastnn.core.launch cimport Launch
from fastnn.core.storage cimport empty_like
from fastnn.core.tensor cimport Tensor
from fastnn.ops.channels cimport empty_channels_last

cdef struct Shape:
    int64_t N, C, inner
    bint last                   # the channels lie last in memory

cdef np.ndarray channel_vector(str op, str what, Tensor t, np.ndarray x, int64_t C)    # t's array: one value per channel, in x's dtype
cdef np.ndarray state_vector(str op, str what, Tensor t, np.ndarray x, int64_t C)      # the same for an array that the kernel changes
cdef np.ndarray laid_out(np.ndarray x, Shape* s)    # x in C order or channels last, and how the kernels see it
cdef Tensor empty_result(Tensor x, Tensor weight, Tensor bias)
cdef Tensor batch_norm_tensor(Tensor x, Tensor running_mean, Tensor running_var, Tensor weight, Tensor bias, bint training,
                              double momentum, bint cumulative, double eps, Tensor tracked)

cdef inline np.ndarray empty_laid_out(np.ndarray x, bint last):
    if last:
        return empty_channels_last(np.PyArray_NDIM(x), np.PyArray_DIMS(x), np.PyArray_TYPE(x))
    return empty_like(x)

cdef inline int set_sizes(Launch* L, np.ndarray x, int64_t a, int64_t b, int64_t c, int64_t d, double eps) noexcept:
    L.call.size[0], L.call.size[1], L.call.size[2], L.call.size[3] = a, b, c, d
    L.call.scalar[0] = eps
    L.call.flops = 8.0 * np.PyArray_SIZE(x)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(x)
    return 0
