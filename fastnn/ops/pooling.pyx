"""Pooling with gradients: maxima, averages, fixed and adaptive windows, in one to three dimensions by one rule."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

import numpy as np

import fastnn.kernels.pool  # no-cython-lint: declares the kernels

from fastnn.core.backward cimport by_adjoint
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.channels cimport channels_last, empty_channels_last, with_batch_axis
from fastnn.ops.copy cimport converted

np.import_array()

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
           "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d",
           "adaptive_max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool1d_with_indices",
           "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices"]

cdef const fn_kernel* MAX_POOL = kernel_named("max_pool")
cdef const fn_kernel* MAX_POOL_BACKWARD = kernel_named("max_pool_backward")
cdef const fn_kernel* AVERAGE_POOL = kernel_named("average_pool")
cdef const fn_kernel* AVERAGE_POOL_BACKWARD = kernel_named("average_pool_backward")

# As kernels/pool.pyx reads them.
cdef enum:
    N_ = 0
    C_ = 1
    IN_ = 2
    OUT_ = 5
    KERNEL_ = 8
    STRIDE_ = 11
    PAD_ = 14
    DILATION_ = 17
    ADAPTIVE_ = 20
    COUNT_PADDING_ = 21
    DIVISOR_ = 22
    SIZES = 23


cdef int run(const fn_kernel* kernel, const int64_t* size, np.ndarray x, np.ndarray index, np.ndarray y) except -1:
    """Slots in declared order; `index` lies between dy and dx, and after y."""
    cdef Launch L
    cdef int i
    begin(&L, kernel, fn_dtype_of(x))
    put(&L, 0, x)
    if kernel == MAX_POOL_BACKWARD:
        put(&L, 1, index)
        put(&L, 2, y)
    else:
        put(&L, 1, y)
        if kernel == MAX_POOL:
            put(&L, 2, index)
    memcpy(L.call.size, size, SIZES * sizeof(int64_t))
    L.call.flops = <double>size[N_] * size[C_]
    for i in range(3):
        L.call.flops *= size[OUT_ + i] * (size[KERNEL_ + i] if not size[ADAPTIVE_] else size[IN_ + i] // size[OUT_ + i] + 1)
    L.call.bytes = <double>(np.PyArray_NBYTES(x) + np.PyArray_NBYTES(y))
    return launch(&L)


@cython.final
cdef class PoolBackward(Node):
    """a: index of the maxima (None for averages); extra: shape of the batched input."""
    cdef int64_t[SIZES] size
    cdef bint unbatched

    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray g = channels_last(with_batch_axis(grad) if self.unbatched else grad), dx
        cdef np.npy_intp[8] shape
        cdef int i, ndim = np.PyArray_NDIM(g)
        for i in range(ndim):
            shape[i] = self.extra[i]
        dx = empty_channels_last(ndim, shape, np.PyArray_TYPE(g))
        if np.PyArray_SIZE(g) == 0:
            (<object>dx).fill(0)
        else:
            run(AVERAGE_POOL_BACKWARD if self.a is None else MAX_POOL_BACKWARD, self.size, g, self.a, dx)
        return (<object>dx)[0] if self.unbatched else dx

    cdef object derivative(self, object grad, tuple wanted):
        return by_adjoint(self, grad, self.again)

    def again(self, x):
        """The same pooling of another map: averages, or what lies where the maxima were."""
        cdef int spatial = len(self.extra) - 2
        cdef object index
        if self.a is None:
            return pool(x, self.size, spatial, False, False)
        index = converted(<np.ndarray>(self.a[0] if self.unbatched else self.a), np.NPY_INT64)
        flat = x.reshape((*x.shape[:x.dim() - spatial], -1))
        return flat.gather(flat.dim() - 1, wrap(index.reshape((*flat.shape[:-1], -1)))).reshape(index.shape)

    @property
    def name(self):
        return "AvgPoolBackward0" if self.a is None and not self.freed else "MaxPoolBackward0"


cdef object pool(Tensor input, int64_t* size, int spatial, bint maximum, bint return_indices):
    """Checked sizes in; the result, and the indices where wanted."""
    cdef np.ndarray x = input.array, y, index = None
    cdef bint unbatched = np.PyArray_NDIM(x) == spatial + 1, records = recording(input)
    cdef np.npy_intp[8] shape
    cdef int i
    cdef PoolBackward node
    if unbatched:
        x = with_batch_axis(x)
    x = channels_last(x)
    shape[0], shape[1] = np.PyArray_DIM(x, 0), np.PyArray_DIM(x, 1)
    for i in range(spatial):
        shape[2 + i] = size[OUT_ + 3 - spatial + i]
    size[N_], size[C_] = shape[0], shape[1]
    y = empty_channels_last(spatial + 2, shape, np.PyArray_TYPE(x))
    if maximum and (records or return_indices):
        index = empty_channels_last(spatial + 2, shape, np.NPY_INT64 if np.PyArray_ITEMSIZE(x) == 8 else np.NPY_INT32)
    if np.PyArray_SIZE(y):
        run(MAX_POOL if maximum else AVERAGE_POOL, size, x, index, y)
    result = (<object>y)[0] if unbatched else y
    if records:
        node = PoolBackward.__new__(PoolBackward)
        memcpy(node.size, size, SIZES * sizeof(int64_t))
        node.unbatched, node.a, node.extra = unbatched, index, (<object>x).shape
        output = attach(result, node, input)
    else:
        output = wrap(result)
    if not return_indices:
        return output
    index = converted(index, np.NPY_INT64)
    return output, wrap((<object>index)[0] if unbatched else index)


# ---- checks ----------------------------------------------------------------------------------------------------------

cdef list numbers(str op, str what, value, int n):
    """`value` for each of n axes."""
    cdef list values
    if isinstance(value, (int, np.integer)):
        return [int(value)] * n
    values = [int(v) for v in value]
    if len(values) == 1:
        return values * n
    if len(values) != n:
        raise RuntimeError(f"{op}: {what} must either be a single int, or a tuple of {('one int', 'two ints', 'three ints')[n - 1]}")
    return values


cdef int check_input(str op, np.ndarray x, int spatial) except -1:
    cdef int ndim = np.PyArray_NDIM(x), i
    cdef tuple shape = (<object>x).shape
    if ndim != spatial + 1 and ndim != spatial + 2:
        raise RuntimeError(f"{op}: Expected {spatial + 1}D or {spatial + 2}D (batch mode) tensor with optional 0 dim batch size for "
                           f"input, but got:{list(shape)}")
    for i in range(ndim - spatial - 1, ndim):
        if shape[i] == 0:
            raise RuntimeError(f"{op}: Expected input to have non-zero size for non-batch dimensions, but input has sizes "
                               f"{list(shape)} with dimension {i} being empty")
    if np.PyArray_TYPE(x) != np.NPY_FLOAT32 and np.PyArray_TYPE(x) != np.NPY_FLOAT64:
        raise RuntimeError(f"\"{op}\" not implemented for {(<object>x).dtype}: float32 or float64 are")
    return 0


cdef int fixed_windows(str op, np.ndarray x, int spatial, kernel_size, stride, padding, dilation, bint ceil_mode,
                       int64_t* size) except -1:
    """Check a window's geometry and fill the sizes of a call."""
    cdef int i, at
    cdef int64_t n, out, k, s, p, d
    cdef list kernel = numbers(op, "kernel_size", kernel_size, spatial)
    cdef list step = kernel if stride is None or stride == () or stride == [] else numbers(op, "stride", stride, spatial)
    cdef list pad = numbers(op, "padding", padding, spatial), spread = numbers(op, "dilation", dilation, spatial)
    cdef tuple shape = (<object>x).shape
    check_input(op, x, spatial)
    memset(size, 0, SIZES * sizeof(int64_t))
    for i in range(3):
        size[IN_ + i] = size[OUT_ + i] = size[KERNEL_ + i] = size[STRIDE_ + i] = size[DILATION_ + i] = 1
    for i in range(spatial):
        n, k, s, p, d = shape[len(shape) - spatial + i], kernel[i], step[i], pad[i], spread[i]
        if k <= 0:
            raise RuntimeError(f"{op}() kernel_size must be greater than zero, but got {k}")
        if s <= 0:
            raise RuntimeError(f"{op}() stride must be greater than zero, but got {s} (stride should not be zero)")
        if d <= 0:
            raise RuntimeError(f"{op}() dilation should be greater than zero, but got {d}")
        if p < 0:
            raise RuntimeError(f"{op}() padding must be non-negative, but got {p}")
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                               f"dilation={d} ({op}() padding should be at most half of kernel size)")
        out = n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)
        out = out // s + 1 if out >= 0 else 0
        if ceil_mode and (out - 1) * s >= n + p:        # the last window must start inside
            out -= 1
        if out <= 0:
            raise RuntimeError(f"{op}: Given input size: {list(shape)} and kernel_size {kernel}. Invalid computed output size: {out} "
                               f"along axis {i}. Output size is too small")
        at = 3 - spatial + i
        size[IN_ + at], size[OUT_ + at], size[KERNEL_ + at] = n, out, k
        size[STRIDE_ + at], size[PAD_ + at], size[DILATION_ + at] = s, p, d
    return 0


cdef int adaptive_windows(str op, np.ndarray x, int spatial, output_size, int64_t* size) except -1:
    cdef int i, at
    cdef tuple shape = (<object>x).shape
    cdef list wanted = [output_size] * spatial if output_size is None or isinstance(output_size, (int, np.integer)) else list(output_size)
    if len(wanted) == 1:
        wanted = wanted * spatial
    if len(wanted) != spatial:
        raise RuntimeError(f"{op}: output_size must be {spatial}")
    check_input(op, x, spatial)
    memset(size, 0, SIZES * sizeof(int64_t))
    size[ADAPTIVE_] = 1
    for i in range(3):
        size[IN_ + i] = size[OUT_ + i] = size[KERNEL_ + i] = size[STRIDE_ + i] = size[DILATION_ + i] = 1
    for i in range(spatial):
        at = 3 - spatial + i
        size[IN_ + at] = shape[len(shape) - spatial + i]
        size[OUT_ + at] = size[IN_ + at] if wanted[i] is None else wanted[i]
        if size[OUT_ + at] < 0:
            raise RuntimeError(f"{op}: elements of output_size must be greater than or equal to 0 but received {wanted}")
    return 0


# ---- functions -------------------------------------------------------------------------------------------------------

def max_pool(str op, int spatial, input, kernel_size, stride, padding, dilation, bint ceil_mode, bint return_indices):
    cdef Tensor x = as_tensor(input)
    cdef int64_t[SIZES] size
    fixed_windows(op, x.array, spatial, kernel_size, stride, padding, dilation, ceil_mode, size)
    return pool(x, size, spatial, True, return_indices)


def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Maximum over sliding windows of one axis: see `max_pool2d`."""
    return max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Maximum over sliding windows of two axes.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or pair
    stride : int or pair, default kernel_size
    padding : int or pair, default 0
        Rows and columns of -inf on both sides; at most half the kernel.
    dilation : int or pair, default 1
    ceil_mode : bool, default False
        Round the output size up; a window must still start inside.
    return_indices : bool, default False
        Also return where in its (H, W) plane each maximum lies.  The first of equal values counts; NaN wins.

    Returns
    -------
    Tensor, or (Tensor, Tensor of int64)

    Raises
    ------
    RuntimeError
        If sizes or options do not fit.
    """
    return max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Maximum over sliding windows of three axes: see `max_pool2d`."""
    return max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """`max_pool1d` with return_indices=True."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """`max_pool2d` with return_indices=True."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """`max_pool3d` with return_indices=True."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def average_pool(str op, int spatial, input, kernel_size, stride, padding, bint ceil_mode, bint count_include_pad, divisor):
    cdef Tensor x = as_tensor(input)
    cdef int64_t[SIZES] size
    fixed_windows(op, x.array, spatial, kernel_size, stride, padding, 1, ceil_mode, size)
    if divisor is not None and divisor == 0:
        raise RuntimeError(f"divisor must be not zero ({op}: divisor_override={divisor})")
    size[COUNT_PADDING_] = count_include_pad
    size[DIVISOR_] = 0 if divisor is None else divisor
    return pool(x, size, spatial, False, False)


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """Average over sliding windows of one axis: see `avg_pool2d`."""
    return average_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """Average over sliding windows of two axes.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, ceil_mode
        As for `max_pool2d`; the padding is zeros.
    count_include_pad : bool, default True
        Does the padding count in the divisor?
    divisor_override : int, optional
        Divide by this instead.
    """
    return average_pool("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """Average over sliding windows of three axes: see `avg_pool2d`."""
    return average_pool("avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_pool(str op, int spatial, input, output_size, bint maximum, bint return_indices):
    cdef Tensor x = as_tensor(input)
    cdef int64_t[SIZES] size
    adaptive_windows(op, x.array, spatial, output_size, size)
    return pool(x, size, spatial, maximum, return_indices)


def adaptive_avg_pool1d(input, output_size):
    """Average over `output_size` windows that tile the last axis: see `adaptive_avg_pool2d`."""
    return adaptive_pool("adaptive_avg_pool1d", 1, input, output_size, False, False)


def adaptive_avg_pool2d(input, output_size):
    """Average over a given number of windows: window i of n is floor(i L / n) <= pixel < ceil((i + 1) L / n).

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    output_size : int or pair
        None keeps the size of an axis.
    """
    return adaptive_pool("adaptive_avg_pool2d", 2, input, output_size, False, False)


def adaptive_avg_pool3d(input, output_size):
    """Average over `output_size` windows that tile the last three axes: see `adaptive_avg_pool2d`."""
    return adaptive_pool("adaptive_avg_pool3d", 3, input, output_size, False, False)


def adaptive_max_pool1d(input, output_size, return_indices=False):
    """Maximum over `output_size` windows that tile the last axis: see `adaptive_avg_pool2d`."""
    return adaptive_pool("adaptive_max_pool1d", 1, input, output_size, True, return_indices)


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """Maximum over a given number of windows: see `adaptive_avg_pool2d`."""
    return adaptive_pool("adaptive_max_pool2d", 2, input, output_size, True, return_indices)


def adaptive_max_pool3d(input, output_size, return_indices=False):
    """Maximum over `output_size` windows that tile the last three axes: see `adaptive_avg_pool2d`."""
    return adaptive_pool("adaptive_max_pool3d", 3, input, output_size, True, return_indices)


def adaptive_max_pool1d_with_indices(input, output_size, return_indices=False):
    """`adaptive_max_pool1d` with return_indices=True."""
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(input, output_size, return_indices=False):
    """`adaptive_max_pool2d` with return_indices=True."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(input, output_size, return_indices=False):
    """`adaptive_max_pool3d` with return_indices=True."""
    return adaptive_max_pool3d(input, output_size, True)
