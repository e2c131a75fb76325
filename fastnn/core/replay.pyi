from collections.abc import Callable
from typing import Any, final

from fastnn.core.plan import Plan
from fastnn.core.recording import Recording
from fastnn.core.tape import Node
from fastnn.core.tensor import Tensor

@final
class RecordedBackward(Node): ...
@final
class PlanBackward(Node): ...

def record_module(recording: Recording, run: Callable[[], tuple[list[Tensor], list[Tensor]]], leaves: list[Tensor],
                  done: Callable[..., Any]) -> tuple[Tensor, ...]: ...
def replay_module(plan: Plan, inputs: list[Tensor], leaves: list[Tensor],
                  present: list[Any]) -> tuple[Tensor, ...] | None: ...
