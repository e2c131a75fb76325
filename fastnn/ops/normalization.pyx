"""Batch, layer and RMS normalisation, and what they share with group_normalization.pyx."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import numpy as np

import fastnn.kernels.norm  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_formula
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.storage cimport Storage, empty_1d, empty_like, zeros_like
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, save_c, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport check_real, check_same_dtype, optional
from fastnn.ops.channels cimport channels_last, is_channels_last
from fastnn.ops.layout cimport contiguous

from fastnn.core.tensor import Size

__all__ = ["batch_norm", "layer_norm", "rms_norm"]

np.import_array()

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)

cdef const fn_kernel* BATCH = kernel_named("batch_norm_fwd")
cdef const fn_kernel* BATCH_EVAL = kernel_named("batch_norm_eval_fwd")
cdef const fn_kernel* BATCH_BWD = kernel_named("batch_norm_bwd")
cdef const fn_kernel* LAYER = kernel_named("layer_norm_fwd")
cdef const fn_kernel* LAYER_BWD = kernel_named("layer_norm_bwd")


cdef np.ndarray channel_vector(str op, str what, Tensor t, np.ndarray x, int64_t C):
    """t's array: one value per channel, in x's dtype."""
    if t is None:
        return None
    if np.PyArray_NDIM(t.array) != 1 or np.PyArray_DIM(t.array, 0) != C:
        raise RuntimeError(f"{op}: {what} should contain {C} elements not {np.PyArray_SIZE(t.array)} (shape "
                           f"{Size((<object>t.array).shape)})")
    check_same_dtype(op, x, t.array, what)
    return contiguous(t.array)


cdef np.ndarray state_vector(str op, str what, Tensor t, np.ndarray x, int64_t C):
    """The same for an array that the kernel changes."""
    cdef np.ndarray a = channel_vector(op, what, t, x, C)
    if a is not None and a is not t.array:
        raise RuntimeError(f"{op}: {what} must be contiguous, it is updated in place")
    return a


# ---- batch normalisation -------------------------------------------------------------------------------------------
cdef np.ndarray laid_out(np.ndarray x, Shape* s):
    """x in C order or channels last, and how the kernels see it: channels last is a matrix of pixels and channels."""
    cdef int ndim = np.PyArray_NDIM(x)
    s.C = np.PyArray_DIM(x, 1)
    s.last = ndim > 2 and not PyArray_IS_C_CONTIGUOUS(x) and is_channels_last(x)
    if not s.last:
        x = contiguous(x)
    if ndim == 2 or s.last:
        s.N, s.inner = np.PyArray_SIZE(x) // s.C if s.C else 0, 1
    else:
        s.N = np.PyArray_DIM(x, 0)
        s.inner = np.PyArray_SIZE(x) // (s.N * s.C) if s.N * s.C else 0
    return x


@cython.final
cdef class BatchNormBackward(Node):
    """a: x, b: weight, c: mean, d: 1 / std (in eval: the running variance)."""
    cdef Shape shape
    cdef bint fixed
    cdef double eps

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, g, dx = None, dw = None, db = None
        g = channels_last(grad) if self.shape.last else contiguous(grad)
        if self.nodes[0] is not None:
            dx = empty_laid_out(x, self.shape.last)
        if self.nodes[1] is not None:
            dw = empty_1d(self.shape.C, np.PyArray_TYPE(x))
        if self.nodes[2] is not None:
            db = empty_1d(self.shape.C, np.PyArray_TYPE(x))
        begin(&L, BATCH_BWD, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        put(&L, 2, self.c)
        put(&L, 3, self.d)
        put(&L, 4, g)
        put(&L, 5, dx)
        put(&L, 6, dw)
        put(&L, 7, db)
        set_sizes(&L, x, self.shape.N, self.shape.C, self.shape.inner, self.fixed, self.eps)
        launch(&L)
        return dx, dw, db

    cdef object derivative(self, object grad, tuple wanted):
        cdef Tensor mean = wrap(self.c) if self.fixed else None, variance = wrap(self.d) if self.fixed else None
        return by_formula(self, grad, wanted, "batch_norm", (self.a, self.b, bias_of(self, self.b, self.shape.C)),
                          (mean, variance, self.eps))


cdef np.ndarray bias_of(Node node, np.ndarray weight, int64_t C):
    """A bias of which no value counts, where it takes a gradient."""
    return None if node.nodes[2] is None else np.zeros(C, (<object>node.a).dtype)


cdef class EmptyNormBackward(Node):
    """An empty input: gradients are zeros.  a, b, c: the inputs."""

    cdef object backward(self, np.ndarray grad):
        return (zeros_like(self.a), None if self.b is None else zeros_like(self.b),
                None if self.c is None else zeros_like(self.c))


cdef Tensor empty_result(Tensor x, Tensor weight, Tensor bias):
    cdef EmptyNormBackward node
    cdef np.ndarray y = empty_like(x.array)
    if not recording(x, weight, bias):
        return wrap(y)
    node = EmptyNormBackward.__new__(EmptyNormBackward)
    node.a = x.array
    node.b = None if weight is None else weight.array
    node.c = None if bias is None else bias.array
    return attach(y, node, x, weight, bias)


cdef inline int count_change(Tensor t) except -1:
    """A kernel has written into t."""
    cdef Storage storage = t.storage()
    storage.version += 1
    return 0


def verify_batch_size(size):
    """Training needs more than one value per channel."""
    count = 1
    for i, n in enumerate(size):
        if i != 1:
            count *= n
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {Size(size)}")


cdef Tensor batch_norm_tensor(Tensor x, Tensor running_mean, Tensor running_var, Tensor weight, Tensor bias, bint training,
                              double momentum, bint cumulative, double eps, Tensor tracked):
    cdef Launch L
    cdef Shape s
    cdef np.ndarray a = x.array, w, b, rm, rv, mean, spread, y
    cdef BatchNormBackward node
    check_real("batch_norm", a)
    if np.PyArray_NDIM(a) < 2:
        raise RuntimeError(f"batch_norm: input must be (N, C) or (N, C, ...), got {Size((<object>a).shape)}")
    a = laid_out(a, &s)
    rm = state_vector("batch_norm", "running_mean", running_mean, a, s.C)
    rv = state_vector("batch_norm", "running_var", running_var, a, s.C)
    w = channel_vector("batch_norm", "weight", weight, a, s.C)
    b = channel_vector("batch_norm", "bias", bias, a, s.C)
    if (rm is None) != (rv is None) or (rm is None and not training):
        raise RuntimeError("batch_norm: expected running_mean and running_var to be defined "
                           + ("together" if training else "when training=False"))
    if training and s.N * s.inner == 1:
        verify_batch_size((<object>a).shape)
    if eps <= 0 if training else eps < 0:
        raise ValueError(f"batch_norm eps must be {'positive during training' if training else 'non-negative'}, but got {eps}")
    if np.PyArray_SIZE(a) == 0:
        if training and tracked is not None:
            tracked.array += 1
        return empty_result(x, weight, bias)
    y = empty_laid_out(a, s.last)
    if training:
        mean = empty_1d(s.C, np.PyArray_TYPE(a))
        spread = empty_1d(s.C, np.PyArray_TYPE(a))
        begin(&L, BATCH, fn_dtype_of(a))
        put(&L, 3, rm)
        put(&L, 4, rv)
        put(&L, 5, None if tracked is None else tracked.array)
        put(&L, 6, mean)
        put(&L, 7, spread)
        put(&L, 8, y)
    else:
        mean, spread = rm, rv
        begin(&L, BATCH_EVAL, fn_dtype_of(a))
        put(&L, 3, rm)
        put(&L, 4, rv)
        put(&L, 5, y)
    put(&L, 0, a)
    put(&L, 1, w)
    put(&L, 2, b)
    set_sizes(&L, a, s.N, s.C, s.inner, cumulative, eps)
    L.call.scalar[1] = momentum
    launch(&L)
    if training and rm is not None:
        count_change(running_mean)
        count_change(running_var)
    if not recording(x, weight, bias):
        return wrap(y)
    node = BatchNormBackward.__new__(BatchNormBackward)
    node.shape, node.fixed, node.eps = s, not training, eps
    save_a(node, x)
    if weight is not None:
        save_b(node, weight)
    if not training:
        save_c(node, running_mean)      # which changes together with the variance
    node.a, node.b, node.c, node.d = a, w, mean, spread
    return attach(y, node, x, weight, bias)


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Normalise every channel: y = (x - mean) / sqrt(var + eps) w + b.

    Parameters
    ----------
    input : Tensor, shape (N, C) or (N, C, ...)
    running_mean, running_var : Tensor, shape (C,), or None
        Used when not training; when training moved towards the batch's mean and unbiased variance by `momentum`.
    weight, bias : Tensor, shape (C,), optional
    training : bool, default False
        Use the batch's own mean and biased variance.
    momentum : float, default 0.1
    eps : float, default 1e-5

    Raises
    ------
    ValueError
        When training on one value per channel.

    References
    ----------
    Ioffe and Szegedy, Batch normalization, arXiv:1502.03167.
    """
    return batch_norm_tensor(as_tensor(input), optional(running_mean), optional(running_var), optional(weight),
                             optional(bias), training, momentum, False, eps, None)


def batch_norm_tracked(input, running_mean, running_var, tracked, weight, bias, momentum, double eps):
    """Training step of a layer that counts its batches; momentum None: averages over all batches seen."""
    return batch_norm_tensor(as_tensor(input), running_mean, running_var, weight, bias, True,
                             0 if momentum is None else momentum, momentum is None, eps, tracked)


# ---- layer and RMS normalisation --------------------------------------------------------------------------------------
@cython.final
cdef class LayerNormBackward(Node):
    """a: x, b: weight, c: mean, d: 1 / std."""
    cdef bint rms
    cdef int64_t rows, n
    cdef double eps

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, dx = None, dw = None, db = None
        if self.nodes[0] is not None:
            dx = empty_like(x)
        if self.nodes[1] is not None:
            dw = empty_like(<np.ndarray>self.b)
        if self.nodes[2] is not None:
            db = empty_like(<np.ndarray>self.extra)
        begin(&L, LAYER_BWD, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        put(&L, 2, self.c)
        put(&L, 3, self.d)
        grad = contiguous(grad)
        put(&L, 4, grad)
        put(&L, 5, dx)
        put(&L, 6, dw)
        put(&L, 7, db)
        set_sizes(&L, x, self.rows, self.n, self.rms, 0, 0)
        launch(&L)
        return dx, dw, db

    cdef object derivative(self, object grad, tuple wanted):
        cdef int axes = 0
        cdef int64_t n = 1
        while n < self.n:
            axes += 1
            n *= np.PyArray_DIM(self.a, np.PyArray_NDIM(self.a) - axes)
        return by_formula(self, grad, wanted, "layer_norm", (self.a, self.b, self.extra), (max(axes, 1), self.rms, self.eps))


cdef np.ndarray element_array(str op, str what, Tensor t, np.ndarray x, tuple shape):
    if t is None:
        return None
    if (<object>t.array).shape != shape:
        raise RuntimeError(f"Expected {what} to be of same shape as normalized_shape, but got {what} of shape "
                           f"{list((<object>t.array).shape)} and normalized_shape = {list(shape)}")
    check_same_dtype(op, x, t.array, what)
    return contiguous(t.array)


cdef Tensor layer_tensor(str op, bint rms, Tensor x, object normalized_shape, Tensor weight, Tensor bias, object eps):
    cdef Launch L
    cdef np.ndarray a = x.array, w, b, y, mean = None, rstd
    cdef int ndim = np.PyArray_NDIM(a), axes, i
    cdef int64_t rows = 1, n = 1
    cdef LayerNormBackward node
    cdef tuple shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    check_real(op, a)
    axes = len(shape)
    if axes == 0:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
                           "but got normalized_shape = []")
    if axes > ndim or (<object>a).shape[ndim - axes:] != shape:
        raise RuntimeError(f"Given normalized_shape={list(shape)}, expected input with shape "
                           f"[*, {', '.join(map(str, shape))}], but got input of size{list((<object>a).shape)}")
    w = element_array(op, "weight", weight, a, shape)
    b = element_array(op, "bias", bias, a, shape)
    for i in range(ndim):
        if i < ndim - axes:
            rows *= np.PyArray_DIM(a, i)
        else:
            n *= np.PyArray_DIM(a, i)
    if np.PyArray_SIZE(a) == 0:
        return empty_result(x, weight, bias)
    a = contiguous(a)
    if eps is None:
        eps = np.finfo((<object>a).dtype).eps
    y = empty_like(a)
    if not rms:
        mean = empty_1d(rows, np.PyArray_TYPE(a))
    rstd = empty_1d(rows, np.PyArray_TYPE(a))
    begin(&L, LAYER, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, w)
    put(&L, 2, b)
    put(&L, 3, mean)
    put(&L, 4, rstd)
    put(&L, 5, y)
    set_sizes(&L, a, rows, n, rms, 0, eps)
    launch(&L)
    if not recording(x, weight, bias):
        return wrap(y)
    node = LayerNormBackward.__new__(LayerNormBackward)
    node.rms, node.rows, node.n, node.eps = rms, rows, n, eps
    save_a(node, x)
    if weight is not None:
        save_b(node, weight)
    node.a, node.b, node.c, node.d, node.extra = a, w, mean, rstd, b
    return attach(y, node, x, weight, bias)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalise over the last axes: y = (x - mean) / sqrt(var + eps) w + b, with each row's mean and biased variance.

    Parameters
    ----------
    input : Tensor, shape (..., *normalized_shape)
    normalized_shape : int or tuple of ints
    weight, bias : Tensor of that shape, optional
    eps : float, default 1e-5

    References
    ----------
    Ba et al., Layer normalization, arXiv:1607.06450.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.functional.layer_norm(fastnn.tensor([[1.0, 3.0]]), 2)
    tensor([[-1.0000,  1.0000]])
    """
    return layer_tensor("layer_norm", False, as_tensor(input), normalized_shape, optional(weight), optional(bias), eps)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """Divide by the root mean square of the last axes: y = x / sqrt(mean(x^2) + eps) w.

    eps None is the machine epsilon of the input's dtype.  Zhang and Sennrich, arXiv:1910.07467.
    """
    return layer_tensor("rms_norm", True, as_tensor(input), normalized_shape, optional(weight), None, eps)
