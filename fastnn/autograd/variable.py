"""torch's old name of a tensor in the graph."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core.tensor import Tensor

if TYPE_CHECKING:
    from typing import Any


class _VariableMeta(type):
    def __instancecheck__(cls, other):
        return isinstance(other, Tensor)


class Variable(metaclass=_VariableMeta):
    """`Variable(data, requires_grad=False)` is a tensor that shares data's memory; every tensor is a Variable."""

    # The type checker expects a Variable of __new__: there are none, as since torch 0.4 every one is a tensor.
    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: Any = None) -> Tensor:    # type: ignore[misc]
        return data.detach().requires_grad_(requires_grad)
