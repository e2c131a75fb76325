"""Result dtypes of operations on operands of different kinds, by torch's rules.

The dtype follows the category (bool < integer < float).  Tensors with axes come first; 0-d tensors and then Python
numbers only count when their category is higher.  An integer tensor and a float give that float; an integer tensor and
a Python float the default dtype.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor, get_default_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import DTypeLike

    from fastnn.core.types import Array, Device, DType, DTypeArgument, Number, Operand

BOOL, INT64 = np.dtype(np.bool_), np.dtype(np.int64)
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}
NAMES = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char",
         "uint8": "Byte", "bool": "Bool"}


def promote_types(type1: DTypeLike, type2: DTypeLike) -> DType:
    """The dtype that holds both, without losing the category: integer and float give the float.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.promote_types(fastnn.int64, fastnn.float32)
    dtype('float32')
    """
    a, b = np.dtype(type1), np.dtype(type2)
    if a == b:
        return a
    if (a.kind == "f") != (b.kind == "f"):
        return a if a.kind == "f" else b
    return np.promote_types(a, b)


def number_dtype(x: Number | np.generic) -> DType:
    """The dtype of a Python number."""
    if isinstance(x, bool | np.bool_):
        return BOOL
    if isinstance(x, int | np.integer):
        return INT64
    return get_default_dtype()


def number_in(value: Number | np.generic, dtype: DType) -> Array:
    """A number as an array without axes; an integer loses its fraction, an unsigned one its sign (torch), and what does not fit is an
    error."""
    kept: Any = value if dtype.kind not in "iu" or not np.isfinite(value) else int(value)
    if dtype.kind == "u" and -np.iinfo(dtype).max <= kept < 0:
        kept += np.iinfo(dtype).max + 1
    try:
        with np.errstate(over="raise", invalid="raise"):
            return np.asarray(kept).astype(dtype) if dtype.kind in "bf" else np.asarray(kept, dtype)
    except (OverflowError, FloatingPointError, ValueError):
        raise RuntimeError(f"value cannot be converted to type {dtype} without overflow") from None


def result_dtype(*operands: Operand) -> DType:
    """The dtype of an operation on tensors, arrays and numbers."""
    with_axes = zero_d = numbers = None
    for x in operands:
        if isinstance(x, Tensor):
            dtype, ndim = x.dtype, x.ndim
        elif isinstance(x, np.ndarray):
            dtype, ndim = x.dtype, x.ndim
        else:
            dtype = number_dtype(x)
            numbers = dtype if numbers is None else promote_types(numbers, dtype)
            continue
        if ndim:
            with_axes = dtype if with_axes is None or with_axes == dtype else promote_types(with_axes, dtype)
        else:
            zero_d = dtype if zero_d is None else promote_types(zero_d, dtype)
    return combine(with_axes, combine(zero_d, numbers))


def combine(strong: DType | None, weak: DType | None) -> Any:
    """The stronger operands' dtype, unless the weaker ones are of a higher category."""
    if strong is None or weak is None:
        return weak if strong is None else strong
    if CATEGORY[weak.kind] > CATEGORY[strong.kind]:
        return promote_types(strong, weak) if strong.kind == "b" or weak.kind == "f" else strong
    return strong


def result_type(tensor1: Operand, tensor2: Operand) -> DType:
    """The dtype of an arithmetic operation on two operands."""
    return result_dtype(tensor1, tensor2)


def can_cast(from_: DTypeLike, to: DTypeLike) -> bool:
    """May a result of dtype `from_` be stored in `to`?  Only to the same or a higher category."""
    return CATEGORY[np.dtype(from_).kind] <= CATEGORY[np.dtype(to).kind]


def computed_dtype(dtype: DType) -> DType:
    """The dtype that the kernels compute a float dtype in: float32 for float16 (as torch does), float64 for a longer one."""
    return dtype if dtype in (FLOAT32, FLOAT64) else FLOAT32 if dtype.itemsize < FLOAT32.itemsize else FLOAT64


def type_name(dtype: DTypeLike) -> str:
    """torch's name of a dtype in its messages."""
    return NAMES.get(np.dtype(dtype).name, np.dtype(dtype).name)


def unsupported(op: str, dtype: DTypeLike, needs: str = "") -> NotImplementedError:
    """The exception for a dtype that an operation does not take: torch's class and words, for what it refuses as well."""
    return NotImplementedError(f"\"{op}\" not implemented for '{type_name(dtype)}'" + (f" (needs {needs})" if needs else ""))


def misfit(op: str, what: str, expected: Sequence[object], got: Sequence[int]) -> RuntimeError:
    """The exception for an argument of another size."""
    return RuntimeError(f"{op}: expected {what} of size {list(expected)}, but got {list(got)}")


def check_device(device: Device) -> None:
    """Raise for anything but the CPU."""
    if device is not None and str(getattr(device, "type", device)).split(":")[0] != "cpu":
        raise RuntimeError(f"device {device} is not available, fastnn computes on the CPU only")


def float_dtype(device: Device, dtype: DTypeArgument) -> DType:
    """Check the device and dtype arguments of a layer; gives the NumPy dtype of its parameters."""
    check_device(device)
    dtype = get_default_dtype() if dtype is None else np.dtype(dtype)
    if dtype not in (FLOAT32, FLOAT64):
        raise TypeError(f"parameters are float32 or float64, got {dtype}")
    return dtype


def require_tensors(op: str, **arguments: object) -> None:
    """Raise TypeError, as torch does, for the first argument that is no tensor."""
    for position, (name, value) in enumerate(arguments.items(), 1):
        if not isinstance(value, Tensor):
            raise TypeError(f"{op}(): argument '{name}' (position {position}) must be Tensor, not {type(value).__name__}")
