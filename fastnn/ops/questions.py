"""What programs ask tensors, where there is but one answer on a CPU; and small changes in place."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor, install
from fastnn.ops.creation import new_empty, new_tensor
from fastnn.ops.host import change

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.types import Number

__all__ = ["is_complex"]


def is_complex(input: Tensor) -> bool:
    """Is the dtype complex?  Never."""
    return False


def _no(self: Tensor) -> bool:
    """Never, on a CPU."""
    return False


def _yes(self: Tensor) -> bool:
    """Always, on a CPU."""
    return True


def same(self: Tensor, *args: object) -> Tensor:
    """The tensor itself: its memory is where it should be."""
    return self


def is_signed(self: Tensor) -> bool:
    """Can the dtype hold negative numbers?"""
    return self.dtype.kind in "fi"


def get_device(self: Tensor) -> int:
    """-1, torch's number of the CPU."""
    return -1


def bfloat16(self: Tensor) -> Tensor:
    """NumPy has no such dtype."""
    raise NotImplementedError("bfloat16 is no dtype of NumPy's: fastnn computes in float32 and float64")


def new(self: Tensor, *args: Any) -> Tensor:
    """A tensor of this dtype, undefined from sizes or a copy of a sequence."""
    return new_tensor(self, args[0]) if len(args) == 1 and not isinstance(args[0], int) else new_empty(self, *args)


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace every element by what a Python function makes of it."""
    if self.requires_grad:
        raise RuntimeError("Can't call apply_() on Variable that requires grad. Use var.detach().apply_() instead.")

    def write(array):
        array[...] = np.array([callable(v) for v in array.ravel().tolist()], array.dtype).reshape(array.shape)
    done: Tensor = change("apply_", self, write, None)
    return done


def fill_diagonal_(self: Tensor, fill_value: Number, wrap: bool = False) -> Tensor:
    """Write one value onto the diagonal; `wrap` begins it anew below the last row of a tall matrix."""
    if self.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.ndim > 2 and len(set(self.shape)) != 1:
        raise RuntimeError("all dimensions of input must be of equal length")

    def write(array):
        np.fill_diagonal(array, fill_value, wrap)

    def rule(grad):
        grad = grad.copy()
        np.fill_diagonal(grad, 0, wrap)
        return grad
    done: Tensor = change("fill_diagonal_", self, write, rule)
    return done


for _name, _answer in {"is_cuda": _no, "is_mps": _no, "is_sparse": _no, "is_quantized": _no, "is_meta": _no, "is_cpu": _yes}.items():
    install(_name, property(_answer))
for _name, _method in {"is_complex": is_complex, "is_pinned": _no, "is_shared": _no, "is_conj": _no, "pin_memory": same,
                       "share_memory_": same, "is_signed": is_signed, "get_device": get_device, "bfloat16": bfloat16, "new": new,
                       "apply_": apply_, "fill_diagonal_": fill_diagonal_}.items():
    install(_name, _method)
