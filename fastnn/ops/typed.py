"""torch's old constructors with a dtype in their name; each is also the class of the tensors of that dtype."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor
from fastnn.ops.creation import empty, tensor
from fastnn.ops.promotion import NAMES

if TYPE_CHECKING:
    from typing import Any

__all__ = ["BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor", "LongTensor", "ShortTensor"]


class TypedTensor(type):
    """`FloatTensor([1, 2])` is a tensor of that dtype, `FloatTensor(2, 3)` an undefined one of that shape."""

    dtype: np.dtype[Any]

    def __call__(cls, *args: Any) -> Tensor:
        if len(args) == 1 and not isinstance(args[0], int):
            return tensor(args[0], dtype=cls.dtype)
        return empty(args or (0,), dtype=cls.dtype)

    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, Tensor) and other.dtype == cls.dtype


BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor, IntTensor, LongTensor, ShortTensor = (
    TypedTensor(f"{name}Tensor", (), {"dtype": np.dtype(dtype), "__doc__": f"Tensors of {dtype}."})
    for dtype, name in sorted(NAMES.items(), key=lambda item: item[1]))
