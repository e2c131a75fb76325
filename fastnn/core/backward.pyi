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
         create_graph: bool = False, only_inputs: bool = True, allow_unused: Literal[False] | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple[Tensor, ...]: ...
@overload
def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor],
         grad_outputs: Operand | Sequence[Operand | None] | None = None, retain_graph: bool | None = None,
         create_graph: bool = False, only_inputs: bool = True, *, allow_unused: bool, is_grads_batched: bool = False,
         materialize_grads: bool = False) -> tuple[Tensor | None, ...]: ...
def tensor_backward(self: Tensor, gradient: Operand | None = None, retain_graph: bool | None = None, create_graph: bool = False,
             inputs: Sequence[Tensor] | None = None) -> None: ...
def set_derivatives(load: Callable[[], tuple[ModuleType, ModuleType]]) -> None: ...
def oldest_first(node: Node) -> int: ...

@final
class Alias(Node): ...
@final
class AdjointBackward(Node): ...
