"""Dropout of elements and of whole channels, alpha dropout, Bernoulli samples: draws of the library's own stream.

No mask is kept: backward draws it again from the key and counter that the forward call noted.
"""
cimport cython
cimport numpy as np
from libc.math cimport sqrt
from libc.stdint cimport int64_t

import warnings

import numpy as np

import fastnn.kernels.random  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_adjoint
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.random cimport generator_of
from fastnn.core.storage cimport empty_1d, empty_like
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport check_real
from fastnn.ops.channels cimport channels_last, is_channels_last
from fastnn.ops.layout cimport contiguous
from fastnn.ops.normalization cimport empty_laid_out

from fastnn.ops.host import overwrite

np.import_array()

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)

__all__ = ["alpha_dropout", "alpha_dropout_", "bernoulli", "dropout", "dropout1d", "dropout2d", "dropout3d", "dropout_",
           "feature_alpha_dropout", "feature_alpha_dropout_", "feature_dropout", "feature_dropout_"]

cdef const fn_kernel* BERNOULLI = kernel_named("bernoulli")
cdef const fn_kernel* DROPOUT = kernel_named("dropout")
cdef const fn_kernel* DROPOUT_SHIFT = kernel_named("dropout_shift")
cdef const fn_kernel* DROPOUT_GRADIENT = kernel_named("dropout_gradient")

# -lambda alpha of SELU: what its activations saturate to (Klambauer et al., Self-normalizing neural networks, 2017)
cdef double ALPHA = 1.7580993408473766


cdef int set_work(Launch* L, np.ndarray a, int64_t inner) noexcept:
    L.call.size[0], L.call.size[1] = np.PyArray_SIZE(a) // inner, inner
    L.call.flops = 8.0 * np.PyArray_SIZE(a)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(a)
    return 0


@cython.final
cdef class DropoutBackward(Node):
    """dx = factor dy where x was kept.  a: key and counter of the draw."""
    cdef double p, factor
    cdef int64_t inner
    cdef bint last              # x lay channels last, and was drawn for in that order

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray g = channels_last(grad) if self.last else contiguous(grad), dx = empty_laid_out(g, self.last)
        begin(&L, DROPOUT_GRADIENT, fn_dtype_of(g))
        put(&L, 0, self.a)
        put(&L, 1, g)
        put(&L, 2, dx)
        set_work(&L, g, self.inner)
        L.call.scalar[0], L.call.scalar[1] = self.p, self.factor
        launch(&L)
        return dx

    cdef object derivative(self, object grad, tuple wanted):
        return self.again(grad)

    def again(self, grad):
        """What is linear and elementwise is its own adjoint."""
        return by_adjoint(self, grad, self.again)


cdef Tensor drop(Tensor x, str name, object probability, bint training, bint features, bint alpha):
    """Dropout in all its kinds: y = factor x (+ kept) or 0 x (+ dropped)."""
    cdef Launch L
    cdef np.ndarray a = x.array, y, draw
    cdef DropoutBackward node
    cdef double p = probability, factor, kept = 0, dropped = 0
    cdef int64_t inner = 1
    cdef int i
    cdef bint last = not features and np.PyArray_NDIM(a) > 2 and not PyArray_IS_C_CONTIGUOUS(a) and is_channels_last(a)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {probability}")
    if not training or p == 0 or np.PyArray_SIZE(a) == 0:
        return x
    if features and np.PyArray_NDIM(a) < 2:
        raise RuntimeError(f"{name}: Feature dropout requires at least 2 dimensions in the input")
    check_real(name, a)
    if features:
        for i in range(2, np.PyArray_NDIM(a)):
            inner *= np.PyArray_DIM(a, i)
    if p == 1:
        factor = 0
    elif alpha:
        factor = 1 / sqrt((ALPHA * ALPHA * p + 1) * (1 - p))
        kept, dropped = ALPHA * factor * p, ALPHA * factor * (p - 1)
    else:
        factor = 1 / (1 - p)
    if not last:
        a = contiguous(a)
    y = empty_laid_out(a, last)
    draw = empty_1d(2, np.NPY_UINT64)
    begin(&L, DROPOUT_SHIFT if alpha and p < 1 else DROPOUT, fn_dtype_of(a))
    put(&L, 0, generator_of(None).rng)
    put(&L, 1, a)
    put(&L, 2, y)
    put(&L, 3, draw)
    set_work(&L, a, inner)
    L.call.scalar[0], L.call.scalar[1], L.call.scalar[2], L.call.scalar[3] = p, factor, kept, dropped
    launch(&L)
    if not recording(x):
        return wrap(y)
    node = DropoutBackward.__new__(DropoutBackward)
    node.a = draw
    node.p, node.factor, node.inner, node.last = p, factor, inner, last
    return attach(y, node, x)


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero elements with probability p and scale the others by 1/(1 - p), so that the mean stays.

    Parameters
    ----------
    input : Tensor
    p : float, default 0.5
    training : bool, default True
        False gives the input back.
    inplace : bool, default False

    Raises
    ------
    ValueError
        If p is not in [0, 1].

    Notes
    -----
    p is rounded to 1/65536.  The draws are the library's own, not torch's, in the order of memory (C order or channels
    last); `fastnn.manual_seed` repeats them, and they do not depend on the number of threads.
    """
    if inplace:
        return overwrite("dropout_", as_tensor(input), dropout, (p, training), {})
    return drop(as_tensor(input), "dropout", p, training, False, False)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout that keeps mean and variance of SELU activations: dropped elements saturate; arguments as `dropout`."""
    if inplace:
        return overwrite("alpha_dropout_", as_tensor(input), alpha_dropout, (p, training), {})
    return drop(as_tensor(input), "alpha_dropout", p, training, False, True)


def feature_dropout(input, p=0.5, training=True, inplace=False):
    """Dropout of whole channels of (N, C, *); arguments as `dropout`."""
    if inplace:
        return overwrite("feature_dropout_", as_tensor(input), feature_dropout, (p, training), {})
    return drop(as_tensor(input), "feature_dropout", p, training, True, False)


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Alpha dropout of whole channels of (N, C, *); arguments as `dropout`."""
    if inplace:
        return overwrite("feature_alpha_dropout_", as_tensor(input), feature_alpha_dropout, (p, training), {})
    return drop(as_tensor(input), "feature_alpha_dropout", p, training, True, True)


cdef object channels(Tensor x, str name, int batched, p, training, inplace):
    """feature_dropout of x, which may lack the batch axis of a `batched`-dimensional input."""
    if np.PyArray_NDIM(x.array) == batched:
        return feature_dropout(x, p, training, inplace)
    y = feature_dropout(x.unsqueeze(0), p, training).squeeze(0)
    return overwrite(name + "_", x, lambda unused: y, (), {}) if inplace else y


cdef int check_probability(p) except -1:
    if p < 0 or p > 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return 0


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Dropout of whole channels of (N, C, L) or (C, L); arguments as `dropout`."""
    cdef Tensor x = as_tensor(input)
    check_probability(p)
    if np.PyArray_NDIM(x.array) not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {np.PyArray_NDIM(x.array)}D input. Note that "
                           "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, a channel "
                           "dimension, and an optional batch dimension (i.e. 2D or 3D inputs).")
    return channels(x, "dropout1d", 3, p, training, inplace)


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Dropout of whole channels of (N, C, H, W), or of (N, C, L) with a warning; arguments as `dropout`."""
    cdef Tensor x = as_tensor(input)
    cdef int ndim = np.PyArray_NDIM(x.array)
    check_probability(p)
    if ndim not in (3, 4):
        warnings.warn(f"dropout2d: Received a {ndim}-D input to dropout2d, which is deprecated and will result in an error in "
                      "a future release. To retain the behavior and silence this warning, please use dropout instead. Note "
                      "that dropout2d exists to provide channel-wise dropout on inputs with 2 spatial dimensions, a channel "
                      "dimension, and an optional batch dimension (i.e. 3D or 4D inputs).", stacklevel=2)
    if ndim == 3:
        warnings.warn("dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is "
                      "desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will "
                      "change in a future release to interpret the input as one without a batch dimension, i.e. shape "
                      "(C, H, W). To maintain the 1D channel-wise dropout behavior, please switch to using dropout1d "
                      "instead.", stacklevel=2)
    return feature_dropout(x, p, training, inplace)


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W); arguments as `dropout`."""
    cdef Tensor x = as_tensor(input)
    cdef int ndim = np.PyArray_NDIM(x.array)
    check_probability(p)
    if ndim not in (4, 5):
        warnings.warn(f"dropout3d: Received a {ndim}-D input to dropout3d, which is deprecated and will result in an error in "
                      "a future release. To retain the behavior and silence this warning, please use dropout instead. Note "
                      "that dropout3d exists to provide channel-wise dropout on inputs with 3 spatial dimensions, a channel "
                      "dimension, and an optional batch dimension (i.e. 4D or 5D inputs).", stacklevel=2)
    return channels(x, "dropout3d", 5, p, training, inplace)


def dropout_(input, p, training=True):
    """`dropout`, in place."""
    return dropout(input, p, training, True)


def alpha_dropout_(input, p, training=True):
    """`alpha_dropout`, in place."""
    return alpha_dropout(input, p, training, True)


def feature_dropout_(input, p, training=True):
    """`feature_dropout`, in place."""
    return feature_dropout(input, p, training, True)


def feature_alpha_dropout_(input, p, training=True):
    """`feature_alpha_dropout`, in place."""
    return feature_alpha_dropout(input, p, training, True)


def bernoulli(input, p=None, *, generator=None, out=None):
    """Draw 1 with the probabilities of `input` (or p everywhere), else 0, in its shape and dtype.

    Parameters
    ----------
    input : Tensor of float32 or float64
    p : float, optional
        Use this instead of the values of `input`.
    generator : Generator, default the default generator

    Raises
    ------
    RuntimeError
        If a probability is not in [0, 1].

    Notes
    -----
    The draws are the library's own, not torch's.
    """
    cdef Launch L
    cdef Tensor x = as_tensor(input), t
    cdef np.ndarray a = x.array, y
    if p is not None:
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        a = np.full((<object>a).shape, p, (<object>a).dtype if (<object>a).dtype.kind == "f" else np.float64)
    check_real("bernoulli", a)
    a = contiguous(a)
    y = empty_like(a)
    if np.PyArray_SIZE(a):
        begin(&L, BERNOULLI, fn_dtype_of(a))
        put(&L, 0, a)
        put(&L, 1, generator_of(generator).rng)
        put(&L, 2, y)
        L.call.size[0] = np.PyArray_SIZE(a)
        L.call.flops = 16.0 * np.PyArray_SIZE(a)
        L.call.bytes = 2.0 * np.PyArray_NBYTES(a)
        launch(&L)
    if (<object>y).dtype != x.dtype:
        y = (<object>y).astype(x.dtype)
    if out is not None:
        t = as_tensor(out)
        t.touch()
        (<object>t.array)[...] = y
        return out
    return wrap(y)
