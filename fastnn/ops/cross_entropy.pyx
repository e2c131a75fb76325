"""Cross-entropy of logits and negative log likelihood of log-probabilities."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import numpy as np

import fastnn.kernels.loss  # no-cython-lint: declares the kernels
import fastnn.kernels.softmax  # no-cython-lint

from fastnn.core.backward cimport by_formula
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty, empty_1d, empty_like
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wants, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport (
    MEAN, NONE, check_real, check_same_dtype, index_array, is_real, optional, reduction_of, scalar)
from fastnn.ops.layout cimport contiguous

from fastnn.core.tensor import Size
from fastnn.ops.promotion import type_name

__all__ = ["cross_entropy", "nll_loss"]

np.import_array()

cdef const fn_kernel* HARD = kernel_named("cross_entropy_fwd")
cdef const fn_kernel* HARD_BWD = kernel_named("cross_entropy_bwd")
cdef const fn_kernel* SOFT = kernel_named("cross_entropy_soft_fwd")
cdef const fn_kernel* SOFT_BWD = kernel_named("cross_entropy_soft_bwd")
cdef const fn_kernel* NLL = kernel_named("nll_loss_fwd")
cdef const fn_kernel* NLL_BWD = kernel_named("nll_loss_bwd")

# Sizes of a call: x is (N, C, inner), its targets (N, inner).
cdef struct Sizes:
    int reduction
    int64_t N, C, inner, ignore
    double smoothing


cdef inline int set_sizes(Launch* L, const Sizes* s, np.ndarray x) noexcept:
    L.call.size[0], L.call.size[1], L.call.size[2] = s.reduction, s.N, s.C
    L.call.size[3], L.call.size[4] = s.inner, s.ignore
    L.call.scalar[0] = s.smoothing
    L.call.flops = 12.0 * np.PyArray_SIZE(x)
    L.call.bytes = <double>np.PyArray_NBYTES(x)
    return 0


cdef int check_shapes(str op, np.ndarray x, np.ndarray t, Sizes* s) except -1:
    """x (C), t (); x (N, C, d...), t (N, d...)."""
    cdef int i, ndim = np.PyArray_NDIM(x)
    cdef bint fits
    if ndim == 0:
        raise RuntimeError(f"{op}: input expected to have at least 1 axis, got a 0-d tensor")
    if ndim == 1:
        s.N, s.C, s.inner = 1, np.PyArray_DIM(x, 0), 1
        fits = np.PyArray_NDIM(t) == 0 or (np.PyArray_NDIM(t) == 1 and np.PyArray_DIM(t, 0) == 1)
        if not fits:
            raise RuntimeError(f"{op}: 0D or 1D target tensor expected, multi-target not supported (input "
                               f"{Size((<object>x).shape)}, target {Size((<object>t).shape)})")
        return 0
    s.N, s.C, s.inner = np.PyArray_DIM(x, 0), np.PyArray_DIM(x, 1), 1
    fits = np.PyArray_NDIM(t) == ndim - 1 and np.PyArray_DIM(t, 0) == s.N
    for i in range(2, ndim):
        s.inner *= np.PyArray_DIM(x, i)
        fits = fits and np.PyArray_DIM(t, i - 1) == np.PyArray_DIM(x, i)
    if not fits:
        if np.PyArray_NDIM(t) and np.PyArray_DIM(t, 0) != s.N:
            raise ValueError(f"Expected input batch_size ({s.N}) to match target batch_size ({np.PyArray_DIM(t, 0)}). "
                             f"({op}: input {Size((<object>x).shape)}, target {Size((<object>t).shape)})")
        shape = (<object>x).shape
        raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {list((<object>t).shape)} ({op}: input "
                           f"{Size(shape)})")
    return 0


cdef np.ndarray class_weights(str op, Tensor weight, np.ndarray x, int64_t C):
    if weight is None:
        return None
    if np.PyArray_NDIM(weight.array) != 1 or np.PyArray_DIM(weight.array, 0) != C:
        raise RuntimeError(f"{op}: weight tensor should be defined either for all {C} classes or no classes but got weight "
                           f"tensor of shape: {list((<object>weight.array).shape)}")
    check_same_dtype(op, x, weight.array, "weight")
    if wants(weight):
        raise NotImplementedError(f"{op}: no gradient flows into weight; detach() it")
    return contiguous(weight.array)


# ---- cross-entropy, class indices --------------------------------------------------------------------------------
@cython.final
cdef class CrossEntropyBackward(Node):
    """dx = (softmax(x) - onehot(t)) scale.  a: x, b: t, c: weights, d: log-sum-exp of the rows, extra: divisor."""
    cdef Sizes sizes

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, dx = empty_like(x)
        begin(&L, HARD_BWD, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        put(&L, 2, self.c)
        put(&L, 3, self.d)
        put(&L, 4, self.extra)
        grad = contiguous(grad)
        put(&L, 5, grad)
        put(&L, 6, dx)
        set_sizes(&L, &self.sizes, x)
        L.call.bytes *= 2
        launch(&L)
        return dx

    cdef object derivative(self, object grad, tuple wanted):
        return by_formula(self, grad, wanted, "cross_entropy", (self.a,),
                          (shares_of(self.b, self.c, self.a, &self.sizes), optional(self.extra), self.sizes.reduction != NONE,
                           (<object>self.b).shape))


cdef Tensor shares_of(np.ndarray t, np.ndarray w, np.ndarray x, const Sizes* s):
    """The weight of every class's log-probability in the loss, shape (N, C, inner)."""
    return wrap(host_call("class_shares", class_shares, (t, w, x.dtype, s.N, s.C, s.inner, s.ignore, s.smoothing)))


def class_shares(t, w, dtype, N, C, inner, ignore, smoothing):
    t = t.reshape(N, 1, inner)
    taken = t != ignore
    w = (np.ones(C, dtype) if w is None else w).reshape(1, C, 1)
    shares = (np.arange(C).reshape(1, C, 1) == t) * (w * (1 - smoothing)) + w * (smoothing / C)
    return np.ascontiguousarray(shares * taken, dtype)


cdef Tensor hard_cross_entropy(Tensor x, Tensor target, Tensor weight, Sizes s):
    cdef Launch L
    cdef np.ndarray a = x.array, t = target.array, w, loss, lse, total = None
    cdef CrossEntropyBackward node
    check_shapes("cross_entropy", a, t, &s)
    w = class_weights("cross_entropy", weight, a, s.C)
    a = contiguous(a)
    t = index_array(t, "expected target dtype to be Long or Byte")
    if s.reduction == NONE:
        loss = empty(np.PyArray_NDIM(t), np.PyArray_DIMS(t), np.PyArray_TYPE(a))
    else:
        loss = scalar(np.PyArray_TYPE(a))
        if s.reduction == MEAN:
            total = scalar(np.PyArray_TYPE(a))
    lse = empty_1d(s.N * s.inner, np.PyArray_TYPE(a))
    begin(&L, HARD, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, t)
    put(&L, 2, w)
    put(&L, 3, loss)
    put(&L, 4, lse)
    put(&L, 5, total)
    set_sizes(&L, &s, a)
    launch(&L)
    if not recording(x):
        return wrap(loss)
    node = CrossEntropyBackward.__new__(CrossEntropyBackward)
    node.sizes = s
    save_a(node, x)
    save_b(node, target)
    node.a, node.b, node.c, node.d, node.extra = a, t, w, lse, total
    return attach(loss, node, x)


# ---- cross-entropy, class probabilities ---------------------------------------------------------------------------
@cython.final
cdef class SoftCrossEntropyBackward(Node):
    """a: x, b: p, both (rows, C); c: weights, d: log-sum-exp."""
    cdef Sizes sizes

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, dx = None, dp = None
        begin(&L, SOFT_BWD, fn_dtype_of(x))
        if self.nodes[0] is not None:
            dx = empty_like(x)
        if self.nodes[1] is not None:
            dp = empty_like(x)
        put(&L, 0, x)
        put(&L, 1, self.b)
        put(&L, 2, self.c)
        put(&L, 3, self.d)
        grad = contiguous(grad)
        put(&L, 4, grad)
        put(&L, 5, dx)
        put(&L, 6, dp)
        set_sizes(&L, &self.sizes, x)
        launch(&L)
        return dx, dp, None

    cdef object derivative(self, object grad, tuple wanted):
        return by_formula(self, grad, wanted, "soft_cross_entropy", (self.a, self.b),
                          (optional(self.c), self.sizes.smoothing, 1.0 / self.sizes.N if self.sizes.reduction == MEAN else 1.0,
                           self.sizes.reduction != NONE))


cdef Tensor soft_cross_entropy(Tensor x, Tensor target, Tensor weight, Sizes s):
    """Over the last axis of x."""
    cdef Launch L
    cdef np.ndarray a = contiguous(x.array), p = contiguous(target.array), w, loss, lse
    cdef int ndim = np.PyArray_NDIM(a)
    cdef SoftCrossEntropyBackward node
    s.C = np.PyArray_DIM(a, ndim - 1)
    s.N = np.PyArray_SIZE(a) // s.C if s.C else 0
    s.inner, s.ignore = 1, s.N          # the mean divides by the number of rows
    w = class_weights("cross_entropy", weight, a, s.C)
    loss = empty(ndim - 1, np.PyArray_DIMS(a), np.PyArray_TYPE(a)) if s.reduction == NONE else scalar(np.PyArray_TYPE(a))
    lse = empty_1d(s.N, np.PyArray_TYPE(a))
    begin(&L, SOFT, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, p)
    put(&L, 2, w)
    put(&L, 3, loss)
    put(&L, 4, lse)
    set_sizes(&L, &s, a)
    launch(&L)
    if not recording(x, target):
        return wrap(loss)
    node = SoftCrossEntropyBackward.__new__(SoftCrossEntropyBackward)
    node.sizes = s
    save_a(node, x)
    save_b(node, target)
    node.a, node.b, node.c, node.d = a, p, w, lse
    return attach(loss, node, x, target)


def cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
                  label_smoothing=0.0):
    """Negative log likelihood of softmax(input): -log softmax(x)_t for a class index t, -sum_c p_c log softmax(x)_c for
    probabilities p.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Logits.
    target : Tensor
        Class indices of any integer dtype, shape (), (N,) or (N, d1, ...); or probabilities of input's shape and dtype.
    weight : Tensor, shape (C,), optional
        Weight of every class.
    ignore_index : int, default -100
        A class index that takes no part in loss or gradient.
    reduction : {'mean', 'sum', 'none'}
        With indices the mean divides by the sum of the targets' weights (all ignored: nan), with probabilities by the
        number of rows.
    label_smoothing : float in [0, 1], default 0
        Mixes the targets with the uniform distribution.

    Raises
    ------
    IndexError
        If an index is not in [0, C) and not ignore_index.
    RuntimeError, ValueError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.functional.cross_entropy(fastnn.tensor([[1.0, 2.0, 3.0]]), fastnn.tensor([2]))
    tensor(0.4076)
    """
    cdef Tensor x = as_tensor(input), t = as_tensor(target), w = optional(weight)
    cdef Sizes s
    cdef int ndim = np.PyArray_NDIM(x.array)
    s.reduction = reduction_of(reduction, size_average, reduce)
    s.ignore = ignore_index
    s.smoothing = label_smoothing
    if not 0 <= s.smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    check_real("cross_entropy", x.array)
    if ndim and np.PyArray_NDIM(t.array) == ndim and (<object>x.array).shape == (<object>t.array).shape:
        if not is_real(t.array):
            raise RuntimeError("Expected floating point type for target with class probabilities, got "
                               f"{type_name(t.dtype)}")
        if s.ignore >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        if np.PyArray_TYPE(t.array) != np.PyArray_TYPE(x.array):
            raise RuntimeError(f"cross_entropy: class probabilities must have the input's dtype {(<object>x.array).dtype}, "
                               f"got {(<object>t.array).dtype}")
        if ndim > 2:
            x, t = x.movedim(1, -1), t.movedim(1, -1)
        return soft_cross_entropy(x, t, w, s)
    return hard_cross_entropy(x, t, w, s)


# ---- negative log likelihood ---------------------------------------------------------------------------------------
@cython.final
cdef class NllLossBackward(Node):
    """a: x's shape, b: t, c: weights, extra: divisor of the mean."""
    cdef Sizes sizes

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray dx = empty_like(<np.ndarray>self.a)
        begin(&L, NLL_BWD, fn_dtype_of(dx))
        put(&L, 0, self.b)
        put(&L, 1, self.c)
        put(&L, 2, self.extra)
        grad = contiguous(grad)
        put(&L, 3, grad)
        put(&L, 4, dx)
        set_sizes(&L, &self.sizes, dx)
        launch(&L)
        return dx

    cdef object derivative(self, object grad, tuple wanted):
        return by_formula(self, grad, wanted, "nll_loss", (self.a,),
                          (shares_of(self.b, self.c, self.a, &self.sizes), optional(self.extra), self.sizes.reduction != NONE,
                           (<object>self.b).shape))


def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """Negative log likelihood -w_t x_t of log-probabilities x.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Log-probabilities.
    target, weight, ignore_index, reduction
        As `cross_entropy`, indices only.
    """
    cdef Launch L
    cdef Tensor x = as_tensor(input), target_ = as_tensor(target), weight_ = optional(weight)
    cdef np.ndarray a = x.array, t = target_.array, w, loss, total = None
    cdef Sizes s
    cdef NllLossBackward node
    s.reduction = reduction_of(reduction, size_average, reduce)
    s.ignore = ignore_index
    s.smoothing = 0
    check_real("nll_loss", a)
    check_shapes("nll_loss", a, t, &s)
    w = class_weights("nll_loss", weight_, a, s.C)
    a = contiguous(a)
    t = index_array(t, "expected target dtype to be Long or Byte")
    if s.reduction == NONE:
        loss = empty(np.PyArray_NDIM(t), np.PyArray_DIMS(t), np.PyArray_TYPE(a))
    else:
        loss = scalar(np.PyArray_TYPE(a))
        if s.reduction == MEAN:
            total = scalar(np.PyArray_TYPE(a))
    begin(&L, NLL, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, t)
    put(&L, 2, w)
    put(&L, 3, loss)
    put(&L, 4, total)
    set_sizes(&L, &s, a)
    launch(&L)
    if not recording(x):
        return wrap(loss)
    node = NllLossBackward.__new__(NllLossBackward)
    node.sizes = s
    save_b(node, target_)
    node.a, node.b, node.c, node.extra = a, t, w, total
    return attach(loss, node, x)
