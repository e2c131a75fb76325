"""Convolution and transposed convolution with gradients, in one, two and three dimensions by one rule.

All of them are three-dimensional with leading axes of one element.  A transposed convolution is the input gradient of a
convolution from its output to its input, and so the same three kernels serve both.
"""
cimport cython
cimport numpy as np
from libc.string cimport memcpy, memset
from libc.stdint cimport int64_t

import numpy as np

import fastnn.kernels.gemm  # no-cython-lint: declares column_sums
from fastnn import backends
from fastnn.core.backward cimport input_of
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty_1d, empty_ordered
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wrap
from fastnn.kernels.conv cimport (CONV_FORWARD, CONV_INPUT_GRADIENT, DILATION_, G_, I_, IN_, KERNEL_, N_, O_, OUT_, PAD_,
                                  PLANAR_, STRIDE_, WI_, WINOGRAD_, WK_, WO_)
from fastnn.kernels.conv_weight cimport CONV_WEIGHT_GRADIENT
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.channels cimport channels_last, empty_channels_last, is_channels_last, with_batch_axis
from fastnn.ops.layout cimport contiguous

np.import_array()

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

cdef extern from "numpy/arrayobject.h":
    bint PyArray_IS_C_CONTIGUOUS(np.ndarray a)

cdef const fn_kernel* COLUMN_SUMS = kernel_named("column_sums")

cdef enum:
    THIN = 16                   # channels up to which a C-ordered input is read as it is

# The dtype names of torch's messages.
NAMES = {"float32": "float", "float64": "double", "int64": "long int", "int32": "int", "uint8": "unsigned char", "bool": "bool"}
TENSORS = {"float32": "torch.FloatTensor", "float64": "torch.DoubleTensor", "int64": "torch.LongTensor",
           "int32": "torch.IntTensor", "uint8": "torch.ByteTensor", "bool": "torch.BoolTensor"}


# ---- calls -----------------------------------------------------------------------------------------------------------

cdef int run(const fn_kernel* kernel, const int64_t* size, np.ndarray x, np.ndarray weight, np.ndarray bias,
             np.ndarray y) except -1:
    """Slots x, weight, bias, y; or x, dy, dw when `bias` and `weight` are (dy) and absent."""
    cdef Launch L
    cdef int64_t pixels = size[N_] * size[OUT_] * size[OUT_ + 1] * size[OUT_ + 2]
    begin(&L, kernel, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, weight)
    if kernel == &CONV_WEIGHT_GRADIENT:
        put(&L, 2, y)
    else:
        put(&L, 2, bias)
        put(&L, 3, y)
    memcpy(L.call.size, size, 30 * sizeof(int64_t))
    L.call.flops = (2.0 * pixels * size[G_] * size[I_] * size[O_] * size[KERNEL_] * size[KERNEL_ + 1] * size[KERNEL_ + 2])
    L.call.bytes = <double>(np.PyArray_NBYTES(x) + np.PyArray_NBYTES(y) + np.PyArray_NBYTES(weight))
    return launch(&L)


cdef int column_sums(np.ndarray x, np.ndarray out, int64_t rows, int64_t columns) except -1:
    cdef Launch L
    begin(&L, COLUMN_SUMS, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, out)
    L.call.size[0], L.call.size[1], L.call.size[2] = rows, columns, columns
    L.call.flops = <double>rows * columns
    L.call.bytes = L.call.flops * np.PyArray_ITEMSIZE(x)
    return launch(&L)


cdef np.ndarray pixel_sums(np.ndarray g):
    """Sum over all axes but the channels of a channels-last array; few channels: first over every so many pixels."""
    cdef int64_t C = np.PyArray_DIM(g, 1), pixels = np.PyArray_SIZE(g) // C if C else 0, fold = 8
    cdef np.ndarray out = empty_1d(C, np.PyArray_TYPE(g)), part
    while fold > 1 and (C * fold > 64 or pixels % fold or pixels < 64 * fold):
        fold //= 2
    if fold == 1:
        column_sums(g, out, pixels, C)
        return out
    part = empty_1d(C * fold, np.PyArray_TYPE(g))
    column_sums(g, part, pixels // fold, C * fold)
    column_sums(part, out, fold, C)
    return out


cdef np.ndarray element_strided(np.ndarray a):
    """a itself if its strides are whole elements; else a copy."""
    cdef int i
    for i in range(np.PyArray_NDIM(a)):
        if np.PyArray_STRIDE(a, i) % np.PyArray_ITEMSIZE(a):
            return host_call("contiguous", np.ascontiguousarray, (a,))
    return a


cdef np.ndarray empty_weight(np.ndarray like):
    """A weight gradient: memory order (spatial..., I, O) under the shape (O, I, spatial...)."""
    cdef np.npy_intp[8] order
    cdef int ndim = np.PyArray_NDIM(like), i
    for i in range(2, ndim):
        order[i - 2] = i
    order[ndim - 2], order[ndim - 1] = 1, 0
    return empty_ordered(ndim, np.PyArray_DIMS(like), order, np.PyArray_TYPE(like))


# ---- rules -----------------------------------------------------------------------------------------------------------

@cython.final
cdef class ConvolutionBackward(Node):
    """a: input (batched), b: weight.  `transposed`: the roles of source and target are exchanged."""
    cdef int64_t[30] size
    cdef bint transposed
    cdef bint unbatched

    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray x = self.a, w = self.b, dx = None, dw = None, db = None
        cdef np.ndarray g = channels_last(with_batch_axis(grad) if self.unbatched else grad)
        cdef int64_t planar = self.size[PLANAR_]
        cdef bint empty_sum = np.PyArray_SIZE(x) == 0 or np.PyArray_SIZE(g) == 0
        if self.nodes[1] is not None:
            dw = empty_weight(w)
            if empty_sum:
                (<object>dw).fill(0)
            elif self.transposed:
                run(&CONV_WEIGHT_GRADIENT, self.size, g, x, None, dw)
            else:
                run(&CONV_WEIGHT_GRADIENT, self.size, x, g, None, dw)
        if self.nodes[2] is not None:
            db = pixel_sums(g)
        if self.nodes[0] is not None:
            dx = empty_channels_last(np.PyArray_NDIM(x), np.PyArray_DIMS(x), np.PyArray_TYPE(x))
            self.size[PLANAR_] = 0
            if empty_sum:
                (<object>dx).fill(0)
            else:
                run(&CONV_FORWARD if self.transposed else &CONV_INPUT_GRADIENT, self.size, g, w, None, dx)
            self.size[PLANAR_] = planar
            if self.unbatched:
                dx = (<object>dx)[0]
        return dx, dw, db

    cdef object derivative(self, object grad, tuple wanted):
        """The input's gradient is the other one of convolution and transposed convolution, of the same sizes."""
        cdef Tensor x = input_of(self, 0, self.a[0] if self.unbatched else self.a), w = input_of(self, 1, self.b)
        cdef Tensor dx = None, dw = None, db = None, g = grad.unsqueeze(0) if self.unbatched else grad
        cdef int64_t[30] size
        copy_sizes(size, self.size)
        x = x.unsqueeze(0) if self.unbatched else x
        if wanted[0]:
            dx = convolve(g, w, None, size, not self.transposed, False)
            dx = dx.squeeze(0) if self.unbatched else dx
        if wanted[1]:
            dw = weight_gradient(g, x, w, size) if self.transposed else weight_gradient(x, g, w, size)
        if wanted[2]:
            db = g.sum((0, *range(2, g.dim())))
        return dx, dw, db

    @property
    def name(self):
        return "ConvolutionBackward0"


cdef inline void copy_sizes(int64_t* to, const int64_t* size) noexcept:
    """Sizes without what the memory order told."""
    memcpy(to, size, 30 * sizeof(int64_t))
    to[PLANAR_] = 0


@cython.final
cdef class ConvolutionWeightBackward(Node):
    """dw = sum over pixels of source (moved) times target.  a: source, b: target."""
    cdef int64_t[30] size

    cdef object backward(self, np.ndarray grad):
        return tuple([(<Tensor>t).array for t in self.gradients(wrap(self.a), wrap(self.b), wrap(grad), (True, True))])

    cdef object derivative(self, object grad, tuple wanted):
        return self.gradients(input_of(self, 0, self.a), input_of(self, 1, self.b), grad, wanted)

    cdef tuple gradients(self, Tensor source, Tensor target, Tensor grad, tuple wanted):
        return (convolve(target, grad, None, self.size, True, False) if wanted[0] else None,
                convolve(source, grad, None, self.size, False, False) if wanted[1] else None)


cdef Tensor weight_gradient(Tensor source, Tensor target, Tensor weight, const int64_t* size):
    cdef np.ndarray dw = empty_weight(weight.array), x = channels_last(source.array), g = channels_last(target.array)
    cdef ConvolutionWeightBackward node
    if np.PyArray_SIZE(x) == 0 or np.PyArray_SIZE(g) == 0:
        (<object>dw).fill(0)
    else:
        run(&CONV_WEIGHT_GRADIENT, size, x, g, None, dw)
    if not recording(source, target):
        return wrap(dw)
    node = ConvolutionWeightBackward.__new__(ConvolutionWeightBackward)
    copy_sizes(node.size, size)
    save_a(node, source)
    save_b(node, target)
    node.a, node.b = x, g
    return attach(dw, node, source, target)


cdef Tensor convolve(Tensor input, Tensor weight, Tensor bias, const int64_t* size, bint transposed, bint unbatched):
    """Checked arguments in, result out; `size` lacks what the memory order tells."""
    cdef np.ndarray x = input.array, w = element_strided(weight.array), y
    cdef np.ndarray b = None if bias is None else contiguous(bias.array)
    cdef int64_t[30] full
    cdef np.npy_intp[8] shape
    cdef int ndim = np.PyArray_NDIM(w), spatial = ndim - 2, i
    cdef int64_t item = np.PyArray_ITEMSIZE(w)
    cdef ConvolutionBackward node
    memcpy(full, size, 30 * sizeof(int64_t))
    full[WO_], full[WI_] = np.PyArray_STRIDE(w, 0) // item, np.PyArray_STRIDE(w, 1) // item
    for i in range(3):
        full[WK_ + i] = np.PyArray_STRIDE(w, ndim - 3 + i) // item if i >= 3 - spatial else 0
    full[WINOGRAD_] = 1 if backends.winograd else 0
    if unbatched:
        x = with_batch_axis(x)
    if not transposed and full[G_] * full[I_] <= THIN and not is_channels_last(x) and PyArray_IS_C_CONTIGUOUS(x):
        full[PLANAR_] = 1
    else:
        x = channels_last(x)
    shape[0] = full[N_]
    shape[1] = full[G_] * (full[I_] if transposed else full[O_])
    for i in range(spatial):
        shape[2 + i] = full[(IN_ if transposed else OUT_) + 3 - spatial + i]
    y = empty_channels_last(ndim, shape, np.PyArray_TYPE(x))
    if np.PyArray_SIZE(y):
        if np.PyArray_SIZE(x) == 0:         # no channels: nothing but the bias
            np.copyto(y, 0 if b is None else (<object>b).reshape((-1,) + (1,) * spatial))
        else:
            run(&CONV_INPUT_GRADIENT if transposed else &CONV_FORWARD, full, x, w, b, y)
    if unbatched:
        y = (<object>y)[0]
    if not recording(input, weight, bias):
        return wrap(y)
    node = ConvolutionBackward.__new__(ConvolutionBackward)
    memcpy(node.size, full, 30 * sizeof(int64_t))
    node.transposed, node.unbatched = transposed, unbatched
    save_a(node, input)
    save_b(node, weight)
    node.a, node.b = x, w
    return attach(y, node, input, weight, bias)


# ---- checks ----------------------------------------------------------------------------------------------------------

cdef list whole_numbers(str what, value, int n):
    """`value` for each of n axes."""
    cdef list values
    if isinstance(value, (int, np.integer)):
        return [int(value)] * n
    values = [int(v) for v in value]
    if len(values) == 1:
        return values * n
    if len(values) != n:
        raise RuntimeError(f"expected {what} to be a single integer value or a list of {n} values to match the convolution "
                           f"dimensions, but got {what}={values}")
    return values


cdef int check_dtypes(str op, np.ndarray x, np.ndarray w, np.ndarray b) except -1:
    cdef str have = (<object>x).dtype.name, want = (<object>w).dtype.name
    if have != want:
        raise RuntimeError(f"Input type ({TENSORS.get(have, have)}) and weight type ({TENSORS.get(want, want)}) should be the same "
                           f"({op})")
    if b is not None and (<object>b).dtype.name != have:
        raise RuntimeError(f"Input type ({NAMES.get(have, have)}) and bias type ({NAMES.get((<object>b).dtype.name)}) should be "
                           f"the same ({op})")
    if have != "float32" and have != "float64":
        raise RuntimeError(f'"{op}" not implemented for {TENSORS.get(have, have)}: float32 or float64 are')
    return 0


cdef int check_rank(str op, np.ndarray x, int spatial) except -1:
    cdef int ndim = np.PyArray_NDIM(x)
    if ndim != spatial + 2 and ndim != spatial + 1:
        raise RuntimeError(f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to {op}, but got input of size: "
                           f"{list((<object>x).shape)}")
    return 0


cdef int check_common(str op, Tensor x, Tensor w, list stride, list padding, list dilation, int64_t groups) except -1:
    cdef str fault = None
    if min(padding) < 0:
        fault = f"negative padding is not supported, got padding={padding}"
    elif min(stride) <= 0:
        fault = f"non-positive stride is not supported, got stride={stride}"
    elif min(dilation) <= 0:
        fault = f"non-positive dilation is not supported, got dilation={dilation}"
    elif groups <= 0:
        fault = f"non-positive groups is not supported, got groups={groups}"
    if fault is not None:
        raise RuntimeError(f"{fault} ({op}: input {list(x.shape)}, weight {list(w.shape)})")
    return 0


cdef int check_channels(str op, np.ndarray x, np.ndarray w, np.ndarray b, int spatial, int64_t groups, bint transposed) except -1:
    cdef tuple shape = (<object>w).shape
    cdef int64_t channels = np.PyArray_DIM(x, np.PyArray_NDIM(x) - spatial - 1)
    cdef int64_t expected = shape[0] if transposed else shape[1] * groups, produced = shape[1] * groups if transposed else shape[0]
    if shape[0] % groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
                           f"size {list(shape)} instead ({op})")
    if channels != expected:
        raise RuntimeError(f"Given {'transposed=1' if transposed else f'groups={groups}'}, weight of size {list(shape)}, expected "
                           f"input{list((<object>x).shape)} to have {expected} channels, but got {channels} channels instead ({op})")
    if b is not None and (np.PyArray_NDIM(b) != 1 or np.PyArray_DIM(b, 0) != produced):
        raise RuntimeError(f"Given {'transposed=1, ' if transposed else ''}weight of size {list(shape)}, expected bias to be "
                           f"1-dimensional with {produced} elements, but got bias of size {list((<object>b).shape)} instead ({op})")
    return 0


cdef int fill(int64_t* size, np.ndarray x, np.ndarray w, list stride, list padding, list dilation, int64_t groups,
              int spatial) except -1:
    """Everything but the spatial sizes, which depend on the direction."""
    cdef int i
    memset(size, 0, 30 * sizeof(int64_t))
    for i in range(3):
        size[IN_ + i] = size[OUT_ + i] = size[KERNEL_ + i] = size[STRIDE_ + i] = size[DILATION_ + i] = 1
    size[N_] = np.PyArray_DIM(x, 0) if np.PyArray_NDIM(x) == spatial + 2 else 1
    size[G_] = groups
    size[O_], size[I_] = np.PyArray_DIM(w, 0) // groups, np.PyArray_DIM(w, 1)
    for i in range(spatial):
        size[KERNEL_ + 3 - spatial + i] = np.PyArray_DIM(w, 2 + i)
        size[STRIDE_ + 3 - spatial + i] = stride[i]
        size[PAD_ + 3 - spatial + i] = padding[i]
        size[DILATION_ + 3 - spatial + i] = dilation[i]
    return 0


def joined(sizes):
    return " x ".join(str(n) for n in sizes)


def convolution(str op, int spatial, input, weight, bias, stride, padding, dilation, groups):
    """Check, compute the output size, convolve."""
    cdef Tensor x = as_tensor(input), w = as_tensor(weight), b = None if bias is None else as_tensor(bias)
    cdef int64_t[30] size
    cdef int i, at
    cdef list left, right
    if np.PyArray_NDIM(w.array) != spatial + 2:
        raise RuntimeError(f"{op}: weight must have {spatial + 2} axes (out, in / groups, kernel...), got {list(w.shape)}")
    check_rank(op, x.array, spatial)
    stride, dilation = whole_numbers("stride", stride, spatial), whole_numbers("dilation", dilation, spatial)
    kernel = [int(n) for n in (<object>w.array).shape[2:]]
    if isinstance(padding, str):
        left, right = padding_of(padding, stride, dilation, kernel)
    else:
        left = right = whole_numbers("padding", padding, spatial)
    check_common(op, x, w, stride, left, dilation, groups)
    check_channels(op, x.array, w.array, None if b is None else b.array, spatial, groups, False)
    check_dtypes(op, x.array, w.array, None if b is None else b.array)
    fill(size, x.array, w.array, stride, left, dilation, groups, spatial)
    shape = (<object>x.array).shape[np.PyArray_NDIM(x.array) - spatial:]
    padded = [n + p + q for n, p, q in zip(shape, left, right)]
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    if min(kernel) <= 0:
        raise RuntimeError(f"{op}: kernel size must be positive, got weight of size {list(w.shape)}")
    if any([p < e for p, e in zip(padded, extent)]) or 0 in shape:
        raise RuntimeError(f"Calculated padded input size per channel: ({joined(padded)}). Kernel size: ({joined(extent)}). Kernel "
                           f"size can't be greater than actual input size ({op}: input {list(x.shape)}, weight {list(w.shape)})")
    for i in range(spatial):
        at = 3 - spatial + i
        size[IN_ + at] = shape[i]
        size[OUT_ + at] = (padded[i] - extent[i]) // stride[i] + 1
    return convolve(x, w, b, size, False, np.PyArray_NDIM(x.array) == spatial + 1)


def padding_of(str padding, list stride, list dilation, list kernel):
    """Left and right padding of 'valid' and 'same'; an odd zero of 'same' goes to the right."""
    if padding == "valid":
        return [0] * len(kernel), [0] * len(kernel)
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    if max(stride) > 1:
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for d, k in zip(dilation, kernel)]
    return [t // 2 for t in total], [t - t // 2 for t in total]


def transposed_convolution(str op, int spatial, input, weight, bias, stride, padding, output_padding, groups, dilation):
    """Check, compute the output size, spread."""
    cdef Tensor x = as_tensor(input), w = as_tensor(weight), b = None if bias is None else as_tensor(bias)
    cdef int64_t[30] size
    cdef int i, at
    if np.PyArray_NDIM(w.array) != spatial + 2:
        raise RuntimeError(f"{op}: weight must have {spatial + 2} axes (in, out / groups, kernel...), got {list(w.shape)}")
    check_rank(op, x.array, spatial)
    stride, dilation = whole_numbers("stride", stride, spatial), whole_numbers("dilation", dilation, spatial)
    padding = whole_numbers("padding", padding, spatial)
    output_padding = whole_numbers("output_padding", output_padding, spatial)
    check_common(op, x, w, stride, padding, dilation, groups)
    check_channels(op, x.array, w.array, None if b is None else b.array, spatial, groups, True)
    check_dtypes(op, x.array, w.array, None if b is None else b.array)
    for i in range(spatial):
        if output_padding[i] < 0:
            raise RuntimeError(f"negative output_padding is not supported, got output_padding={output_padding} ({op})")
        if output_padding[i] >= stride[i] and output_padding[i] >= dilation[i]:
            raise RuntimeError(f"output padding must be smaller than either stride or dilation, but got output_padding: "
                               f"{output_padding} stride: {stride} dilation: {dilation} ({op})")
    fill(size, x.array, w.array, stride, padding, dilation, groups, spatial)
    shape = (<object>x.array).shape[np.PyArray_NDIM(x.array) - spatial:]
    for i in range(spatial):
        at = 3 - spatial + i
        size[OUT_ + at] = shape[i]
        size[IN_ + at] = ((shape[i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (np.PyArray_DIM(w.array, 2 + i) - 1) + 1
                          + output_padding[i])
        if shape[i] == 0 or size[IN_ + at] <= 0:
            raise RuntimeError(f"{op}: input {list(x.shape)} and weight {list(w.shape)} give an output size of {size[IN_ + at]} "
                               f"along axis {i}: padding {padding} is too large or the input is empty")
    return convolve(x, w, b, size, True, np.PyArray_NDIM(x.array) == spatial + 1)


# ---- functions -------------------------------------------------------------------------------------------------------

def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Apply a one-dimensional convolution: see `conv2d`."""
    return convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Apply a two-dimensional convolution (cross-correlation).

    y[n, o, h, w] = bias[o] + sum over i, k, l of weight[o, i, k, l] * x[n, i, h*s + k*d - p, w*s + l*d - p]

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    weight : Tensor, shape (O, C / groups, kH, kW)
    bias : Tensor, shape (O,), optional
    stride, dilation : int or pair, default 1
    padding : int, pair, 'valid' or 'same', default 0
        Zeros on both sides; 'same' keeps the size and puts an odd zero on the right.
    groups : int, default 1

    Returns
    -------
    Tensor, shape (N, O, H', W')
        In channels-last memory.

    Raises
    ------
    RuntimeError
        If shapes, dtypes or options do not fit.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.functional.conv2d(fastnn.ones(1, 1, 3, 3), fastnn.ones(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Apply a three-dimensional convolution: see `conv2d`."""
    return convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Apply a one-dimensional transposed convolution: see `conv_transpose2d`."""
    return transposed_convolution("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Apply a two-dimensional transposed convolution: the input gradient of `conv2d` as a layer.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    weight : Tensor, shape (C, O / groups, kH, kW)
    bias : Tensor, shape (O,), optional
    stride, padding, dilation, groups : as for `conv2d`
    output_padding : int or pair, default 0
        Rows and columns added on the far side, to choose among the sizes that `stride` leaves open.
    """
    return transposed_convolution("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Apply a three-dimensional transposed convolution: see `conv_transpose2d`."""
    return transposed_convolution("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)
