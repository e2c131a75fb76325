"""Distances and cosines between vectors, unit vectors, and the losses made of them."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import numpy as np

import fastnn.kernels.distance  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_formula
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.storage cimport empty, empty_like
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport axis_of, broadcast, check_real, check_same_dtype, reduction_of, unbroadcast
from fastnn.ops.layout cimport contiguous, sum_to_shape

from fastnn.core.tensor import Size
from fastnn.ops.arguments import legacy_reduction
from fastnn.ops.loss import cosine_margin_loss, triplet_loss_of_distances

__all__ = ["cosine_embedding_loss", "cosine_similarity", "normalize", "pairwise_distance", "pdist",
           "triplet_margin_loss", "triplet_margin_with_distance_loss"]

np.import_array()

cdef const fn_kernel* DISTANCE = kernel_named("pairwise_distance_fwd")
cdef const fn_kernel* DISTANCE_BWD = kernel_named("pairwise_distance_bwd")
cdef const fn_kernel* COSINE = kernel_named("cosine_fwd")
cdef const fn_kernel* COSINE_BWD = kernel_named("cosine_bwd")
cdef const fn_kernel* UNIT = kernel_named("normalize_fwd")
cdef const fn_kernel* UNIT_BWD = kernel_named("normalize_bwd")


cdef inline int set_sizes(Launch* L, np.ndarray x, int64_t inside, double p, double eps) noexcept:
    """x is cut into rows along its last axis."""
    cdef int64_t n = np.PyArray_DIM(x, np.PyArray_NDIM(x) - 1)
    L.call.size[0], L.call.size[1], L.call.size[2] = np.PyArray_SIZE(x) // n if n else 0, n, inside
    L.call.scalar[0], L.call.scalar[1] = p, eps
    L.call.flops = 6.0 * np.PyArray_SIZE(x)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(x)
    return 0


@cython.final
cdef class PairBackward(Node):
    """Distance or cosine of rows.  a: x, b: y, c: distances."""
    cdef bint cosine, inside
    cdef double p, eps
    cdef tuple shape_x, shape_y         # before broadcasting

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, dx = None, dy = None
        cdef int i = 0
        if self.nodes[0] is not None:
            dx = empty_like(x)
        if self.nodes[1] is not None:
            dy = empty_like(x)
        begin(&L, COSINE_BWD if self.cosine else DISTANCE_BWD, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        if not self.cosine:
            put(&L, 2, self.c)
            i = 1
        grad = contiguous(grad)
        put(&L, 2 + i, grad)
        put(&L, 3 + i, dx)
        put(&L, 4 + i, dy)
        set_sizes(&L, x, self.inside, self.p, self.eps)
        launch(&L)
        return (None if dx is None else sum_to_shape(dx, self.shape_x),
                None if dy is None else sum_to_shape(dy, self.shape_y), None)

    cdef object derivative(self, object grad, tuple wanted):
        return by_formula(self, grad, wanted, "pair", (unbroadcast(self.a, self.shape_x), unbroadcast(self.b, self.shape_y)),
                          (self.cosine, self.inside, self.p, self.eps))


cdef Tensor of_pairs(str op, bint cosine, Tensor x, Tensor y, bint inside, double p, double eps):
    """A number for every pair of rows along the last axis; shapes broadcast."""
    cdef Launch L
    cdef np.ndarray a, b, out
    cdef PairBackward node
    check_real(op, x.array)
    check_same_dtype(op, x.array, y.array, "both inputs")
    cdef tuple shape_x = (<object>x.array).shape, shape_y = (<object>y.array).shape
    try:
        shape = shape_x if shape_x == shape_y else np.broadcast_shapes(shape_x, shape_y)
    except ValueError:
        raise RuntimeError(f"{op}: the sizes of the inputs must match or broadcast, got {Size(shape_x)} and "
                           f"{Size(shape_y)}") from None
    if not shape:
        raise RuntimeError(f"{op}: inputs must have at least one axis")
    a, b = broadcast(x.array, shape), broadcast(y.array, shape)
    out = empty(np.PyArray_NDIM(a) - 1, np.PyArray_DIMS(a), np.PyArray_TYPE(a))
    begin(&L, COSINE if cosine else DISTANCE, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, b)
    put(&L, 2, out)
    set_sizes(&L, a, inside, p, eps)
    if L.call.size[1] == 0:
        out.fill(0)                     # rows without elements
    launch(&L)
    if not recording(x, y):
        return wrap(out)
    node = PairBackward.__new__(PairBackward)
    node.cosine, node.inside, node.p, node.eps, node.shape_x, node.shape_y = cosine, inside, p, eps, shape_x, shape_y
    save_a(node, x)
    save_b(node, y)
    node.a, node.b, node.c = a, b, out
    return attach(out, node, x, y)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """p-norm of x1 - x2 + eps over the last axis; shapes broadcast.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.functional.pairwise_distance(fastnn.tensor([0.0, 3.0]), fastnn.tensor([4.0, 0.0]))
    tensor(5.)
    """
    y = of_pairs("pairwise_distance", False, as_tensor(x1), as_tensor(x2), False, p, eps)
    return y.unsqueeze(-1) if keepdim else y


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x1 x2 / (max(|x1|, eps) max(|x2|, eps)) along an axis; shapes broadcast."""
    cdef Tensor x = as_tensor(x1), y = as_tensor(x2)
    ndim = max(x.array.ndim, y.array.ndim)
    axis = axis_of(dim, ndim)
    if axis != ndim - 1:
        back = axis - ndim      # counted from the end, so that it names the same axis of both
        x, y = x.movedim(back, -1) if x.array.ndim >= -back else x.unsqueeze(-1), (
            y.movedim(back, -1) if y.array.ndim >= -back else y.unsqueeze(-1))
    return of_pairs("cosine_similarity", True, x, y, False, 2, eps)


def pdist(input, p=2.0):
    """p-norm distances between all pairs of rows i < j of a matrix, row by row."""
    cdef Tensor x = as_tensor(input)
    if x.array.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {x.array.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    first, second = np.triu_indices(x.array.shape[0], 1)
    return of_pairs("pdist", False, x[wrap(first.astype(np.int64))], x[wrap(second.astype(np.int64))], False, p, 0)


def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """p-norm distances between the rows of two matrices, or of batches of them: (..., P, M) and (..., R, M) give (..., P, R).

    Differences are taken before they are squared, whatever `compute_mode` says: as exact as torch's "donot_use_mm_for_euclid_dist".

    Examples
    --------
    >>> import fastnn
    >>> fastnn.cdist(fastnn.tensor([[0.0, 0.0]]), fastnn.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    cdef Tensor x = as_tensor(x1), y = as_tensor(x2)
    for t in (x, y):
        if (<Tensor>t).array.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, got: {(<Tensor>t).array.ndim}D")
    if x.shape[-1] != y.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x.shape[-1]} X2: {y.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    return of_pairs("cdist", False, x.unsqueeze(-2), y.unsqueeze(-3), False, p, 0)


# ---- unit vectors ------------------------------------------------------------------------------------------------
@cython.final
cdef class NormalizeBackward(Node):
    """a: x, b: norms."""
    cdef double p, eps

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, dx = empty_like(x)
        begin(&L, UNIT_BWD, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, self.b)
        grad = contiguous(grad)
        put(&L, 2, grad)
        put(&L, 3, dx)
        set_sizes(&L, x, False, self.p, self.eps)
        launch(&L)
        return dx

    cdef object derivative(self, object grad, tuple wanted):
        return by_formula(self, grad, wanted, "normalize", (self.a,), (self.p, self.eps))


cdef Tensor normalize_last(Tensor x, double p, double eps):
    cdef Launch L
    cdef np.ndarray a = contiguous(x.array), y = empty_like(a), norm
    cdef NormalizeBackward node
    norm = empty(np.PyArray_NDIM(a) - 1, np.PyArray_DIMS(a), np.PyArray_TYPE(a))
    begin(&L, UNIT, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, y)
    put(&L, 2, norm)
    set_sizes(&L, a, False, p, eps)
    launch(&L)
    if not recording(x):
        return wrap(y)
    node = NormalizeBackward.__new__(NormalizeBackward)
    node.p, node.eps = p, eps
    save_a(node, x)
    node.a, node.b = a, norm
    return attach(y, node, x)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """Divide vectors along an axis (or several) by their p-norm, but not by less than eps.

    `out` is not supported.
    """
    cdef Tensor x = as_tensor(input)
    if out is not None:
        raise NotImplementedError("normalize: out= is not supported")
    check_real("normalize", x.array)
    ndim = x.array.ndim
    axes = sorted({axis_of(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim)})
    if ndim == 0:
        return normalize_last(x.reshape(1), p, eps).reshape(())
    order = [i for i in range(ndim) if i not in axes] + axes
    if len(axes) > 1:
        y = x.permute(*order)
        shape = y.shape
        y = normalize_last(y.reshape(tuple(shape[:ndim - len(axes)]) + (-1,)), p, eps).reshape(tuple(shape))
    else:
        y = normalize_last(x if order[ndim - 1] == ndim - 1 and axes[0] == ndim - 1 else x.permute(*order), p, eps)
    return y if order == list(range(ndim)) else y.permute(*[order.index(i) for i in range(ndim)])


# ---- losses --------------------------------------------------------------------------------------------------------
def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """1 - cos(x1, x2) where target = 1, max(0, cos(x1, x2) - margin) where target = -1.

    Parameters
    ----------
    input1, input2 : Tensor, shape (N, D) or (D,)
    target : Tensor, shape (N,) or ()
    margin : float, default 0
    reduction : {'mean', 'sum', 'none'}
    """
    cdef Tensor x = as_tensor(input1), y = as_tensor(input2), t = as_tensor(target)
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    reduction_of(reduction)
    if t.array.ndim > 1:
        raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported (got {t.shape})")
    if not x.array.ndim == y.array.ndim == t.array.ndim + 1:
        raise RuntimeError(f"{t.array.ndim}D target tensor expects {t.array.ndim + 1}D input tensors, but found inputs with "
                           f"sizes {list(x.shape)} and {list(y.shape)}.")
    return cosine_margin_loss(of_pairs("cosine_embedding_loss", True, x, y, True, 2, 1e-12), t, margin, reduction)


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None, reduce=None,
                        reduction="mean"):
    """max(0, margin + d(a, p) - d(a, n)) with p-norm distances.

    Parameters
    ----------
    anchor, positive, negative : Tensor, shape (N, D) or (D,)
    margin : float, default 1
    p, eps : float
        As `pairwise_distance`.
    swap : bool, default False
        Take d(p, n) where it is smaller than d(a, n).
    reduction : {'mean', 'sum', 'none'}

    References
    ----------
    Balntas et al., Learning shallow convolutional feature descriptors with triplet losses, BMVC 2016.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)

    def distance(x, y):
        return pairwise_distance(x, y, p, eps)
    return triplet_margin_with_distance_loss(anchor, positive, negative, distance_function=distance, margin=margin,
                                             swap=swap, reduction=reduction)


def triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False,
                                      reduction="mean"):
    """`triplet_margin_loss` with a distance of one's own: a function of two tensors, by default `pairwise_distance`."""
    cdef Tensor a = as_tensor(anchor), b = as_tensor(positive), c = as_tensor(negative)
    reduction_of(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not a.array.ndim == b.array.ndim == c.array.ndim:
        raise RuntimeError("The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
                           f"but got: anchor {a.array.ndim}D, positive {b.array.ndim}D, and negative {c.array.ndim}D inputs")
    distance = pairwise_distance if distance_function is None else distance_function
    return triplet_loss_of_distances(distance(a, b), distance(a, c), distance(b, c) if swap else None, margin, reduction)
