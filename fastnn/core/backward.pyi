from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Literal, final, overload

from fastnn.core.tape import Node
from fastnn.core.tensor import Tensor
from fastnn.core.types import Operand

def backward(tensors: Sequence[Tensor], gradients: Sequence[Operand | None] | None = None, retain_graph: bool | None = None,
             create_graph: bool = False, inputs: Sequence[Tensor] | None = None) -> None: ...
@overload
def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor],
         grad_outputs: Operand | Sequence[Operand | None] | None = None, retain_graph: bool | None = None,
         create_graph: bool = False, allow_unused: Literal[False] = False) -> tuple[Tensor, ...]: ...
@overload
def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor],
         grad_outputs: Operand | Sequence[Operand | None] | None = None, retain_graph: bool | None = None,
         create_graph: bool = False, *, allow_unused: bool) -> tuple[Tensor | None, ...]: ...
def tensor_backward(self: Tensor, gradient: Operand | None = None, retain_graph: bool | None = None, create_graph: bool = False,
             inputs: Sequence[Tensor] | None = None) -> None: ...
def set_derivatives(load: Callable[[], tuple[ModuleType, ModuleType]]) -> None: ...
def oldest_first(node: Node) -> int: ...

@final
class Alias(Node): ...
@final
class AdjointBackward(Node): ...
