"""Where a tensor lies, and of what kind it is: what programs ask, and where there is but one answer on a CPU."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core.tensor import Tensor, install
from fastnn.ops.creation import new_empty, new_tensor

if TYPE_CHECKING:
    from typing import Any

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


for _name, _answer in {"is_cuda": _no, "is_mps": _no, "is_sparse": _no, "is_quantized": _no, "is_meta": _no, "is_cpu": _yes}.items():
    install(_name, property(_answer))
for _name, _method in {"is_complex": is_complex, "is_pinned": _no, "is_shared": _no, "is_conj": _no, "pin_memory": same,
                       "share_memory_": same, "is_signed": is_signed, "get_device": get_device, "bfloat16": bfloat16, "new": new}.items():
    install(_name, _method)
