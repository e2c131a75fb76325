from fastnn.core.tensor import Tensor
from fastnn.core.types import Array

__all__ = ["matmul"]

def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor: ...
def matmul(input: Tensor | Array, other: Tensor | Array, *, out: Tensor | None = None) -> Tensor: ...
