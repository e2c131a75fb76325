"""Activation functions under torch's names: one kernel each, by the formulas of activation.def."""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.backward cimport by_formula
from fastnn.core.launch cimport Launch, begin, fn_dtype_of, host_call, launch, put
from fastnn.core.storage cimport empty, is_dense
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, as_tensor, attach, recording, save_a, save_b, wrap
from fastnn.kernels.pointwise cimport (MAX_DIMS, PRELU_GRADIENT, binary_code, put_grid, put_strides, saves_output,
                                       unary_code)
from fastnn.ops.arguments cimport axis_of, is_real
from fastnn.ops.elementwise cimport binary_array, unary, unary_array, unary_onto
from fastnn.ops.layout cimport contiguous, copy_into, copy_of, sum_to_shape
from fastnn.ops.region cimport adopt, check_view

from fastnn.core.tensor import get_default_dtype, install
from fastnn.ops.aliases import into
from fastnn.ops.host import overwrite
from fastnn.ops.promotion import computed_dtype, unsupported

np.import_array()

__all__ = ["celu", "celu_", "elu", "elu_", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_",
           "leaky_relu", "leaky_relu_", "logsigmoid", "mish", "prelu", "relu", "relu6", "relu_", "rrelu", "rrelu_", "selu",
           "selu_", "sigmoid", "silu", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "threshold_"]

cdef int RELU = unary_code("relu"), LEAKY_RELU = unary_code("leaky_relu"), ELU = unary_code("elu")
cdef int SIGMOID = unary_code("sigmoid"), TANH = unary_code("tanh"), GELU = unary_code("gelu")
cdef int GELU_TANH = unary_code("gelu_tanh"), SILU = unary_code("silu"), MISH = unary_code("mish")
cdef int HARDTANH = unary_code("hardtanh"), HARDSIGMOID = unary_code("hardsigmoid"), HARDSWISH = unary_code("hardswish")
cdef int SOFTPLUS = unary_code("softplus"), SOFTSIGN = unary_code("softsign"), SOFTSHRINK = unary_code("softshrink")
cdef int HARDSHRINK = unary_code("hardshrink"), TANHSHRINK = unary_code("tanhshrink")
cdef int LOGSIGMOID = unary_code("logsigmoid"), THRESHOLD = unary_code("threshold"), AFFINE = unary_code("affine")
cdef int MUL = binary_code("mul"), PRELU = binary_code("prelu")

# Klambauer et al., Self-normalizing neural networks (2017)
cdef double SELU_ALPHA = 1.6732632423543772848170429916717
cdef double SELU_SCALE = 1.0507009873554804934193349852946


cdef Tensor real(object input, str op):
    """input as a tensor of a real dtype, which the op needs."""
    cdef Tensor x = as_tensor(input)
    if not is_real(x.array):
        raise unsupported(op, x.dtype)
    return x


cdef Tensor unary_in_place(Tensor x, int code, double a=0, double b=0, double c=0):
    cdef bint records = recording(x)
    cdef Tensor y
    cdef Node node
    if records:
        check_view(x)
    if is_dense(x.array):
        node = unary_onto(x, code, a, b, c)
    else:
        x.touch()
        y = unary(x, code, a, b, c)         # saves its output, or a dense copy of its input
        copy_into(x.array, y.array)
        node = y.node
        if records and not saves_output(code):
            node.watched_a = None
    if records:
        adopt(x, node, 0)
    return x


cdef inline Tensor apply(Tensor x, int code, bint inplace, double a=0, double b=0, double c=0):
    return unary_in_place(x, code, a, b, c) if inplace else unary(x, code, a, b, c)


def maximum_into(a, b):
    np.maximum(a, b, out=a)


# ---- piecewise linear ------------------------------------------------------------------------------------------------
def relu(input, bint inplace=False):
    """max(0, x); the gradient at 0 is 0.

    >>> from fastnn import tensor
    >>> from fastnn.nn.functional import relu
    >>> relu(tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    cdef Tensor x = as_tensor(input)
    if not is_real(x.array):
        if x.dtype.kind == "b":
            raise RuntimeError("Boolean inputs not supported for relu")
        if x.dtype.kind == "f":
            return overwrite("relu_", x, relu, (), {}) if inplace else relu(x.to(computed_dtype(x.dtype))).to(x.dtype)
        if inplace:
            x.touch()
            host_call("relu_", maximum_into, (x.array, x.dtype.type(0)))
            return x
        return wrap(np.asarray(host_call("relu", np.maximum, (x.array, x.dtype.type(0)))))
    return apply(x, RELU, inplace)


def relu_(input):
    """`relu` in place."""
    return relu(input, True)


def leaky_relu(input, double negative_slope=0.01, bint inplace=False):
    """x where positive, else negative_slope * x; the gradient at 0 is the slope."""
    return apply(real(input, "leaky_relu_cpu"), LEAKY_RELU, inplace, negative_slope)


def leaky_relu_(input, double negative_slope=0.01):
    """`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, True)


def threshold(input, double threshold, double value, bint inplace=False):
    """x where x > threshold, else value."""
    return apply(real(input, "threshold_cpu"), THRESHOLD, inplace, threshold, value)


def threshold_(input, double threshold, double value):
    """`threshold` in place."""
    return apply(real(input, "threshold_cpu"), THRESHOLD, True, threshold, value)


def hardtanh(input, double min_val=-1.0, double max_val=1.0, bint inplace=False):
    """x limited to min_val <= x <= max_val; the gradient at the bounds is 0.

    Raises
    ------
    ValueError
        If min_val is larger than max_val.
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return apply(real(input, "hardtanh_cpu"), HARDTANH, inplace, min_val, max_val)


def hardtanh_(input, double min_val=-1.0, double max_val=1.0):
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, True)


def relu6(input, bint inplace=False):
    """min(6, max(0, x)); the gradient at 0 and 6 is 0."""
    return apply(real(input, "hardtanh_cpu"), HARDTANH, inplace, 0, 6)


def hardsigmoid(input, bint inplace=False):
    """min(6, max(0, x + 3)) / 6."""
    return apply(real(input, "hardsigmoid_cpu"), HARDSIGMOID, inplace)


def hardswish(input, bint inplace=False):
    """x min(6, max(0, x + 3)) / 6 (Howard et al., Searching for MobileNetV3, 2019)."""
    return apply(real(input, "hardswish_cpu"), HARDSWISH, inplace)


def hardshrink(input, double lambd=0.5):
    """x where abs(x) > lambd, else 0."""
    return unary(real(input, "hardshrink_cpu"), HARDSHRINK, lambd)


def softshrink(input, double lambd=0.5):
    """x moved by lambd towards 0, and 0 where abs(x) <= lambd.

    Raises
    ------
    RuntimeError
        If lambd is negative.
    """
    if not lambd >= 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    return unary(real(input, "softshrink_cpu"), SOFTSHRINK, lambd)


# ---- smooth ----------------------------------------------------------------------------------------------------------
def elu(input, double alpha=1.0, bint inplace=False):
    """x where positive, else alpha (e^x - 1) (Clevert et al., 2015)."""
    return apply(real(input, "elu_cpu"), ELU, inplace, alpha, 1, 1)


def elu_(input, double alpha=1.0):
    """`elu` in place."""
    return elu(input, alpha, True)


def selu(input, bint inplace=False):
    """1.0507 elu(x, 1.67326) (Klambauer et al., 2017)."""
    return apply(real(input, "elu_cpu"), ELU, inplace, SELU_ALPHA, SELU_SCALE, 1)


def selu_(input):
    """`selu` in place."""
    return selu(input, True)


def celu(input, double alpha=1.0, bint inplace=False):
    """x where positive, else alpha (e^(x/alpha) - 1) (Barron, 2017).

    Raises
    ------
    RuntimeError
        If alpha is 0.
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return apply(real(input, "elu_cpu"), ELU, inplace, alpha, 1, 1 / alpha)


def celu_(input, double alpha=1.0):
    """`celu` in place."""
    return celu(input, alpha, True)


cdef Tensor floating(object input, int code):
    """The function of any input: integers take the default dtype."""
    cdef Tensor x = as_tensor(input)
    if is_real(x.array):
        return unary(x, code)
    if x.dtype.kind == "f":
        return floating(x.to(computed_dtype(x.dtype)), code).to(x.dtype)
    return unary(x.to(get_default_dtype()), code)


def sigmoid(input, *, out=None):
    """1 / (1 + e^-x)."""
    return floating(input, SIGMOID) if out is None else into(out, floating(input, SIGMOID))


def sigmoid_(input):
    """`sigmoid` in place."""
    return unary_in_place(real(input, "sigmoid_cpu"), SIGMOID)


def tanh(input, *, out=None):
    """Hyperbolic tangent."""
    return floating(input, TANH) if out is None else into(out, floating(input, TANH))


def tanh_(input):
    """`tanh` in place."""
    return unary_in_place(real(input, "tanh_cpu"), TANH)


def gelu(input, *, str approximate="none"):
    """x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, 2016).

    Parameters
    ----------
    approximate : "none" or "tanh", default "none"
        "tanh" for 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
    """
    if approximate == "none":
        return unary(real(input, "GeluKernelImpl"), GELU)
    if approximate == "tanh":
        return unary(real(input, "GeluKernelImpl"), GELU_TANH)
    raise RuntimeError("approximate argument must be either none or tanh.")


def silu(input, bint inplace=False):
    """x sigmoid(x) (Elfwing et al., 2017)."""
    return apply(real(input, "silu_cpu"), SILU, inplace)


def mish(input, bint inplace=False):
    """x tanh(log(1 + e^x)) (Misra, 2019)."""
    return apply(real(input, "mish_cpu"), MISH, inplace)


def softplus(input, double beta=1.0, double threshold=20.0):
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold."""
    return unary(real(input, "softplus_cpu"), SOFTPLUS, beta, threshold)


def softsign(input):
    """x / (1 + abs(x))."""
    return floating(input, SOFTSIGN)


def tanhshrink(input):
    """x - tanh(x)."""
    return floating(input, TANHSHRINK)


def logsigmoid(input):
    """log(1 / (1 + e^-x))."""
    return unary(real(input, "log_sigmoid_cpu"), LOGSIGMOID)


# ---- with a weight or noise ------------------------------------------------------------------------------------------
@cython.final
cdef class PreluBackward(Node):
    """dx = g where x > 0, else w g; dw = the sum of g x over the rest.  a: x, b: slopes broadcastable to x, d: shape of w."""

    cdef object backward(self, np.ndarray grad):
        cdef Launch L
        cdef np.ndarray x = self.a, w = self.b, g = grad
        cdef int ndim = np.PyArray_NDIM(x)
        cdef np.ndarray dx = empty(ndim, np.PyArray_DIMS(x), np.PyArray_TYPE(x))
        cdef np.ndarray dw = empty(ndim, np.PyArray_DIMS(x), np.PyArray_TYPE(x))
        begin(&L, &PRELU_GRADIENT, fn_dtype_of(x))
        put(&L, 0, x)
        put(&L, 1, w)
        put(&L, 2, g)
        put(&L, 3, dx)
        put(&L, 4, dw)
        put_grid(&L.call, ndim, np.PyArray_DIMS(x))
        put_strides(&L.call, 0, ndim, x)
        put_strides(&L.call, 1, ndim, w)
        put_strides(&L.call, 2, ndim, g)
        L.call.flops = 2.0 * np.PyArray_SIZE(x)
        L.call.bytes = 4.0 * np.PyArray_NBYTES(x)
        launch(&L)
        if self.nodes[1] is None:
            return dx, None, None
        return dx, (<object>sum_to_shape(dw, (<object>w).shape)).reshape(self.d), None

    cdef object derivative(self, object grad, tuple wanted):
        slopes = self.b if self.nodes[1] is None else self.b.reshape(self.d)
        return by_formula(self, grad, wanted, "prelu", (self.a, slopes), ((<object>self.b).shape,))


cdef Tensor slopes(Tensor x, np.ndarray w, Tensor weight):
    """x where positive, else w x; `weight` is the tensor behind w, or None where it takes no gradient."""
    cdef PreluBackward node
    cdef np.ndarray a = x.array
    if np.PyArray_NDIM(a) > MAX_DIMS:
        raise RuntimeError(f"prelu: at most {MAX_DIMS} dimensions, got {np.PyArray_NDIM(a)}")
    cdef np.ndarray y = binary_array(a, w, PRELU)
    if not recording(x, weight):
        return wrap(y)
    node = PreluBackward.__new__(PreluBackward)
    save_a(node, x)
    if weight is not None:
        save_b(node, weight)
        node.d = (<object>weight.array).shape
    node.a, node.b = a, w
    return attach(y, node, x, weight)


def prelu(input, weight):
    """x where positive, else weight * x with one slope, or one per channel (dimension 1) (He et al., 2015).

    Parameters
    ----------
    input : Tensor (N, C, ...)
    weight : Tensor (C,), (1,) or ()

    Raises
    ------
    RuntimeError
        If weight has neither one value nor one per channel, or another dtype.
    """
    cdef Tensor x = real(input, "prelu_cpu"), w = as_tensor(weight)
    cdef int ndim = np.PyArray_NDIM(x.array)
    if np.PyArray_TYPE(w.array) != np.PyArray_TYPE(x.array):
        raise RuntimeError(f"prelu: Type promoting not supported. Got {x.dtype} and {w.dtype}")
    if np.PyArray_NDIM(w.array) > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {np.PyArray_NDIM(w.array)}")
    cdef np.npy_intp n = np.PyArray_SIZE(w.array)
    if n == 1:
        return slopes(x, (<object>w.array).reshape((1,) * ndim), w)
    if ndim == 0:
        raise RuntimeError("Not allow zero-dim input tensor.")
    cdef np.npy_intp channels = np.PyArray_DIM(x.array, 1) if ndim > 1 else 1
    if n != channels:
        raise RuntimeError(f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {n} and channel "
                           f"size = {channels}.")
    return slopes(x, (<object>contiguous(w.array)).reshape((n,) + (1,) * (ndim - 2)), w)


def rrelu(input, double lower=1.0 / 8, double upper=1.0 / 3, bint training=False, bint inplace=False):
    """x where positive, else a x with a drawn from U(lower, upper) in training, else a = (lower + upper) / 2 (Xu et al., 2015).

    Raises
    ------
    RuntimeError
        If lower is larger than upper.
    """
    cdef Tensor x = real(input, "rrelu_cpu"), y
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training or lower == upper:
        return apply(x, LEAKY_RELU, inplace, (lower + upper) / 2)
    noise = wrap(copy_of(x.array)).uniform_(lower, upper)
    if not inplace:
        return slopes(x, noise.array, None)
    if recording(x):
        raise NotImplementedError("rrelu_: in-place operation with gradient; use inplace=False")
    y = slopes(x, noise.array, None)
    x.touch()
    copy_into(x.array, y.array)
    return x


def rrelu_(input, double lower=1.0 / 8, double upper=1.0 / 3, bint training=False):
    """`rrelu` in place."""
    return rrelu(input, lower, upper, training, True)


@cython.final
cdef class GluBackward(Node):
    """y = p s, s = sigmoid(q): dp = g s, dq = g p s (1 - s).  a: x, b: s, d: axis."""

    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray s = self.b, dx = copy_of(self.a)
        p, _q = halves(self.a, self.d)
        dp, dq = halves(dx, self.d)
        copy_into(dp, binary_array(grad, s, MUL))
        slope = binary_array(s, unary_array(s, AFFINE, -1, 1, 0), MUL)
        copy_into(dq, binary_array(binary_array(grad, p, MUL), slope, MUL))
        return dx

    cdef object derivative(self, object grad, tuple wanted):
        return by_formula(self, grad, wanted, "glu", (self.a,), (self.d,))


def halves(a, int axis):
    """Two views, split along an axis."""
    half = a.shape[axis] // 2
    head = (slice(None),) * axis
    return a[head + (slice(0, half),)], a[head + (slice(half, None),)]


def glu(input, int dim=-1):
    """p sigmoid(q), with p and q the halves of x along `dim` (Dauphin et al., 2016).

    Raises
    ------
    RuntimeError
        If the size along `dim` is odd or x has no dimension.
    """
    cdef Tensor x = real(input, "glu_cpu")
    cdef GluBackward node
    if np.PyArray_NDIM(x.array) == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    cdef int axis = axis_of(dim, np.PyArray_NDIM(x.array))
    if np.PyArray_DIM(x.array, axis) % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {np.PyArray_DIM(x.array, axis)}")
    p, q = halves(x.array, axis)
    s = unary_array(q, SIGMOID, 0, 0, 0)
    y = binary_array(p, s, MUL)
    if not recording(x):
        return wrap(y)
    node = GluBackward.__new__(GluBackward)
    save_a(node, x)
    node.b, node.d = s, axis
    return attach(y, node, x)


for function in (relu, relu_, sigmoid, sigmoid_, tanh, tanh_, hardshrink, prelu):
    install(function.__name__, function)
