"""Embedding: rows of a matrix by index, one by one or in bags; one-hot vectors."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import warnings

import numpy as np

import fastnn.kernels.embedding  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_adjoint
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport Storage, empty, empty_1d, empty_2d
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport check_real, index_array, optional
from fastnn.ops.layout cimport contiguous

from fastnn.core.storage import pooled
from fastnn.core.tape import no_derivative
from fastnn.core.tensor import Size
from fastnn.ops.promotion import type_name

__all__ = ["embedding", "embedding_bag", "one_hot"]

np.import_array()

cdef const fn_kernel* GATHER = kernel_named("embedding_fwd")
cdef const fn_kernel* SCATTER = kernel_named("embedding_bwd")
cdef const fn_kernel* RENORM = kernel_named("embedding_renorm")
cdef const fn_kernel* BAG = kernel_named("embedding_bag_fwd")
cdef const fn_kernel* BAG_BWD = kernel_named("embedding_bag_bwd")
cdef const fn_kernel* BAG_WEIGHTS_BWD = kernel_named("embedding_bag_weights_bwd")


cdef inline int set_sizes(Launch* L, int64_t count, np.ndarray w, int64_t padding, bint by_frequency) noexcept:
    L.call.size[0], L.call.size[1], L.call.size[2] = count, np.PyArray_DIM(w, 1), np.PyArray_DIM(w, 0)
    L.call.size[3], L.call.size[4] = padding, by_frequency
    L.call.bytes = 2.0 * count * np.PyArray_DIM(w, 1) * np.PyArray_ITEMSIZE(w)
    return 0


cdef int64_t padding_of(str op, object padding_idx, int64_t V) except? -2:
    """Row without gradient, -1 for none."""
    if padding_idx is None:
        return -1
    if not -V <= padding_idx < V:
        raise RuntimeError(f"{op}: padding_idx must be within num_embeddings ({V}), got {padding_idx}")
    return padding_idx + V if padding_idx < 0 else padding_idx


cdef int renormalise(Tensor weight, np.ndarray index, double max_norm, double norm_type) except -1:
    """Scale the rows in use down to max_norm, in place and outside the graph."""
    cdef Launch L
    cdef Storage storage = weight.storage()
    cdef np.ndarray w = weight.array
    if contiguous(w) is not w:
        raise RuntimeError("embedding: max_norm changes weight in place, which must be contiguous")
    begin(&L, RENORM, fn_dtype_of(w))
    put(&L, 0, w)
    put(&L, 1, index)
    set_sizes(&L, np.PyArray_SIZE(index), w, -1, False)
    L.call.scalar[0], L.call.scalar[1] = max_norm, norm_type
    launch(&L)
    storage.version += 1
    return 0


@cython.final
cdef class EmbeddingBackward(Node):
    """a: indices, b: weight (for its shape)."""
    cdef int64_t padding
    cdef bint by_frequency

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray w = self.b, dw = empty_2d(np.PyArray_DIM(w, 0), np.PyArray_DIM(w, 1), np.PyArray_TYPE(w))
        begin(&L, SCATTER, fn_dtype_of(w))
        put(&L, 0, self.a)
        grad = contiguous(grad)
        put(&L, 1, grad)
        put(&L, 2, dw)
        set_sizes(&L, np.PyArray_SIZE(self.a), w, self.padding, self.by_frequency)
        L.call.bytes += np.PyArray_NBYTES(dw)
        launch(&L)
        return dw

    cdef object derivative(self, object grad, tuple wanted):
        if self.by_frequency:
            raise no_derivative("embedding with scale_grad_by_freq")
        return by_adjoint(self, grad, self.again)

    def again(self, weight):
        """The rows of another matrix; none at the padding, which has no gradient."""
        y = embedding(wrap(self.a), weight)
        return y if self.padding < 0 else y.where(wrap(self.a).ne(self.padding).unsqueeze(-1), 0.0)


cdef int check_weight(str op, np.ndarray w) except -1:
    check_real(op, w)
    if np.PyArray_NDIM(w) != 2:
        raise RuntimeError(f"'weight' must be 2-D ({op}: got shape {Size((<object>w).shape)})")
    return 0


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """Look up rows of a matrix: y[i] = weight[input[i]].

    Parameters
    ----------
    input : Tensor of integers, any shape
    weight : Tensor, shape (V, D)
    padding_idx : int, optional
        A row that gets no gradient; negative counts from the end.
    max_norm : float, optional
        Rows in use with a larger norm are scaled down to it, in place.
    norm_type : float, default 2
        The p of that norm.
    scale_grad_by_freq : bool, default False
        Divide a row's gradient by how often the row is used.
    sparse : bool
        Only False: gradients are dense.

    Returns
    -------
    Tensor, shape (*input.shape, D)

    Raises
    ------
    IndexError
        If an index is not in [0, V).
    """
    cdef Launch L
    cdef Tensor indices = as_tensor(input), matrix = as_tensor(weight)
    cdef np.ndarray t, w = matrix.array, y
    cdef np.npy_intp[32] shape
    cdef int i, ndim
    cdef int64_t padding
    cdef EmbeddingBackward node
    if sparse:
        raise NotImplementedError("embedding: sparse=True is not supported, gradients are dense")
    check_weight("embedding", w)
    padding = padding_of("embedding", padding_idx, np.PyArray_DIM(w, 0))
    t = index_array(indices.array, "Expected tensor for argument #1 'indices' to have scalar type Long or Int")
    if max_norm is not None:
        renormalise(matrix, t, max_norm, norm_type)
    w = contiguous(w)
    ndim = np.PyArray_NDIM(t)
    for i in range(ndim):
        shape[i] = np.PyArray_DIM(t, i)
    shape[ndim] = np.PyArray_DIM(w, 1)
    y = empty(ndim + 1, shape, np.PyArray_TYPE(w))
    begin(&L, GATHER, fn_dtype_of(w))
    put(&L, 0, w)
    put(&L, 1, t)
    put(&L, 2, y)
    set_sizes(&L, np.PyArray_SIZE(t), w, padding, False)
    launch(&L)
    if not recording(matrix):
        return wrap(y)
    node = EmbeddingBackward.__new__(EmbeddingBackward)
    node.padding, node.by_frequency = padding, scale_grad_by_freq
    save_a(node, indices)
    node.a, node.b = t, w
    return attach(y, node, matrix)


# ---- bags ----------------------------------------------------------------------------------------------------------
@cython.final
cdef class EmbeddingBagBackward(Node):
    """a: weight, b: indices, c: offsets, d: weights per sample; extra: what the forward left behind."""
    cdef int64_t padding, bags
    cdef int mode
    cdef bint by_frequency, closed

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray w = self.a, g = contiguous(grad), dw = None, ds = None
        if self.nodes[0] is not None:
            dw = empty_2d(np.PyArray_DIM(w, 0), np.PyArray_DIM(w, 1), np.PyArray_TYPE(w))
            begin(&L, BAG_BWD, fn_dtype_of(w))
            put(&L, 0, self.b)
            put(&L, 1, self.c)
            put(&L, 2, self.d)
            put(&L, 3, self.extra[0])
            put(&L, 4, self.extra[1])
            put(&L, 5, g)
            put(&L, 6, dw)
            bag_sizes(&L, self, w)
            launch(&L)
        if self.nodes[1] is not None:
            ds = empty_1d(np.PyArray_SIZE(self.b), np.PyArray_TYPE(w))
            begin(&L, BAG_WEIGHTS_BWD, fn_dtype_of(w))
            put(&L, 0, w)
            put(&L, 1, self.b)
            put(&L, 2, self.c)
            put(&L, 3, g)
            put(&L, 4, ds)
            bag_sizes(&L, self, w)
            launch(&L)
        return dw, ds, None


cdef int bag_sizes(Launch* L, EmbeddingBagBackward n, np.ndarray w) except -1:
    set_sizes(L, np.PyArray_SIZE(n.b), w, n.padding, n.by_frequency)
    L.call.size[5], L.call.size[6], L.call.size[7] = n.bags, n.mode, n.closed
    return 0


MODES = {"sum": 0, "mean": 1, "max": 2}


def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False, mode="mean",
                  sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=None):
    """Sum, average or maximise the embeddings of every bag of indices.

    Parameters
    ----------
    input : Tensor of integers, shape (B, N), or (N,) with offsets
    weight : Tensor, shape (V, D)
    offsets : Tensor of integers, shape (B,), optional
        Where each bag begins in a 1-D input; with include_last_offset the end of the last one too.
    mode : {'mean', 'sum', 'max'}
    per_sample_weights : Tensor of input's shape, optional
        Factor of every embedding; mode 'sum' only.
    padding_idx : int, optional
        An index that is left out.
    max_norm, norm_type, scale_grad_by_freq, sparse
        As `embedding`.

    Returns
    -------
    Tensor, shape (B, D)
        An empty bag gives zeros.
    """
    cdef Launch L
    cdef Tensor indices = as_tensor(input), matrix = as_tensor(weight), samples = optional(per_sample_weights)
    cdef np.ndarray t, w, o, s = None, used, which = None, y
    cdef EmbeddingBagBackward node = EmbeddingBagBackward.__new__(EmbeddingBagBackward)
    if indices.array.dtype.kind == "f" and matrix.array.dtype.kind in "iu":
        warnings.warn("Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` "
                      "is deprecated, and should now be `embedding_bag(input, weight, ...)`.", stacklevel=2)
        indices, matrix = matrix, indices
    if samples is not None and samples.shape != indices.shape:
        raise ValueError(f"embedding_bag: If per_sample_weights ({samples.shape}) is not None, then it must have the same "
                         f"shape as the input ({indices.shape})")
    if matrix.array.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {matrix.array.ndim}")
    check_real("embedding_bag", matrix.array)
    if mode not in MODES:
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError("max mode does not support " + ("scaling the gradient by the frequency" if scale_grad_by_freq else
                                                         "sparse weights"))
    if sparse:
        raise NotImplementedError("embedding_bag: sparse=True is not supported, gradients are dense")
    if samples is not None and mode != "sum":
        raise NotImplementedError("embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for "
                                  f"mode='sum' (got mode='{mode}').")
    shape = (<object>indices.array).shape
    if len(shape) == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                             f"sequences. However, found offsets of type {type(offsets)}")
        o = pooled(np.arange(shape[0], dtype=np.int64) * shape[1])
        include_last_offset = False
        indices = indices.reshape(-1)
        samples = None if samples is None else samples.reshape(-1)
    elif len(shape) == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        o = as_tensor(offsets).array
        if np.PyArray_NDIM(o) != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        o = index_array(o, "expected offsets of type Long or Int")
        check_offsets(o, shape[0], include_last_offset)
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {len(shape)}")
    t = index_array(indices.array, "Expected tensor for argument #1 'indices' to have scalar type Long or Int")
    if max_norm is not None:
        renormalise(matrix, t, max_norm, norm_type)
    w = contiguous(matrix.array)
    if samples is not None:
        if np.PyArray_TYPE(samples.array) != np.PyArray_TYPE(w):
            raise RuntimeError(f"Expected tensor for argument #1 'weight' to have the same type as argument "
                               f"'per_sample_weights'; but type {type_name((<object>w).dtype)} does not equal {type_name(samples.dtype)}")
        s = contiguous(samples.array)
    node.padding = padding_of("embedding_bag", padding_idx, np.PyArray_DIM(w, 0))
    node.bags = np.PyArray_SIZE(o) - (1 if include_last_offset else 0)
    node.mode, node.by_frequency, node.closed = MODES[mode], scale_grad_by_freq, include_last_offset
    used = empty_1d(node.bags, np.NPY_INT64)
    if mode == "max":
        which = empty_2d(node.bags, np.PyArray_DIM(w, 1), np.NPY_INT64)
    y = empty_2d(node.bags, np.PyArray_DIM(w, 1), np.PyArray_TYPE(w))
    node.a, node.b, node.c, node.d, node.extra = w, t, o, s, (used, which)
    begin(&L, BAG, fn_dtype_of(w))
    put(&L, 0, w)
    put(&L, 1, t)
    put(&L, 2, o)
    put(&L, 3, s)
    put(&L, 4, used)
    put(&L, 5, which)
    put(&L, 6, y)
    bag_sizes(&L, node, w)
    launch(&L)
    if not recording(matrix, samples):
        return wrap(y)
    return attach(y, node, matrix, samples)


def check_offsets(offsets, count, closed):
    """Offsets begin at 0, do not fall, and stay within the indices."""
    if closed and len(offsets) == 0:
        raise RuntimeError("include_last_offset: number of offsets should be at least 1")
    if len(offsets) and offsets[0] != 0:
        raise RuntimeError(f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
                           f"However, got {offsets[0]}")
    if len(offsets) and offsets[-1] > count:
        raise RuntimeError(f"offsets[-1] can not be greater than input's length({count}) but got offsets[-1] of {offsets[-1]}")
    if (np.diff(offsets) < 0).any():
        raise RuntimeError(f"embedding_bag: offsets may not decrease, got {offsets.tolist()}")


# ---- one-hot ---------------------------------------------------------------------------------------------------------
def one_hot(tensor, num_classes=-1):
    """Turn class indices into vectors with a single 1: shape (...) becomes (..., num_classes), int64.

    Parameters
    ----------
    tensor : Tensor of int64
    num_classes : int, default -1
        -1: the largest index + 1.

    Raises
    ------
    RuntimeError
        If an index is negative or not below num_classes.
    """
    cdef Tensor x = as_tensor(tensor)
    cdef np.ndarray t = x.array
    if np.PyArray_TYPE(t) != np.NPY_INT64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor, got " + type_name((<object>t).dtype))
    if np.PyArray_SIZE(t) == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    elif (<object>t).min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    elif num_classes == -1:
        num_classes = int((<object>t).max()) + 1
    if num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    if np.PyArray_SIZE(t) and (<object>t).max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")

    def spread(indices):
        return (indices[..., None] == np.arange(num_classes)).astype(np.int64)
    return wrap(host_call("one_hot", spread, (t,)))
