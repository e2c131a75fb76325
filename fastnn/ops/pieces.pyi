from typing import Any, final

from fastnn.core.tape import Node
from fastnn.core.tensor import Tensor
from fastnn.core.types import Array

@final
class CatBackward(Node): ...

def join(tensors: list[Tensor], axis: int) -> Tensor: ...
def put_back(grad: Array, shape: tuple[int, ...], key: Any) -> Array: ...
