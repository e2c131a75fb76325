"""Pointwise losses: csrc/loss.def has the formulas, one kernel call is loss and reduction in one pass."""
cimport cython
cimport numpy as np
from libc.math cimport log, pi

import warnings

import numpy as np

import fastnn.kernels.loss  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_formula
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty_like
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, save_c, wants, wrap
from fastnn.kernels.loss cimport (
    FN_LOSS_binary_cross_entropy, FN_LOSS_binary_cross_entropy_with_logits, FN_LOSS_binary_cross_entropy_with_pos_weight,
    FN_LOSS_cosine_embedding, FN_LOSS_gaussian_nll, FN_LOSS_hinge_embedding, FN_LOSS_huber, FN_LOSS_kl_div,
    FN_LOSS_kl_div_log_target, FN_LOSS_l1, FN_LOSS_margin_ranking, FN_LOSS_mse, FN_LOSS_poisson_nll,
    FN_LOSS_poisson_nll_rate, FN_LOSS_smooth_l1, FN_LOSS_soft_margin, FN_LOSS_triplet_margin,
    FN_LOSS_triplet_margin_swap, FN_LOSSES)
from fastnn.kernels.native cimport fn_kernel, kernel_named, table
from fastnn.ops.arguments cimport MEAN, NONE, SUM, broadcast, check_real, is_real, optional, reduction_of, scalar, unbroadcast
from fastnn.ops.layout cimport contiguous, sum_to_shape

from fastnn.core.tensor import Size
from fastnn.ops.arguments import legacy_reduction
from fastnn.ops.promotion import type_name

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "gaussian_nll_loss", "hinge_embedding_loss",
           "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss", "multilabel_soft_margin_loss",
           "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss"]

np.import_array()

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_loss_table:
        const char* name[64]
    ctypedef struct tables "fn_table":
        const fn_loss_table* loss[2]

cdef const fn_kernel* FORWARD[64]
cdef const fn_kernel* BACKWARD[64]
cdef int line
for line in range(FN_LOSSES):
    FORWARD[line] = kernel_named((<const tables*>table).loss[0].name[line].decode() + "_fwd")
    BACKWARD[line] = kernel_named((<const tables*>table).loss[0].name[line].decode() + "_bwd")


@cython.final
cdef class PointwiseLossBackward(Node):
    """a, b, c: the operands x, t, z; d: weights; extra: what a weighted mean was divided by."""
    cdef int loss, reduction
    cdef bint weighted_mean
    cdef double p, q, scale
    cdef tuple shape_x, shape_t, shape_z        # before broadcasting

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, g = contiguous(grad), dx = None, dt = None, dz = None
        if self.nodes[0] is not None:
            dx = empty_like(x)
        if self.nodes[1] is not None:
            dt = empty_like(x)
        if self.nodes[2] is not None:
            dz = empty_like(x)
        begin(&L, BACKWARD[self.loss], fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        put(&L, 2, self.c)
        put(&L, 3, self.d)
        put(&L, 4, self.extra)
        put(&L, 5, g)
        put(&L, 6, dx)
        put(&L, 7, dt)
        put(&L, 8, dz)
        set_sizes(&L, x, self.loss, self.reduction, self.weighted_mean, self.p, self.q, self.scale)
        launch(&L)
        return (None if dx is None else sum_to_shape(dx, self.shape_x),
                None if dt is None else sum_to_shape(dt, self.shape_t),
                None if dz is None else sum_to_shape(dz, self.shape_z))

    cdef object derivative(self, object grad, tuple wanted):
        cdef str name = (<const tables*>table).loss[0].name[self.loss].decode()
        return by_formula(self, grad, wanted, "pointwise_loss",
                          (unbroadcast(self.a, self.shape_x), unbroadcast(self.b, self.shape_t), unbroadcast(self.c, self.shape_z)),
                          (name, self.p, self.q, self.reduction != NONE, self.scale, optional(self.d), optional(self.extra)))


cdef inline int set_sizes(Launch* L, np.ndarray x, int loss, int reduction, bint weighted_mean, double p, double q,
                          double scale) noexcept:
    L.call.size[0], L.call.size[1] = reduction, np.PyArray_SIZE(x)
    L.call.size[2], L.call.size[3] = loss, weighted_mean
    L.call.scalar[0], L.call.scalar[1], L.call.scalar[2] = p, q, scale
    L.call.flops = 10.0 * np.PyArray_SIZE(x)
    L.call.bytes = 3.0 * np.PyArray_NBYTES(x)
    return 0


cdef inline tuple shape_of(np.ndarray a):
    return (<object>a).shape


cdef np.ndarray operand(str op, Tensor t, int typenum, tuple shape):
    """t's array in the input's dtype (integers are converted), broadcast, in C order."""
    cdef np.ndarray a
    if t is None:
        return None
    a = t.array
    if np.PyArray_TYPE(a) != typenum:
        if is_real(a):
            expected = "Float" if typenum == np.NPY_FLOAT32 else "Double"
            raise RuntimeError(f"Found dtype {type_name((<object>a).dtype)} but expected {expected} ({op}: convert one of the "
                               "operands, e.g. "
                               f"target.astype('{'float32' if typenum == np.NPY_FLOAT32 else 'float64'}'))")
        a = host_call("astype", to_float32 if typenum == np.NPY_FLOAT32 else to_float64, (a,))
    return broadcast(a, shape)


def to_float32(a):
    return np.asarray(a.astype(np.float32))


def to_float64(a):
    return np.asarray(a.astype(np.float64))


cdef tuple common_shape(str op, Tensor x, Tensor t, Tensor z):
    cdef tuple shape = shape_of(x.array), other = shape_of(t.array)
    if other == shape and (z is None or shape_of(z.array) == shape):
        return shape
    try:
        return np.broadcast_shapes(shape, other, *(() if z is None else (shape_of(z.array),)))
    except ValueError:
        sizes = [Size(shape), Size(other)] + ([] if z is None else [Size(shape_of(z.array))])
        raise RuntimeError(f"{op}: the sizes of the operands must match or broadcast, got {sizes}") from None


cdef Tensor pointwise(str op, int loss, Tensor x, Tensor t, Tensor z, Tensor weight, int reduction, double p, double q,
                      bint weighted_mean=False, double divisor=0):
    """The loss on operands x, t, z; the sum is divided by `divisor` (0: by the number of elements for the mean)."""
    cdef Launch L
    cdef tuple shape = common_shape(op, x, t, z)
    cdef int kind = np.PyArray_TYPE(x.array)
    cdef np.ndarray a, b, c, w, y, total = None
    cdef PointwiseLossBackward node
    check_real(op, x.array)
    a = broadcast(x.array, shape)
    b = operand(op, t, kind, shape)
    c = operand(op, z, kind, shape)
    w = operand(op, weight, kind, shape)
    if weight is not None and wants(weight):
        raise NotImplementedError(f"{op}: no gradient flows into weight; detach() it, or multiply the loss of "
                                  "reduction='none' by it")
    if divisor == 0 and reduction == MEAN:
        divisor = 1 if weighted_mean else <double>np.PyArray_SIZE(a)
    cdef double scale = 1.0 / divisor if reduction == MEAN or divisor != 0 else 1.0
    y = empty_like(a) if reduction == NONE else scalar(kind)
    if weighted_mean:
        total = scalar(kind)
    begin(&L, FORWARD[loss], fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, b)
    put(&L, 2, c)
    put(&L, 3, w)
    put(&L, 4, y)
    put(&L, 5, total)
    set_sizes(&L, a, loss, reduction, weighted_mean, p, q, scale)
    launch(&L)
    if not recording(x, t, z):
        return wrap(y)
    node = PointwiseLossBackward.__new__(PointwiseLossBackward)
    node.loss, node.reduction, node.weighted_mean = loss, reduction, weighted_mean
    node.p, node.q, node.scale = p, q, scale
    node.shape_x, node.shape_t = shape_of(x.array), shape_of(t.array)
    save_a(node, x)
    save_b(node, t)
    if z is not None:
        node.shape_z = shape_of(z.array)
        save_c(node, z)
    node.a, node.b, node.c, node.d, node.extra = a, b, c, w, total
    return attach(y, node, x, t, z)


cdef int warn_of_broadcast(np.ndarray x, np.ndarray t) except -1:
    if shape_of(x) != shape_of(t):
        warnings.warn(f"Using a target size ({Size(shape_of(t))}) that is different to the input size ({Size(shape_of(x))}). "
                      "This will likely lead to incorrect results due to broadcasting. "
                      "Please ensure they have the same size.", stacklevel=2)
    return 0


cdef Tensor error_loss(str op, int loss, object input, object target, object weight, object reduction, double p,
                       object size_average, object reduce):
    """A loss of input - target: broadcasting warns, weights turn the mean into a weighted one."""
    cdef Tensor x = as_tensor(input), t = as_tensor(target), w = optional(weight)
    warn_of_broadcast(x.array, t.array)
    cdef int how = reduction_of(reduction, size_average, reduce)
    if w is not None and shape_of(w.array) != shape_of(x.array):
        raise ValueError("Weights and input must have the same size.")
    return pointwise(op, loss, x, t, None, w, how, p, 0, w is not None and how == MEAN and loss != FN_LOSS_huber)


def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """Mean squared error: (x - t)^2, averaged, summed or as it is.

    Parameters
    ----------
    input, target : Tensor
        Of the same shape; unequal shapes broadcast with a warning.
    size_average, reduce : deprecated
        Old spelling of `reduction`.
    reduction : {'mean', 'sum', 'none'}
    weight : Tensor of input's shape, optional
        Factor of every element; the mean divides by the sum of the weights.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.functional.mse_loss(fastnn.tensor([1.0, 3.0]), fastnn.tensor([1.0, 1.0]))
    tensor(2.)
    """
    return error_loss("mse_loss", FN_LOSS_mse, input, target, weight, reduction, 0, size_average, reduce)


def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """Absolute error |x - t|, with slope 0 where x = t; arguments as `mse_loss`."""
    return error_loss("l1_loss", FN_LOSS_l1, input, target, weight, reduction, 0, size_average, reduce)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """Absolute error with a parabola at the bottom: d^2 / (2 beta) for |d| < beta, else |d| - beta / 2.

    Parameters as `mse_loss`; beta = 0 is `l1_loss`.
    """
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    return error_loss("smooth_l1_loss", FN_LOSS_l1 if beta == 0 else FN_LOSS_smooth_l1, input, target, None, reduction,
                      beta, size_average, reduce)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """Huber's loss: d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2); arguments as `mse_loss`.

    The mean divides by the number of elements, also with weights.
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    return error_loss("huber_loss", FN_LOSS_huber, input, target, weight, reduction, delta, None, None)


def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """Cross-entropy of probabilities: -(t log x + (1 - t) log(1 - x)), the logarithms not below -100.

    Parameters
    ----------
    input, target : Tensor
        Of one shape, elements in [0, 1].
    weight : Tensor, optional
        Factor of every element; broadcast to input's shape.
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        If the shapes differ.
    RuntimeError
        If an element is outside [0, 1].
    """
    cdef Tensor x = as_tensor(input), t = as_tensor(target)
    cdef int how = reduction_of(reduction, size_average, reduce)
    if shape_of(x.array) != shape_of(t.array):
        raise ValueError(f"Using a target size ({Size(shape_of(t.array))}) that is different to the input size "
                         f"({Size(shape_of(x.array))}) is deprecated. Please ensure they have the same size.")
    return pointwise("binary_cross_entropy", FN_LOSS_binary_cross_entropy, x, t, None,
                     fitting("binary_cross_entropy", optional(weight), x), how, 0, 0)


cdef Tensor fitting(str op, Tensor weight, Tensor x):
    """weight, which must broadcast to x's shape."""
    if weight is not None:
        try:
            np.broadcast_to(weight.array, shape_of(x.array))
        except ValueError:
            raise RuntimeError(f"{op}: output with shape {list(shape_of(x.array))} doesn't match the broadcast shape of "
                               f"weight {list(shape_of(weight.array))}") from None
    return weight


def binary_cross_entropy_with_logits(input, target, weight=None, size_average=None, reduce=None, reduction="mean",
                                     pos_weight=None):
    """Cross-entropy of sigmoid(x): (1 - t) x + (1 + (pos_weight - 1) t) log(1 + exp(-x)), without overflow.

    Parameters
    ----------
    input, target : Tensor
        Of one shape.
    weight : Tensor, optional
        Factor of every element; broadcast to input's shape.
    reduction : {'mean', 'sum', 'none'}
    pos_weight : Tensor, optional
        Factor of the positive term; broadcast to input's shape.
    """
    cdef Tensor x = as_tensor(input), t = as_tensor(target), z = optional(pos_weight)
    cdef str op = "binary_cross_entropy_with_logits"
    cdef int how = reduction_of(reduction, size_average, reduce)
    if shape_of(x.array) != shape_of(t.array):
        raise ValueError(f"Target size ({Size(shape_of(t.array))}) must be the same as input size "
                         f"({Size(shape_of(x.array))})")
    return pointwise(op, FN_LOSS_binary_cross_entropy_with_logits if z is None else
                     FN_LOSS_binary_cross_entropy_with_pos_weight, x, t, fitting(op, z, x),
                     fitting(op, optional(weight), x), how, 0, 0)


def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """Kullback-Leibler divergence t (log t - x) of log-probabilities x from t (or from exp t, with log_target).

    Parameters
    ----------
    input : Tensor
        Log-probabilities.
    target : Tensor
        Probabilities, or their logarithms with log_target=True.
    reduction : {'mean', 'batchmean', 'sum', 'none'}
        'batchmean' divides the sum by the first size: the mathematical definition.  'mean' divides by the number of
        elements, and warns.
    """
    cdef Tensor x = as_tensor(input), t = as_tensor(target)
    cdef double divisor = 0
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    elif reduction == "mean":
        warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support size."
                      "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
                      "'mean' will be changed to behave the same as 'batchmean' in the next major release.", stacklevel=2)
    elif reduction == "batchmean":
        reduction = "sum"
        divisor = <double>np.PyArray_DIM(x.array, 0) if np.PyArray_NDIM(x.array) else 1
    return pointwise("kl_div", FN_LOSS_kl_div_log_target if log_target else FN_LOSS_kl_div, x, t, None, None,
                     reduction_of(reduction), 0, 0, False, divisor)


def poisson_nll_loss(input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
                     reduction="mean"):
    """Negative log likelihood of Poisson counts: exp(x) - t x, or x - t log(x + eps) where x is the rate itself.

    Parameters
    ----------
    log_input : bool, default True
        x is the logarithm of the rate.
    full : bool, default False
        Add Stirling's approximation of log t! where t > 1.
    eps : float, default 1e-8
    reduction : {'mean', 'sum', 'none'}
    """
    return pointwise("poisson_nll_loss", FN_LOSS_poisson_nll if log_input else FN_LOSS_poisson_nll_rate, as_tensor(input),
                     as_tensor(target), None, None, reduction_of(reduction, size_average, reduce), eps, 1 if full else 0)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """Negative log likelihood of a Gaussian: (log v + (x - t)^2 / v) / 2, v = max(var, eps).

    Parameters
    ----------
    input, target : Tensor
    var : Tensor or float
        Variance: of input's shape, without its last axis, with one axis of size 1, or a number.
    full : bool, default False
        Add log(2 pi) / 2.
    eps : float, default 1e-6
    reduction : {'mean', 'sum', 'none'}

    Raises
    ------
    ValueError
        If a variance is negative or its shape does not fit.
    """
    cdef Tensor x = as_tensor(input), t = as_tensor(target), v
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        v = wrap(np.full(shape_of(x.array), var, (<object>x.array).dtype))
    else:
        v = as_tensor(var)
        if (v.array < 0).any():
            raise ValueError("var has negative entry/entries")
    shape, other = shape_of(x.array), shape_of(v.array)
    if other != shape:
        if other == shape[:-1]:
            v = v.unsqueeze(-1)
        elif not (len(other) == len(shape) and sum(b for a, b in zip(shape, other) if a != b) == 1):
            raise ValueError("var is of incorrect size")
    return pointwise("gaussian_nll_loss", FN_LOSS_gaussian_nll, x, t, v, None, reduction_of(reduction), eps,
                     0.5 * log(2 * pi) if full else 0)


def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """x where target = 1, max(0, margin - x) where target = -1."""
    return pointwise("hinge_embedding_loss", FN_LOSS_hinge_embedding, as_tensor(input), as_tensor(target), None, None,
                     reduction_of(reduction, size_average, reduce), margin, 0)


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """Logistic loss log(1 + exp(-t x)) for targets 1 and -1."""
    return pointwise("soft_margin_loss", FN_LOSS_soft_margin, as_tensor(input), as_tensor(target), None, None,
                     reduction_of(reduction, size_average, reduce), 0, 0)


def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """max(0, margin - t (x1 - x2)): target 1 wants x1 above x2, -1 below.

    Raises
    ------
    RuntimeError
        If the three tensors differ in their number of axes.
    """
    cdef Tensor x = as_tensor(input1), y = as_tensor(input2), t = as_tensor(target)
    cdef int how = reduction_of(reduction, size_average, reduce)
    if not x.array.ndim == y.array.ndim == t.array.ndim:
        raise RuntimeError("margin_ranking_loss : All input tensors should have same dimension but got sizes: "
                           f"input1: {x.shape}, input2: {y.shape}, target: {t.shape} ")
    return pointwise("margin_ranking_loss", FN_LOSS_margin_ranking, x, y, t, None, how, margin, 0)


def cosine_margin_loss(cosine, target, double margin, reduction):
    """1 - cosine where target = 1, max(0, cosine - margin) where target = -1."""
    return pointwise("cosine_embedding_loss", FN_LOSS_cosine_embedding, as_tensor(cosine), as_tensor(target), None, None,
                     reduction_of(reduction), margin, 0)


def triplet_loss_of_distances(positive, negative, swapped, double margin, reduction):
    """max(0, margin + d(a, p) - d(a, n)), with `swapped` = d(p, n) the smaller of the last two."""
    return pointwise("triplet_margin_loss", FN_LOSS_triplet_margin if swapped is None else FN_LOSS_triplet_margin_swap,
                     as_tensor(positive), as_tensor(negative), optional(swapped), None, reduction_of(reduction), margin, 0)


def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """Cross-entropy of sigmoid(x) with targets in {0, 1}, averaged over the classes (last axis).

    Parameters
    ----------
    input, target : Tensor, shape (N, C) or (C,)
    weight : Tensor, shape (C,), optional
    reduction : {'mean', 'sum', 'none'}
        Over the N rows.
    """
    cdef Tensor x = as_tensor(input), t = as_tensor(target), y
    cdef str op = "multilabel_soft_margin_loss"
    cdef int how = reduction_of(reduction, size_average, reduce)
    cdef double classes = <double>(<object>x.array).shape[-1]
    y = pointwise(op, FN_LOSS_binary_cross_entropy_with_logits, x, t, None, fitting(op, optional(weight), x), how, 0, 0,
                  False, classes if how == SUM else 0)
    return y.mean(-1) if how == NONE else y
