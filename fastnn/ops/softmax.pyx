"""Softmax, log-softmax, softmin and logsumexp."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import math
import warnings

import numpy as np

import fastnn.kernels.softmax  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_rule, output_of
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.storage cimport empty, empty_like
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport axis_of, check_real
from fastnn.ops.elementwise cimport as_real
from fastnn.ops.layout cimport contiguous

from fastnn.core.tensor import install

__all__ = ["log_softmax", "logsumexp", "softmax", "softmin"]

np.import_array()

cdef const fn_kernel* SOFTMAX = kernel_named("softmax_fwd")
cdef const fn_kernel* SOFTMAX_BWD = kernel_named("softmax_bwd")
cdef const fn_kernel* LOGSUMEXP = kernel_named("logsumexp_fwd")
cdef const fn_kernel* LOGSUMEXP_BWD = kernel_named("logsumexp_bwd")


cdef int set_sizes(Launch* L, np.ndarray a, int axis, bint log) noexcept:
    """size = log, outer, n, inner of an array cut at `axis`."""
    cdef int i
    cdef int64_t outer = 1, inner = 1
    for i in range(axis):
        outer *= np.PyArray_DIM(a, i)
    for i in range(axis + 1, np.PyArray_NDIM(a)):
        inner *= np.PyArray_DIM(a, i)
    L.call.size[0], L.call.size[1] = log, outer
    L.call.size[2] = np.PyArray_DIM(a, axis) if np.PyArray_NDIM(a) else 1
    L.call.size[3] = inner
    L.call.flops = 12.0 * np.PyArray_SIZE(a)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(a)
    return 0


@cython.final
cdef class SoftmaxBackward(Node):
    """dx = y (dy - sum y dy), or dy - exp(y) sum dy for the logarithm.  a: y."""
    cdef int axis
    cdef bint log

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray g = contiguous(grad), dx = empty_like(g)
        if np.PyArray_SIZE(dx) == 0:
            return dx
        begin(&L, SOFTMAX_BWD, fn_dtype_of(g))
        put(&L, 0, self.a)
        put(&L, 1, g)
        put(&L, 2, dx)
        set_sizes(&L, g, self.axis, self.log)
        launch(&L)
        return dx

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "softmax", (), (output_of(self, self.a), self.axis, self.log))


cdef Tensor run_softmax(Tensor x, int axis, bint log):
    cdef Launch L
    cdef np.ndarray a = x.array, y
    cdef SoftmaxBackward node
    check_real("log_softmax" if log else "softmax", a)
    a = contiguous(a)
    y = empty_like(a)
    if np.PyArray_SIZE(a):
        begin(&L, SOFTMAX, fn_dtype_of(a))
        put(&L, 0, a)
        put(&L, 1, y)
        set_sizes(&L, a, axis, log)
        launch(&L)
    if not recording(x):
        return wrap(y)
    node = SoftmaxBackward.__new__(SoftmaxBackward)
    node.axis, node.log = axis, log
    cdef Tensor t = attach(y, node, x)
    save_a(node, t)
    return t


def implicit_axis(str name, int ndim):
    """The axis torch takes when none is given; warns."""
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
                  "argument.", stacklevel=3)
    return 0 if ndim in (0, 1, 3) else 1


cdef Tensor cast(Tensor x, object dtype):
    return x if dtype is None else x.to(dtype)


def softmax(input, dim=None, _stacklevel=3, dtype=None, *, axis=None):
    """Scale exponentials to sum 1 along an axis: y_i = exp(x_i) / sum_j exp(x_j).

    Parameters
    ----------
    input : Tensor
    dim : int
        The axis; left out, torch's old choice (0 for 0-, 1- and 3-D input, else 1) with a warning.
    dtype : optional
        Convert the input first.

    Notes
    -----
    The largest element is subtracted first, so nothing overflows; a row of -inf gives NaN.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.softmax(fastnn.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    cdef Tensor x = cast(as_tensor(input), dtype)
    if dim is None:
        dim = implicit_axis("softmax", x.array.ndim) if axis is None else axis
    return run_softmax(x, axis_of(dim, x.array.ndim), False)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None, *, axis=None):
    """Logarithm of the softmax: y_i = x_i - log sum_j exp(x_j); arguments as `softmax`."""
    cdef Tensor x = cast(as_tensor(input), dtype)
    if dim is None:
        dim = implicit_axis("log_softmax", x.array.ndim) if axis is None else axis
    return run_softmax(x, axis_of(dim, x.array.ndim), True)


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """Softmax of -input; arguments as `softmax`."""
    cdef Tensor x = cast(as_tensor(input), dtype)
    if dim is None:
        dim = implicit_axis("softmin", x.array.ndim)
    return run_softmax(-x, axis_of(dim, x.array.ndim), False)


@cython.final
cdef class LogsumexpBackward(Node):
    """dx = exp(x - y) dy over the last axis.  a: x as rows, b: y."""
    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray g = contiguous(grad), x = self.a, dx = empty_like(x)
        if np.PyArray_SIZE(x) == 0:
            return dx
        begin(&L, LOGSUMEXP_BWD, fn_dtype_of(g))
        put(&L, 0, x)
        put(&L, 1, self.b)
        put(&L, 2, g)
        put(&L, 3, dx)
        set_sizes(&L, x, np.PyArray_NDIM(x) - 1, True)
        launch(&L)
        return dx

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "logsumexp", (self.a,), ())


cdef Tensor logsumexp_last(Tensor x):
    """Over the last axis of x."""
    cdef Launch L
    cdef np.ndarray a = contiguous(x.array), y
    cdef LogsumexpBackward node
    cdef int ndim = np.PyArray_NDIM(a)
    y = empty(ndim - 1, np.PyArray_DIMS(a), np.PyArray_TYPE(a))
    if np.PyArray_DIM(a, ndim - 1) == 0:
        y.fill(-np.inf)
    if np.PyArray_SIZE(a):
        begin(&L, LOGSUMEXP, fn_dtype_of(a))
        put(&L, 0, a)
        put(&L, 1, y)
        set_sizes(&L, a, ndim - 1, True)
        launch(&L)
    if not recording(x):
        return wrap(y)
    node = LogsumexpBackward.__new__(LogsumexpBackward)
    save_a(node, x)
    node.a = a
    x = attach(y, node, x)
    save_b(node, x)
    return x


def logsumexp(input, dim, keepdim=False):
    """Compute log sum exp(x) over one or several axes without overflow; over none it is -inf. Integers take the default dtype.

    Parameters
    ----------
    input : Tensor
    dim : int or tuple of ints
    keepdim : bool, default False
    """
    cdef Tensor x = as_real(input), given = as_tensor(input), y
    cdef int ndim = x.array.ndim
    axes = sorted(axis_of(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim))
    for axis in axes:
        if axes.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
    shape = tuple(x.shape)
    if ndim == 0:
        return logsumexp(as_tensor(input).reshape((1,)), 0)
    kept = [i for i in range(ndim) if i not in axes]
    if kept + axes != list(range(ndim)):
        x = x.permute(*kept, *axes)
    result = tuple(shape[i] for i in kept)
    if len(axes) != 1:
        x = x.reshape(result + (math.prod([shape[i] for i in axes]),))
    y = logsumexp_last(x)
    if given.dtype.kind == "f":
        y = y.to(given.dtype)
    return y.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape))) if keepdim else y


for function in (softmax, log_softmax, logsumexp):
    install(function.__name__, function)
