"""Losses of a row of scores against class labels (multi-class margins), and CTC."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import numpy as np

import fastnn.kernels.loss  # no-cython-lint: declares the kernels

from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.storage cimport empty, empty_1d, empty_like
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport NONE, check_real, check_same_dtype, index_array, optional, reduction_of, scalar
from fastnn.ops.layout cimport contiguous

from fastnn.core.tensor import Size

__all__ = ["ctc_loss", "multi_margin_loss", "multilabel_margin_loss"]

np.import_array()

cdef const fn_kernel* MULTI_MARGIN = kernel_named("multi_margin_fwd")
cdef const fn_kernel* MULTI_MARGIN_BWD = kernel_named("multi_margin_bwd")
cdef const fn_kernel* MULTILABEL_MARGIN = kernel_named("multilabel_margin_fwd")
cdef const fn_kernel* MULTILABEL_MARGIN_BWD = kernel_named("multilabel_margin_bwd")
cdef const fn_kernel* CTC = kernel_named("ctc_loss_fwd")
cdef const fn_kernel* CTC_BWD = kernel_named("ctc_loss_bwd")


cdef np.ndarray rows_or_scalar(int reduction, np.ndarray x, int64_t rows):
    """The output: one value per row (0-d for an unbatched input), or one value."""
    if reduction == NONE and np.PyArray_NDIM(x) > 1:
        return empty_1d(rows, np.PyArray_TYPE(x))
    return scalar(np.PyArray_TYPE(x))


@cython.final
cdef class MarginBackward(Node):
    """a: x, b: t, c: weights (one class) or marks (list of classes)."""
    cdef bint many
    cdef int reduction, power
    cdef int64_t rows, C
    cdef double margin

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, dx = empty_like(x)
        begin(&L, MULTILABEL_MARGIN_BWD if self.many else MULTI_MARGIN_BWD, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        put(&L, 2, self.c)
        grad = contiguous(grad)
        put(&L, 3, grad)
        put(&L, 4, dx)
        L.call.size[0], L.call.size[1], L.call.size[2], L.call.size[3] = self.reduction, self.rows, self.C, self.power
        L.call.scalar[0] = self.margin
        L.call.flops = 4.0 * np.PyArray_SIZE(x)
        launch(&L)
        return dx


cdef Tensor margin_loss(str op, Tensor x, Tensor target, np.ndarray t, Tensor weight, bint many, int reduction, int power,
                        double margin):
    cdef Launch L
    cdef np.ndarray a = contiguous(x.array), extra = None, loss
    cdef int ndim = np.PyArray_NDIM(a)
    cdef int64_t C = np.PyArray_DIM(a, ndim - 1) if ndim else 1
    cdef int64_t rows = np.PyArray_DIM(a, 0) if ndim > 1 else 1
    cdef MarginBackward node
    if weight is not None:
        check_same_dtype(op, a, weight.array, "weight")
        if (<object>weight.array).shape != (C,):
            raise RuntimeError(f"inconsistent weight size, expected {C} but got {list((<object>weight.array).shape)}")
        extra = contiguous(weight.array)
    if many:
        extra = empty_like(a)
    loss = rows_or_scalar(reduction, a, rows)
    begin(&L, MULTILABEL_MARGIN if many else MULTI_MARGIN, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, t)
    put(&L, 2, extra)
    put(&L, 3, loss)
    L.call.size[0], L.call.size[1], L.call.size[2], L.call.size[3] = reduction, rows, C, power
    L.call.scalar[0] = margin
    L.call.flops = 4.0 * np.PyArray_SIZE(a)
    launch(&L)
    if not recording(x):
        return wrap(loss)
    node = MarginBackward.__new__(MarginBackward)
    node.many, node.reduction, node.power, node.rows, node.C, node.margin = many, reduction, power, rows, C, margin
    save_a(node, x)
    save_b(node, target)
    node.a, node.b, node.c = a, t, extra
    return attach(loss, node, x)


def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"):
    """sum over c != t of max(0, margin - x_t + x_c)^p / C, times w_t.

    Parameters
    ----------
    input : Tensor, shape (N, C) or (C,)
    target : Tensor of integers, shape (N,) or ()
    p : {1, 2}
    margin : float, default 1
    weight : Tensor, shape (C,), optional
    reduction : {'mean', 'sum', 'none'}
    """
    cdef Tensor x = as_tensor(input), t = as_tensor(target), w = optional(weight)
    cdef int how = reduction_of(reduction, size_average, reduce)
    if p != 1 and p != 2:
        raise ValueError("only p == 1 and p == 2 supported")
    if w is not None and w.array.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    check_real("multi_margin_loss", x.array)
    ndim, shape = x.array.ndim, (<object>x.array).shape
    if ndim > 2 or (<object>x.array).size == 0:
        raise RuntimeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(shape)}")
    rows = shape[0] if ndim == 2 else 1
    if t.array.ndim > 1 or t.array.size != rows:
        raise RuntimeError(f"inconsistent target size, expected {rows} but got {list(t.shape)}")
    return margin_loss("multi_margin_loss", x, t, index_array(t.array, "expected target dtype to be Long"), w, False, how,
                       p, margin)


def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """sum over listed classes k and unlisted c of max(0, 1 - x_k + x_c) / C.

    Parameters
    ----------
    input : Tensor, shape (N, C) or (C,)
    target : Tensor of integers of the same shape
        Class indices; the first -1 ends a row's list.
    reduction : {'mean', 'sum', 'none'}
    """
    cdef Tensor x = as_tensor(input), t = as_tensor(target)
    cdef int how = reduction_of(reduction, size_average, reduce)
    check_real("multilabel_margin_loss", x.array)
    shape = (<object>x.array).shape
    if len(shape) > 2 or (<object>x.array).size == 0:
        raise RuntimeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(shape)}")
    if (<object>t.array).shape != shape:
        raise RuntimeError(f"inconsistent target size: {list(t.shape)} for input of size: {list(shape)}")
    return margin_loss("multilabel_margin_loss", x, t, index_array(t.array, "expected target dtype to be Long"), None, True,
                       how, 1, 1)


# ---- CTC ----------------------------------------------------------------------------------------------------------
@cython.final
cdef class CtcLossBackward(Node):
    """a: log-probabilities; extra: the other arrays of the call."""
    cdef int reduction
    cdef int64_t T, N, C, longest, blank
    cdef bint zero_infinity

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray p = self.a, dp = empty_like(p)
        cdef int i
        begin(&L, CTC_BWD, fn_dtype_of(p))
        put(&L, 0, p)
        for i in range(6):
            put(&L, 1 + i, self.extra[i])
        grad = contiguous(grad)
        put(&L, 7, grad)
        put(&L, 8, dp)
        ctc_sizes(&L, self)
        launch(&L)
        return dp


cdef int ctc_sizes(Launch* L, CtcLossBackward n) noexcept:
    L.call.size[0], L.call.size[1], L.call.size[2], L.call.size[3] = n.reduction, n.T, n.N, n.C
    L.call.size[4], L.call.size[5], L.call.size[6] = n.longest, n.blank, n.zero_infinity
    L.call.flops = 40.0 * n.T * n.N * (2 * n.longest + 1)
    L.call.bytes = 8.0 * n.T * n.N * (2 * n.longest + 1 + n.C)
    return 0


def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """Connectionist temporal classification: -log of the probability of all alignments of a label sequence.

    Parameters
    ----------
    log_probs : Tensor, shape (T, N, C) or (T, C)
        Log-probabilities, outputs of `log_softmax`: the gradient assumes it.
    targets : Tensor of integers, shape (N, S) or (sum of target_lengths,)
        Labels, padded or concatenated; the blank may not occur.
    input_lengths, target_lengths : Tensor of integers or tuple, shape (N,) or ()
    blank : int, default 0
    reduction : {'mean', 'sum', 'none'}
        The mean is over the losses divided by the target lengths.
    zero_infinity : bool, default False
        Take 0 for an infinite loss (a target too long for its input) and its gradient.

    References
    ----------
    Graves et al., Connectionist temporal classification, ICML 2006.
    """
    cdef Launch L
    cdef Tensor x = as_tensor(log_probs), labels = as_tensor(targets)
    cdef np.ndarray p = x.array, t, first, lengths, label_lengths, alpha, nll, loss
    cdef CtcLossBackward node = CtcLossBackward.__new__(CtcLossBackward)
    cdef np.npy_intp[3] shape
    cdef bint batched = np.PyArray_NDIM(p) == 3
    node.reduction = reduction_of(reduction)
    check_real("ctc_loss", p)
    if np.PyArray_NDIM(p) not in (2, 3):
        raise RuntimeError(f"ctc_loss: log_probs must be (T, N, C) or (T, C), got {Size((<object>p).shape)}")
    p = contiguous(p)
    node.T, node.C = np.PyArray_DIM(p, 0), np.PyArray_DIM(p, 2 if batched else 1)
    node.N = np.PyArray_DIM(p, 1) if batched else 1
    if not 0 <= blank < node.C:
        raise RuntimeError("blank must be in label range")
    t = index_array(labels.array, "targets must be integers")
    lengths = length_array("input_lengths", input_lengths, node.N)
    label_lengths = length_array("target_lengths", target_lengths, node.N)
    first = first_labels(t, label_lengths, node.N)
    if node.N and (<object>lengths).max() > node.T or node.N and (<object>lengths).min() < 0:
        raise RuntimeError(f"Expected input_lengths to have value at most {node.T}, but got value "
                           f"{(<object>lengths).max()} (while checking arguments for ctc_loss)")
    if np.PyArray_SIZE(t) and ((<object>t).max() >= node.C or (<object>t).min() < 0) and outside(t, first, label_lengths, node.C):
        raise IndexError(f"ctc_loss: targets must be in [0, {node.C})")
    node.longest = (<object>label_lengths).max() if node.N else 0
    node.blank, node.zero_infinity = blank, zero_infinity
    shape[0], shape[1], shape[2] = node.N, node.T, 2 * node.longest + 1
    alpha = empty(3, shape, np.NPY_FLOAT64)
    nll = empty_1d(node.N, np.NPY_FLOAT64)
    loss = empty_1d(node.N, np.PyArray_TYPE(p)) if node.reduction == NONE and batched else scalar(np.PyArray_TYPE(p))
    begin(&L, CTC, fn_dtype_of(p))
    put(&L, 0, p)
    put(&L, 1, t)
    put(&L, 2, first)
    put(&L, 3, lengths)
    put(&L, 4, label_lengths)
    put(&L, 5, alpha)
    put(&L, 6, nll)
    put(&L, 7, loss)
    ctc_sizes(&L, node)
    launch(&L)
    if not recording(x):
        return wrap(loss)
    save_a(node, x)
    node.a = p
    node.extra = (t, first, lengths, label_lengths, alpha, nll)
    return attach(loss, node, x)


cdef np.ndarray length_array(str name, object lengths, int64_t N):
    cdef object a = lengths.array if isinstance(lengths, Tensor) else np.asarray(lengths)
    if a.dtype.kind not in "iu":
        raise RuntimeError(f"{name} must be integral")
    a = np.ascontiguousarray(a, np.int64).reshape(-1)
    if len(a) != N:
        raise RuntimeError(f"{name} must be of size batch_size")
    return a


cdef np.ndarray first_labels(np.ndarray t, np.ndarray lengths, int64_t N):
    """Where each sequence's labels begin in t."""
    longest = (<object>lengths).max() if N else 0
    if N and (<object>lengths).min() < 0:
        raise RuntimeError("Expected target_lengths to have values of at least 0")
    if np.PyArray_NDIM(t) == 2:
        if np.PyArray_DIM(t, 0) != N or np.PyArray_DIM(t, 1) < longest:
            raise RuntimeError(f"Expected tensor to have size {N} at dimension 0 and size at least {longest} at dimension 1, "
                               f"but got size {Size((<object>t).shape)} for argument targets (ctc_loss)")
        return np.arange(N, dtype=np.int64) * np.PyArray_DIM(t, 1)
    if np.PyArray_NDIM(t) != 1:
        raise RuntimeError("ctc_loss: targets must be 1- or 2-dimensional")
    ends = np.cumsum(lengths)
    if np.PyArray_DIM(t, 0) != (ends[-1] if N else 0):
        raise RuntimeError(f"Expected tensor to have size {ends[-1] if N else 0} at dimension 0, but got size "
                           f"{np.PyArray_DIM(t, 0)} for argument targets (ctc_loss)")
    return np.ascontiguousarray(ends - lengths, np.int64)


def outside(t, first, lengths, C):
    """Is a label in use (not padding) outside [0, C)?"""
    flat = t.reshape(-1)
    return any(((flat[f:f + n] < 0) | (flat[f:f + n] >= C)).any() for f, n in zip(first, lengths))
