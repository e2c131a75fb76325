"""Group, instance and local response normalisation."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import numpy as np

import fastnn.kernels.norm  # no-cython-lint: declares the kernels
import fastnn.kernels.norm_group  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_formula
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.storage cimport empty_1d, empty_like
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport check_real, optional
from fastnn.ops.channels cimport channels_last
from fastnn.ops.layout cimport contiguous
from fastnn.ops.normalization cimport (Shape, batch_norm_tensor, channel_vector, empty_laid_out, empty_result, laid_out, set_sizes,
                                       state_vector)

from fastnn.core.tensor import Size
from fastnn.ops.normalization import verify_batch_size

__all__ = ["group_norm", "instance_norm", "local_response_norm"]

np.import_array()

cdef const fn_kernel* GROUP = kernel_named("group_norm_fwd")
cdef const fn_kernel* GROUP_BWD = kernel_named("group_norm_bwd")
cdef const fn_kernel* INSTANCE_STATISTICS = kernel_named("instance_norm_statistics")
cdef const fn_kernel* RESPONSE = kernel_named("local_response_norm_fwd")
cdef const fn_kernel* RESPONSE_BWD = kernel_named("local_response_norm_bwd")


# ---- group and instance normalisation ------------------------------------------------------------------------------------
@cython.final
cdef class GroupNormBackward(Node):
    """a: x, b: weight, c: mean, d: 1 / std of every group."""
    cdef int64_t N, C, inner, groups
    cdef bint last
    cdef double eps

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, dx = None, dw = None, db = None
        if self.nodes[0] is not None:
            dx = empty_laid_out(x, self.last)
        if self.nodes[1] is not None:
            dw = empty_1d(self.C, np.PyArray_TYPE(x))
        if self.nodes[2] is not None:
            db = empty_1d(self.C, np.PyArray_TYPE(x))
        begin(&L, GROUP_BWD, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        put(&L, 2, self.c)
        put(&L, 3, self.d)
        grad = channels_last(grad) if self.last else contiguous(grad)
        put(&L, 4, grad)
        put(&L, 5, dx)
        put(&L, 6, dw)
        put(&L, 7, db)
        set_sizes(&L, x, self.N, self.C, self.inner, self.groups, 0)
        L.call.size[4] = self.last
        launch(&L)
        return dx, dw, db

    cdef object derivative(self, object grad, tuple wanted):
        bias = None if self.nodes[2] is None else np.zeros(self.C, (<object>self.a).dtype)
        return by_formula(self, grad, wanted, "group_norm", (self.a, self.b, bias), (self.groups, self.eps))


cdef Tensor group_tensor(str op, Tensor x, int64_t groups, Tensor weight, Tensor bias, double eps, np.ndarray running_mean,
                         np.ndarray running_var, double momentum):
    """Group normalisation; running statistics (of instance normalisation) are moved when given."""
    cdef Launch L
    cdef Shape s
    cdef np.ndarray a = laid_out(x.array, &s), w, b, y, mean, rstd, var = None
    cdef int64_t N = np.PyArray_DIM(a, 0), C = np.PyArray_DIM(a, 1), inner
    cdef GroupNormBackward node
    w = channel_vector(op, "weight", weight, a, C)
    b = channel_vector(op, "bias", bias, a, C)
    if np.PyArray_SIZE(a) == 0:
        return empty_result(x, weight, bias)
    inner = np.PyArray_SIZE(a) // (N * C)
    y = empty_laid_out(a, s.last)
    mean = empty_1d(N * groups, np.PyArray_TYPE(a))
    rstd = empty_1d(N * groups, np.PyArray_TYPE(a))
    if running_mean is not None:
        var = empty_1d(N * groups, np.PyArray_TYPE(a))
    begin(&L, GROUP, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, w)
    put(&L, 2, b)
    put(&L, 3, mean)
    put(&L, 4, rstd)
    put(&L, 5, var)
    put(&L, 6, y)
    set_sizes(&L, a, N, C, inner, groups, eps)
    L.call.size[4] = s.last
    launch(&L)
    if running_mean is not None:
        begin(&L, INSTANCE_STATISTICS, fn_dtype_of(a))
        put(&L, 0, mean)
        put(&L, 1, var)
        put(&L, 2, running_mean)
        put(&L, 3, running_var)
        set_sizes(&L, mean, N, C, inner, 0, momentum)
        launch(&L)
    if not recording(x, weight, bias):
        return wrap(y)
    node = GroupNormBackward.__new__(GroupNormBackward)
    node.N, node.C, node.inner, node.groups, node.last, node.eps = N, C, inner, groups, s.last, eps
    save_a(node, x)
    if weight is not None:
        save_b(node, weight)
    node.a, node.b, node.c, node.d = a, w, mean, rstd
    return attach(y, node, x, weight, bias)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalise groups of channels of every sample: y = (x - mean) / sqrt(var + eps) w + b.

    Parameters
    ----------
    input : Tensor, shape (N, C, ...)
    num_groups : int
        Divides C.
    weight, bias : Tensor, shape (C,), optional
    eps : float, default 1e-5

    References
    ----------
    Wu and He, Group normalization, arXiv:1803.08494.
    """
    cdef Tensor x = as_tensor(input)
    shape = tuple((<object>x.array).shape)
    check_real("group_norm", x.array)
    if len(shape) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {len(shape)}")
    if not isinstance(num_groups, int):
        raise TypeError(f"group_norm(): argument 'num_groups' must be int, not {type(num_groups).__name__}")
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if shape[1] % num_groups:
        raise RuntimeError("Expected number of channels in input to be divisible by num_groups, but got input of shape "
                           f"{list(shape)} and num_groups={num_groups}")
    verify_batch_size((shape[0] * shape[1] // num_groups, num_groups, *shape[2:]))
    return group_tensor("group_norm", x, num_groups, optional(weight), optional(bias), eps, None, None, 0)


def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1,
                  eps=1e-5):
    """Normalise every channel of every sample over its positions.

    Parameters
    ----------
    input : Tensor, shape (N, C, ...)
    running_mean, running_var : Tensor, shape (C,), optional
        Moved by `momentum` towards the mean over the samples; used as they are when use_input_stats is false.
    weight, bias : Tensor, shape (C,), optional
    use_input_stats : bool, default True
    momentum : float, default 0.1
    eps : float, default 1e-5

    Raises
    ------
    ValueError
        For one position per channel.

    References
    ----------
    Ulyanov et al., Instance normalization, arXiv:1607.08022.
    """
    cdef Tensor x = as_tensor(input), rm = optional(running_mean), rv = optional(running_var)
    cdef np.ndarray mean, var
    shape = tuple((<object>x.array).shape)
    check_real("instance_norm", x.array)
    if not use_input_stats:
        if rm is None or rv is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
        return batch_norm_tensor(x, rm, rv, optional(weight), optional(bias), False, 0, False, eps, None)
    positions = 1
    for n in shape[2:]:
        positions *= n
    if positions == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {Size(shape)}")
    mean = state_vector("instance_norm", "running_mean", rm, x.array, shape[1])
    var = state_vector("instance_norm", "running_var", rv, x.array, shape[1])
    return group_tensor("instance_norm", x, shape[1], optional(weight), optional(bias), eps,
                        None if var is None else mean, var, momentum)


# ---- local response normalisation -----------------------------------------------------------------------------------------
@cython.final
cdef class LocalResponseNormBackward(Node):
    """a: x, b: the denominators before the power."""
    cdef int64_t size
    cdef double alpha, beta

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, dx = empty_like(x)
        begin(&L, RESPONSE_BWD, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        grad = contiguous(grad)
        put(&L, 2, grad)
        put(&L, 3, dx)
        response_sizes(&L, x, self.size, self.alpha, self.beta, 0)
        launch(&L)
        return dx


cdef int response_sizes(Launch* L, np.ndarray x, int64_t size, double alpha, double beta, double k) noexcept:
    cdef int64_t N = np.PyArray_DIM(x, 0), C = np.PyArray_DIM(x, 1)
    set_sizes(L, x, N, C, np.PyArray_SIZE(x) // (N * C), size, alpha)
    L.call.scalar[1], L.call.scalar[2] = beta, k
    L.call.flops *= 4 + size
    return 0


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Divide by a power of the neighbouring channels' mean square: y = x / (k + alpha / size sum x^2)^beta.

    Parameters
    ----------
    input : Tensor, shape (N, C, d1, ...)
    size : int
        Channels in the window, size // 2 of them before the channel itself.
    alpha, beta, k : float

    References
    ----------
    Krizhevsky et al., ImageNet classification with deep convolutional neural networks, NIPS 2012.
    """
    cdef Launch L
    cdef Tensor x = as_tensor(input)
    cdef np.ndarray a = x.array, d, y
    cdef LocalResponseNormBackward node
    check_real("local_response_norm", a)
    if np.PyArray_NDIM(a) < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {np.PyArray_NDIM(a)} dimensions)")
    if size <= 0:
        raise RuntimeError(f"local_response_norm: size should be greater than zero, but got {size}")
    if np.PyArray_SIZE(a) == 0:
        return x
    a = contiguous(a)
    d, y = empty_like(a), empty_like(a)
    begin(&L, RESPONSE, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, d)
    put(&L, 2, y)
    response_sizes(&L, a, size, alpha, beta, k)
    launch(&L)
    if not recording(x):
        return wrap(y)
    node = LocalResponseNormBackward.__new__(LocalResponseNormBackward)
    node.size, node.alpha, node.beta = size, alpha, beta
    save_a(node, x)
    node.a, node.b = a, d
    return attach(y, node, x)
