# cython: allow_none_for_extension_args=False
"""Powers, negation, remainders and other functions of two variables."""
cimport numpy as np

import numpy as np

from fastnn.core.launch cimport host_call
from fastnn.core.tensor cimport Tensor, as_tensor, recording, wrap
from fastnn.kernels.pointwise cimport Unary, binary_code
from fastnn.ops.arguments cimport is_real
from fastnn.ops.copy cimport convert, converted
from fastnn.ops.elementwise cimport binary_array, broadcast_shape, operands, unary
from fastnn.ops.layout cimport sum_to_shape

from fastnn.core.tensor import get_default_dtype, install
from fastnn.kernels.pointwise import UNARIES
from fastnn.ops.aliases import into
from fastnn.ops.host import result
from fastnn.ops.promotion import computed_dtype, result_dtype, unsupported

np.import_array()

cdef int NEG = (<Unary>UNARIES["neg"]).code, SQUARE = (<Unary>UNARIES["square"]).code
cdef int POWER = (<Unary>UNARIES["power"]).code, POWER_OF = (<Unary>UNARIES["power_of"]).code
cdef int SQRT = (<Unary>UNARIES["sqrt"]).code, RECIPROCAL = (<Unary>UNARIES["reciprocal"]).code


def neg(input):
    """Negate elementwise."""
    cdef Tensor x = as_tensor(input)
    if is_real(x.array):
        return unary(x, NEG)
    if np.PyArray_TYPE(x.array) == np.NPY_BOOL:
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, "
                           "use the `~` or `logical_not()` operator instead.")
    if x.dtype.kind == "f":
        return neg(x.to(computed_dtype(x.dtype))).to(x.dtype)
    return wrap(np.asarray(host_call("neg", np.negative, (x.array,))))


def pow(input, exponent, *, out=None):
    """Raise to a power: a number, a tensor, or a number raised to a tensor.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.tensor([1.0, 2.0, 3.0]) ** 2
    tensor([1., 4., 9.])
    """
    cdef Tensor x
    cdef double e
    cdef np.ndarray p, q
    if out is not None:
        return into(out, pow(input, exponent))
    if not isinstance(exponent, (Tensor, np.ndarray, list)):
        x = as_tensor(input)
        if is_real(x.array):
            e = exponent
            return (unary(x, SQUARE) if e == 2 else unary(x, SQRT) if e == 0.5 else unary(x, RECIPROCAL) if e == -1
                    else unary(x, POWER, e))
        dtype = result_dtype(x, exponent)
        if dtype.kind == "f":
            return convert(pow(convert(x, computed_dtype(dtype)), exponent), dtype)
        if exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        return wrap(np.asarray(host_call("pow", np.power, (converted(x.array, dtype.num), np.asarray(exponent, dtype)))))
    if not isinstance(input, Tensor):
        x = as_tensor(exponent)
        dtype = result_dtype(input, x)
        if dtype.kind == "f" and input > 0:
            return convert(unary(convert(x, computed_dtype(dtype)), POWER_OF, input, np.log(input)), dtype)
    dtype = widened(input, exponent)
    if dtype is not None:
        inner = computed_dtype(dtype)
        return pow(as_tensor(input).to(inner), as_tensor(exponent).to(inner)).to(dtype)
    p, q = operands(input, exponent, False)
    return power_tensors(as_tensor(input), as_tensor(exponent), p, q)


cdef bint is_plain(object x):
    """A number, or a tensor that the kernels take as it is?"""
    return is_real((<Tensor>x).array) if isinstance(x, Tensor) else isinstance(x, (int, float))


cdef object widened(object x, object y):
    """The dtype of a result that is computed in another one (float16, longer floats); None for all others."""
    if is_plain(x) and is_plain(y):
        return None
    dtype = result_dtype(as_tensor(x) if isinstance(x, list) else x, as_tensor(y) if isinstance(y, list) else y)
    return dtype if dtype.kind == "f" and dtype != computed_dtype(dtype) else None


cdef Tensor power_tensors(Tensor x, Tensor y, np.ndarray p, np.ndarray q):
    cdef np.ndarray z
    broadcast_shape(p, q)
    if not is_real(p):
        return wrap(np.asarray(host_call("pow", integer_power, (p, q))))
    z = binary_array(p, q, binary_code("pow"))
    if not recording(x, y):
        return wrap(z)
    types = np.PyArray_TYPE(x.array), np.PyArray_TYPE(y.array)
    wanted = x.requires_grad, y.requires_grad

    def rule(np.ndarray grad):
        with np.errstate(divide="ignore", invalid="ignore"):
            dx = np.where(np.equal(q, 0), np.zeros((), z.dtype), grad * (q * np.power(p, q - 1))) if wanted[0] else None
            dy = np.where(np.equal(p, 0) & np.greater_equal(q, 0), np.zeros((), z.dtype), grad * (z * np.log(p))) if wanted[1] else None
        return shares(dx, dy, p, q, types)
    return result("pow", z, rule, x, y, saved=(x, y), formula=power_formula)


def power_formula(x, y):
    """x ** y by a logarithm; of negative numbers by that of their size, of 0 without a gradient of y."""
    zero = x == 0
    size = x.abs().where(zero.logical_not(), 1.0)
    sign = (1 - 2 * (y.detach() % 2)).where((x < 0).logical_and(y.detach() % 1 == 0), 1.0)
    return ((size.log() * y).exp() * sign).where(zero.logical_not(), x.abs())


cdef tuple shares(dx, dy, np.ndarray p, np.ndarray q, tuple types):
    """Gradients in the shapes and dtypes of the operands."""
    return (None if dx is None else converted(sum_to_shape(np.asarray(dx), (<object>p).shape), types[0]),
            None if dy is None else converted(sum_to_shape(np.asarray(dy), (<object>q).shape), types[1]))


def integer_power(p, q):
    """Negative powers of integers are 0, except of 1 and -1 (torch)."""
    if p.dtype == np.bool_:
        return np.logical_or(p, ~q)
    positive = np.power(p, np.maximum(q, 0))
    return np.where(q >= 0, positive, np.where(p == 1, 1, np.where(p == -1, 1 - 2 * (q % 2), 0))).astype(p.dtype)


def reflected_pow(self, base):
    """base ** self"""
    return pow(base, self)


def make_binary(str name, rule, integers, bint floating, str text):
    """A function of two variables: `rule(grad, p, q, z)` gives both gradients before broadcasting is undone."""
    cdef int code = binary_code(name)

    def function(input, other):
        cdef np.ndarray p, q
        cdef object dtype = widened(input, other)
        if dtype is not None:
            inner = computed_dtype(dtype)
            return function(as_tensor(input).to(inner), as_tensor(other).to(inner)).to(dtype)
        p, q = operands(input, other, floating)
        if not is_real(p):
            empty = 0 in broadcast_shape(p, q)
            if np.PyArray_TYPE(p) == np.NPY_BOOL:
                raise unsupported(f"{name}_cpu", np.bool_)
            if not empty and (np.equal(q, 0)).any():
                raise RuntimeError("ZeroDivisionError")
            return wrap(np.asarray(host_call(name, integers, (p, q))))
        z = binary_array(p, q, code)
        x, y = as_tensor(input), as_tensor(other)
        if not recording(x, y):
            return wrap(z)
        types = np.PyArray_TYPE((<Tensor>x).array), np.PyArray_TYPE((<Tensor>y).array)

        def backward(np.ndarray grad):
            with np.errstate(divide="ignore", invalid="ignore"):
                dx, dy = rule(grad, p, q, z)
            return shares(dx, dy, p, q, types)
        return result(name, z, backward, x, y, saved=(x, y))
    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    install(name, function)
    return function


def quotient_rule(function):
    """The rule of remainders x - y round(x / y): 1 and minus the rounded quotient."""
    return lambda g, p, q, z: (g, -g * function(p / q))


def floored(p, q):
    return np.floor_divide(p, q)


remainder = make_binary("remainder", quotient_rule(np.floor), np.remainder, False, "Remainder with the sign of the divisor.")
fmod = make_binary("fmod", quotient_rule(np.trunc), np.fmod, False, "Remainder with the sign of the dividend.")
floor_divide = make_binary("floor_divide", lambda g, p, q, z: (np.zeros_like(g), np.zeros_like(g)), floored, False,
                           "Quotient rounded down.")
atan2 = make_binary("atan2", lambda g, p, q, z: (g * q / (p * p + q * q), -g * p / (p * p + q * q)), np.arctan2, True,
                    "Angle of the point (other, input).")
hypot = make_binary("hypot", lambda g, p, q, z: (g * p / z, g * q / z), np.hypot, True, "sqrt(x^2 + y^2).")


def reflected(function):
    """The operator with its operands exchanged."""
    return lambda self, other: function(other, self)


def addcmul(input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 * tensor2."""
    product = tensor1 * tensor2
    return input + (product if value == 1 else product * value)


def addcdiv(input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 / tensor2."""
    quotient = tensor1 / tensor2
    return input + (quotient if value == 1 else quotient * value)


def lerp(input, end, weight):
    """input + weight * (end - input)."""
    return input + (end - input) * weight


def rsub(input, other, *, alpha=1):
    """other - alpha * input."""
    return other - (input if alpha == 1 else input * alpha)


def float_power(input, exponent):
    """Raise to a power in float64."""
    return pow(as_tensor(input).to(np.float64), exponent)


def positive(input):
    """The tensor itself."""
    return input


def logaddexp(input, other):
    """log(e^x + e^y), safe from overflow."""
    top = input.maximum(other).detach()
    top = top.where(top.isfinite(), 0.0)
    return ((input - top).exp() + (other - top).exp()).log() + top


def xlogy(input, other):
    """x log y, 0 where x is 0."""
    x, y = as_tensor(input), as_tensor(other)
    return (x * y.log()).where((x != 0).logical_or(y.isnan()), 0.0)


def fmax(input, other):
    """The larger of two; a number where the other is NaN. The gradient of a tie goes to input."""
    x, y = as_tensor(input), as_tensor(other)
    return x.where((x >= y).logical_or(y.isnan()), y)


def fmin(input, other):
    """The smaller of two; a number where the other is NaN. The gradient of a tie goes to input."""
    x, y = as_tensor(input), as_tensor(other)
    return x.where((x <= y).logical_or(y.isnan()), y)


def copysign(input, other):
    """|x| with the sign of y; the gradient of x at 0 is 0."""
    x, y = as_tensor(input), as_tensor(other)
    dtype = result_dtype(input, other)
    size = x.to(dtype if dtype.kind == "f" else get_default_dtype()).abs()
    return (-size).where(y.signbit(), size)


def heaviside(input, values):
    """0 below 0, 1 above, `values` at 0; NaN counts as below."""
    x, v = as_tensor(input), as_tensor(values)
    if x.dtype != v.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return v.where(x == 0, (x > 0).to(x.dtype))


def deg2rad(input):
    """Degrees to radians."""
    return input * (np.pi / 180)


def rad2deg(input):
    """Radians to degrees."""
    return input * (180 / np.pi)


for name, function in {
        "neg": neg, "negative": neg, "__neg__": neg, "pow": pow, "__pow__": pow, "__rpow__": reflected_pow,
        "__mod__": remainder, "__rmod__": reflected(remainder), "__floordiv__": floor_divide,
        "__rfloordiv__": reflected(floor_divide), "arctan2": atan2, "addcmul": addcmul, "addcdiv": addcdiv, "lerp": lerp,
        "float_power": float_power, "positive": positive, "logaddexp": logaddexp, "xlogy": xlogy, "deg2rad": deg2rad,
        "rad2deg": rad2deg, "fmax": fmax, "fmin": fmin, "copysign": copysign, "heaviside": heaviside}.items():
    install(name, function)

__all__ = ["addcdiv", "addcmul", "arctan2", "atan2", "copysign", "deg2rad", "float_power", "floor_divide", "fmax", "fmin", "fmod",
           "heaviside", "hypot", "lerp", "logaddexp", "neg", "negative", "positive", "pow", "rad2deg", "remainder", "rsub", "xlogy"]
negative, arctan2 = neg, atan2
