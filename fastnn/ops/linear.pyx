"""Matrix products with gradients: linear, matmul and what is made of them."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import math

import numpy as np

import fastnn.kernels.gemm  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_rule
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty, empty_1d, empty_2d
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.arguments cimport is_real
from fastnn.ops.layout cimport contiguous, sum_to_shape

from fastnn.core.tensor import Size, install
from fastnn.ops.aliases import into
from fastnn.ops.promotion import computed_dtype, type_name, unsupported

__all__ = ["matmul"]     # linear is public in nn.functional

np.import_array()

cdef const fn_kernel* MATMUL = kernel_named("matmul")
cdef const fn_kernel* MATMUL_ADD = kernel_named("matmul_add")
cdef const fn_kernel* MATMUL_BATCHED = kernel_named("matmul_batched")
cdef const fn_kernel* COLUMN_SUMS = kernel_named("column_sums")


cdef int run_matmul(np.ndarray a, np.ndarray b, np.ndarray bias, np.ndarray c, int64_t M, int64_t N, int64_t K,
                    int64_t rsA, int64_t csA, int64_t rsB, int64_t csB, bint accumulate=False) except -1:
    """c[M][N] (+)= a[M][K] b[K][N] + bias[N]; strides in bytes, c in C order."""
    cdef Launch L
    cdef int64_t item = np.PyArray_ITEMSIZE(a)
    begin(&L, MATMUL_ADD if accumulate else MATMUL, fn_dtype_of(a))
    put(&L, 0, a)
    put(&L, 1, b)
    put(&L, 2, bias)
    put(&L, 3, c)
    L.call.size[0], L.call.size[1], L.call.size[2] = M, N, K
    L.call.size[3], L.call.size[4] = rsA // item, csA // item
    L.call.size[5], L.call.size[6] = rsB // item, csB // item
    L.call.size[7], L.call.size[8] = N, 1
    L.call.flops = 2.0 * M * N * K
    L.call.bytes = <double>item * (M * K + K * N + M * N)
    return launch(&L)


cdef inline np.ndarray aligned(np.ndarray a):
    """a itself if its strides are whole elements, as a kernel needs; else a copy."""
    cdef int i
    for i in range(np.PyArray_NDIM(a)):
        if np.PyArray_STRIDE(a, i) % np.PyArray_ITEMSIZE(a):
            return contiguous(a)
    return a


cdef int product_into(np.ndarray a, np.ndarray b, np.ndarray bias, np.ndarray c, bint accumulate) except -1:
    return run_matmul(a, b, bias, c, np.PyArray_DIM(a, 0), np.PyArray_DIM(b, 1), np.PyArray_DIM(a, 1), np.PyArray_STRIDE(a, 0),
                      np.PyArray_STRIDE(a, 1), np.PyArray_STRIDE(b, 0), np.PyArray_STRIDE(b, 1), accumulate)


cdef np.ndarray multiply(np.ndarray a, np.ndarray b, np.ndarray bias):
    cdef np.ndarray c = empty_2d(np.PyArray_DIM(a, 0), np.PyArray_DIM(b, 1), np.PyArray_TYPE(a))
    product_into(a, b, bias, c, False)
    return c


cdef np.ndarray column_sums(np.ndarray g, int64_t rows, int64_t columns):
    cdef Launch L
    cdef np.ndarray out = empty_1d(columns, np.PyArray_TYPE(g))
    begin(&L, COLUMN_SUMS, fn_dtype_of(g))
    put(&L, 0, g)
    put(&L, 1, out)
    L.call.size[0], L.call.size[1], L.call.size[2] = rows, columns, columns
    L.call.flops = rows * columns
    L.call.bytes = <double>np.PyArray_NBYTES(g)
    launch(&L)
    return out


# ---- linear ------------------------------------------------------------------------------------------------------
@cython.final
cdef class LinearBackward(Node):
    """y = x W' + b: dx = g W, dW = g' x, db = sum of g over rows.  a: x, b: W."""

    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray x = self.a, w = self.b, g = contiguous(grad), dx = None, dw = None, db = None
        cdef int64_t item = np.PyArray_ITEMSIZE(g)
        cdef int64_t O = np.PyArray_DIM(w, 0), I = np.PyArray_DIM(w, 1)
        cdef int64_t M = np.PyArray_SIZE(x) // I if I else np.PyArray_SIZE(g) // O if O else 0
        cdef int64_t rows, columns
        x_strides(x, M, I, &rows, &columns)
        if self.nodes[0] is not None:       # first: then nothing reads W between dW and its update (core/fusion.pyx)
            dx = empty(np.PyArray_NDIM(x), np.PyArray_DIMS(x), np.PyArray_TYPE(g))
            run_matmul(g, w, None, dx, M, I, O, O * item, item, np.PyArray_STRIDE(w, 0), np.PyArray_STRIDE(w, 1))
        if self.nodes[1] is not None:
            if np.PyArray_STRIDE(w, 0) == item and O > 1:     # kept as (in, out): so is its gradient
                dw = empty_2d(I, O, np.PyArray_TYPE(g))
                run_matmul(x, g, None, dw, I, O, M, columns, rows, O * item, item)
                dw = dw.T
            else:
                dw = empty_2d(O, I, np.PyArray_TYPE(g))
                run_matmul(g, x, None, dw, O, I, M, item, O * item, rows, columns)
        if self.nodes[2] is not None:
            db = column_sums(g, M, O)
        return dx, dw, db

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "linear", (self.a, self.b), ())


cdef inline void x_strides(np.ndarray x, int64_t M, int64_t I, int64_t* rows, int64_t* columns) noexcept:
    """Byte strides of x seen as (M, I): x is 2-D or in C order."""
    if np.PyArray_NDIM(x) == 2:
        rows[0], columns[0] = np.PyArray_STRIDE(x, 0), np.PyArray_STRIDE(x, 1)
    else:
        rows[0], columns[0] = I * np.PyArray_ITEMSIZE(x), np.PyArray_ITEMSIZE(x)


cdef Tensor linear_tensor(Tensor x, Tensor weight, Tensor bias):
    cdef np.ndarray a = x.array, w = weight.array, y
    cdef np.ndarray b = None if bias is None else bias.array
    cdef int ndim = np.PyArray_NDIM(a), i
    cdef np.npy_intp[32] shape
    cdef int64_t M = 1, I, O, rows, columns
    cdef LinearBackward node
    check_linear(a, w, b)
    O, I = np.PyArray_DIM(w, 0), np.PyArray_DIM(w, 1)
    a = aligned(a) if ndim == 2 else contiguous(a)
    w = aligned(w)
    for i in range(ndim - 1):
        shape[i] = np.PyArray_DIM(a, i)
        M *= shape[i]
    shape[ndim - 1] = O
    y = empty(ndim, shape, np.PyArray_TYPE(a))
    x_strides(a, M, I, &rows, &columns)
    run_matmul(a, w, None if b is None else contiguous(b), y, M, O, I, rows, columns, np.PyArray_STRIDE(w, 1), np.PyArray_STRIDE(w, 0))
    if not recording(x, weight, bias):
        return wrap(y)
    node = LinearBackward.__new__(LinearBackward)
    save_a(node, x)
    save_b(node, weight)
    node.a, node.b = a, w
    return attach(y, node, x, weight, bias)


cdef int check_linear(np.ndarray a, np.ndarray w, np.ndarray b) except -1:
    cdef int ndim = np.PyArray_NDIM(a)
    if np.PyArray_NDIM(w) != 2:
        raise RuntimeError(f"linear: weight must have 2 axes (out, in), got shape {(<object>w).shape}")
    if ndim == 0:
        raise RuntimeError("linear: input must have at least 1 axis, got a 0-d tensor")
    if np.PyArray_TYPE(a) == np.PyArray_TYPE(w) and not is_real(w):
        raise unsupported("linear", (<object>w).dtype, "float32 or float64")
    if np.PyArray_TYPE(a) != np.PyArray_TYPE(w):
        raise RuntimeError("mat1 and mat2 must have the same dtype, but got "
                           f"{type_name((<object>a).dtype)} and {type_name((<object>w).dtype)} (linear: convert the input, "
                           f"x.astype('{(<object>w).dtype}'), or the model, model.double() / model.float())")
    if np.PyArray_DIM(a, ndim - 1) != np.PyArray_DIM(w, 1):
        rows = np.PyArray_SIZE(a) // max(1, np.PyArray_DIM(a, ndim - 1))
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{np.PyArray_DIM(a, ndim - 1)} and "
                           f"{np.PyArray_DIM(w, 1)}x{np.PyArray_DIM(w, 0)}) (linear: input {(<object>a).shape}, weight "
                           f"{(<object>w).shape})")
    if b is not None:
        if np.PyArray_TYPE(b) != np.PyArray_TYPE(w):
            raise RuntimeError(f"linear: bias must have the weight's dtype {(<object>w).dtype}, got {(<object>b).dtype}")
        if np.PyArray_NDIM(b) != 1 or np.PyArray_DIM(b, 0) != np.PyArray_DIM(w, 0):
            raise RuntimeError(f"linear: bias must have shape ({np.PyArray_DIM(w, 0)},), got {(<object>b).shape}")
    return 0


def linear(input, weight, bias=None):
    """Apply y = x W' + b.

    Parameters
    ----------
    input : Tensor, shape (..., in)
    weight : Tensor, shape (out, in)
    bias : Tensor, shape (out,), optional

    Returns
    -------
    Tensor, shape (..., out)

    Raises
    ------
    RuntimeError
        If shapes do not fit or dtypes differ.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.functional.linear(fastnn.ones(1, 3), fastnn.ones(2, 3))
    tensor([[3., 3.]])
    """
    return linear_tensor(as_tensor(input), as_tensor(weight), None if bias is None else as_tensor(bias))


# ---- matmul ------------------------------------------------------------------------------------------------------
@cython.final
cdef class MatmulBackward(Node):
    """c = a b on 2-D arrays: da = g b', db = a' g."""

    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray g = aligned(grad), da = None, db = None
        if self.nodes[0] is not None:
            da = multiply(g, (<np.ndarray>self.b).T, None)
        if self.nodes[1] is not None:
            db = multiply((<np.ndarray>self.a).T, g, None)
        return da, db, None

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "matmul", (self.a, self.b), ())


@cython.final
cdef class BatchedMatmulBackward(Node):
    """c[i] = a[i] b[i]; operands broadcast over the leading axes."""

    cdef object backward(self, np.ndarray grad):
        da = db = None
        if self.nodes[0] is not None:
            da = sum_to_shape(multiply_batched(grad, np.swapaxes(self.b, -1, -2)), (<object>self.a).shape)
        if self.nodes[1] is not None:
            db = sum_to_shape(multiply_batched(np.swapaxes(self.a, -1, -2), grad), (<object>self.b).shape)
        return da, db, None

    cdef object derivative(self, object grad, tuple wanted):
        return by_rule(self, grad, wanted, "matmul", (self.a, self.b), ())


cdef np.ndarray flat_batch(np.ndarray a, tuple batch, int64_t* stride):
    """a broadcast to `batch` leading axes such that one stride (in elements, 0 for a shared matrix) walks them."""
    cdef int64_t item = np.PyArray_ITEMSIZE(a)
    if np.PyArray_NDIM(a) == 2:
        stride[0] = 0
        return a
    full = np.broadcast_to(a, batch + (<object>a).shape[-2:])
    cdef np.ndarray flat
    if np.PyArray_NDIM(full) == 3 and full.strides[0] % item == 0:
        flat = full
    else:
        flat = contiguous(full)
        flat = (<object>flat).reshape(math.prod(batch), full.shape[-2], full.shape[-1])
    stride[0] = np.PyArray_STRIDE(flat, 0) // item
    return flat


cdef np.ndarray multiply_batched(a, b):
    cdef Launch L
    cdef int64_t strideA, strideB, item = a.itemsize, count = 1
    cdef tuple batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    cdef tuple shape = batch + (a.shape[-2], b.shape[-1])
    cdef np.ndarray x = flat_batch(aligned(a), batch, &strideA), y = flat_batch(aligned(b), batch, &strideB)
    cdef np.npy_intp[32] dims
    cdef int i
    for i in range(len(shape)):
        dims[i] = shape[i]
    for n in batch:
        count *= n
    cdef np.ndarray c = empty(len(shape), dims, np.PyArray_TYPE(x))
    cdef int64_t M = shape[len(shape) - 2], N = shape[len(shape) - 1], K = a.shape[-1]
    begin(&L, MATMUL_BATCHED, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, y)
    put(&L, 3, c)
    L.call.size[0], L.call.size[1], L.call.size[2] = M, N, K
    i = np.PyArray_NDIM(x)
    L.call.size[3], L.call.size[4] = np.PyArray_STRIDE(x, i - 2) // item, np.PyArray_STRIDE(x, i - 1) // item
    i = np.PyArray_NDIM(y)
    L.call.size[5], L.call.size[6] = np.PyArray_STRIDE(y, i - 2) // item, np.PyArray_STRIDE(y, i - 1) // item
    L.call.size[7], L.call.size[8] = N, 1
    L.call.size[10], L.call.size[11], L.call.size[12], L.call.size[13] = count, strideA, strideB, M * N
    L.call.flops = 2.0 * count * M * N * K
    L.call.bytes = <double>item * (np.PyArray_SIZE(x) + np.PyArray_SIZE(y) + np.PyArray_SIZE(c))
    launch(&L)
    return c


def matmul(input, other, *, out=None):
    """Multiply matrices as numpy.matmul: vectors, matrices, and batches of them with broadcasting.

    Raises
    ------
    RuntimeError
        If the inner sizes or the dtypes differ, or an operand is 0-d.
    """
    if out is not None:
        return into(out, matmul(input, other))
    cdef Tensor x = as_tensor(input), y = as_tensor(other)
    cdef np.ndarray a = x.array, b = y.array
    cdef int p = np.PyArray_NDIM(a), q = np.PyArray_NDIM(b)
    cdef Node node
    if p == 0 or q == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {p}D and {q}D")
    if np.PyArray_TYPE(a) != np.PyArray_TYPE(b):
        raise RuntimeError("expected m1 and m2 to have the same dtype, but got: "
                           f"{type_name((<object>a).dtype)} != {type_name((<object>b).dtype)}")
    inner = np.PyArray_DIM(b, q - 2 if q > 1 else 0)
    if np.PyArray_DIM(a, p - 1) != inner:
        raise RuntimeError(mismatch(a, b))
    if not is_real(a):
        if x.dtype.kind == "f":
            return matmul(x.to(computed_dtype(x.dtype)), y.to(computed_dtype(x.dtype))).to(x.dtype)
        return wrap(np.asarray(host_call("matmul", np.matmul, (a, b))))
    if p == 1:
        return matmul(x.unsqueeze(0), y).squeeze(0 if q == 1 else -2)
    if q == 1:
        return matmul(x, y.unsqueeze(1)).squeeze(-1)
    a, b = aligned(a), aligned(b)
    if p == 2 and q == 2:
        c = multiply(a, b, None)
        node = MatmulBackward.__new__(MatmulBackward) if recording(x, y) else None
    else:
        try:
            c = multiply_batched(a, b)
        except ValueError:
            raise RuntimeError(mismatch(a, b)) from None
        node = BatchedMatmulBackward.__new__(BatchedMatmulBackward) if recording(x, y) else None
    if node is None:
        return wrap(c)
    save_a(node, x)
    save_b(node, y)
    node.a, node.b = a, b
    return attach(c, node, x, y)


def mismatch(a, b):
    if a.ndim == 2 and b.ndim == 2:
        return f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and {b.shape[0]}x{b.shape[1]})"
    return f"matmul: shapes {Size(a.shape)} and {Size(b.shape)} do not fit"


def reflected_matmul(self, other):
    return matmul(other, self)


install("matmul", matmul)
install("__matmul__", matmul)
install("__rmatmul__", reflected_matmul)
