"""Logical operations and questions about values."""
import numpy as np

from fastnn.core.tensor import Tensor, install
from fastnn.ops.elementwise import ge, gt, le, lt, ne
from fastnn.ops.host import compute, result, tensor_of
from fastnn.ops.promotion import require_tensors, result_dtype, unsupported

__all__ = ["allclose", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "equal", "greater", "greater_equal",
           "is_floating_point", "is_nonzero", "is_tensor", "isclose", "isfinite", "isin", "isinf", "isnan", "isneginf",
           "isposinf", "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "nan_to_num",
           "not_equal", "numel", "signbit"]

greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne


def _plain(x):
    return x.array if isinstance(x, Tensor) else np.asarray(x)


def _same_size(a, b):
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        n = min(a.ndim, b.ndim)
        i = next(i for i in range(1, n + 1) if a.shape[-i] != b.shape[-i] and 1 not in (a.shape[-i], b.shape[-i]))
        raise RuntimeError(f"The size of tensor a ({a.shape[-i]}) must match the size of tensor b ({b.shape[-i]}) at "
                           f"non-singleton dimension {max(a.ndim, b.ndim) - i}") from None


def _logical(name, function):
    def operation(input, other):
        a, b = _plain(input), _plain(other)
        _same_size(a, b)
        return result(name, compute(name, function, a, b), None)
    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"Elementwise {name.replace('_', ' ')}; nonzero counts as true."
    return install(name, operation)


logical_and = _logical("logical_and", np.logical_and)
logical_or = _logical("logical_or", np.logical_or)
logical_xor = _logical("logical_xor", np.logical_xor)


def logical_not(input):
    """Elementwise not; nonzero counts as true."""
    return result("logical_not", compute("logical_not", np.logical_not, _plain(input)), None)


def _bitwise(name, symbol, function):
    def operation(input, other):
        dtype = result_dtype(input, other)
        if dtype.kind == "f":
            raise unsupported(f"{name}_cpu", dtype)
        a, b = _plain(input).astype(dtype), _plain(other).astype(dtype)
        _same_size(a, b)
        return result(name, compute(name, function, a, b), None)
    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"Elementwise x {symbol} y of integers or bools."
    install(name, operation)
    return operation


bitwise_and = _bitwise("bitwise_and", "&", np.bitwise_and)
bitwise_or = _bitwise("bitwise_or", "|", np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", "^", np.bitwise_xor)
_left_shift = _bitwise("bitwise_left_shift", "<<", np.left_shift)
_right_shift = _bitwise("bitwise_right_shift", ">>", np.right_shift)


def bitwise_not(input):
    """Elementwise complement of integers or bools."""
    a = _plain(input)
    if a.dtype.kind == "f":
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return result("bitwise_not", compute("bitwise_not", np.invert, a), None)


def _question(name, function, text):
    def operation(input):
        a = _plain(input)
        if a.dtype.kind != "f":
            a = a.astype(np.float64)
        return result(name, compute(name, function, a), None)
    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = text
    return install(name, operation)


isnan = _question("isnan", np.isnan, "Which elements are NaN?")
isinf = _question("isinf", np.isinf, "Which elements are infinite?")
isfinite = _question("isfinite", np.isfinite, "Which elements are finite?")
isposinf = _question("isposinf", np.isposinf, "Which elements are +inf?")
isneginf = _question("isneginf", np.isneginf, "Which elements are -inf?")
signbit = _question("signbit", np.signbit, "Which elements have the sign bit set?")


def _close(op, input, other, rtol, atol, equal_nan):
    require_tensors(op, input=input, other=other)
    a, b = input.array, other.array
    if a.dtype != b.dtype:
        raise RuntimeError(f"{op}: {a.dtype} did not match {b.dtype}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(f"{op}: {name} must be greater than or equal to zero, but got {value}")
    try:
        return result(op, np.asarray(np.isclose(a, b, rtol, atol, equal_nan)), None)
    except ValueError:
        raise RuntimeError(f"{op}: shapes {a.shape} and {b.shape} cannot be broadcast") from None


def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """|x - y| <= atol + rtol |y|, elementwise."""
    return _close("isclose", input, other, rtol, atol, equal_nan)


def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Is every element close to its partner?"""
    return bool(_close("allclose", input, other, rtol, atol, equal_nan).array.all())


def equal(input, other):
    """Have two tensors the same shape and values?"""
    return bool(np.array_equal(_plain(input), _plain(other)))


def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """Which elements are among the others?"""
    return result("isin", np.isin(_plain(elements), _plain(test_elements), assume_unique, invert), None)


def nan_to_num(input, nan=0.0, posinf=None, neginf=None):
    """Replace NaN and infinities (by default by 0 and the largest finite numbers)."""
    x = tensor_of(input)
    usual = np.isfinite(x.array)
    return result("nan_to_num", compute("nan_to_num", lambda a: np.nan_to_num(a, nan=nan, posinf=posinf, neginf=neginf), x.array),
                  lambda g: np.where(usual, g, np.zeros((), g.dtype)), x)


def is_tensor(obj):
    """Is this a Tensor?"""
    return isinstance(obj, Tensor)


def is_floating_point(input):
    """Has the tensor a floating-point dtype?"""
    return input.is_floating_point()


def is_nonzero(input):
    """The truth of a one-element tensor."""
    return bool(input)


def numel(input):
    """How many elements?"""
    return input.numel()


for _name, _function in {
        "logical_not": logical_not, "bitwise_not": bitwise_not, "isclose": isclose, "allclose": allclose, "equal": equal,
        "nan_to_num": nan_to_num, "greater": gt, "greater_equal": ge, "less": lt, "less_equal": le, "not_equal": ne,
        "is_nonzero": is_nonzero, "__and__": bitwise_and, "__or__": bitwise_or, "__xor__": bitwise_xor,
        "__rand__": bitwise_and, "__ror__": bitwise_or, "__rxor__": bitwise_xor, "__invert__": bitwise_not,
        "__lshift__": _left_shift, "__rshift__": _right_shift}.items():
    install(_name, _function)
