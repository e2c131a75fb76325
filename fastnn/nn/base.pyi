from collections.abc import Callable, Iterable
from typing import Any

from fastnn.core.tensor import Parameter, Tensor

FIELDS: tuple[str, ...]

def type_name(x: object) -> str: ...
def run_chain(modules: Iterable[Callable[[Any], Any]], x: Any) -> Any: ...

class Registry(dict[str, Any]):
    owner: Any
    def __init__(self, owner: Any, entries: Any = ()) -> None: ...
    def pop(self, name: str, *default: Any) -> Any: ...                     # type: ignore[override]
    def setdefault(self, name: str, default: Any = None) -> Any: ...        # type: ignore[override]

class ModuleBase:
    @property
    def _parameters(self) -> dict[str, Parameter | None]: ...
    @property
    def _buffers(self) -> dict[str, Tensor | None]: ...
    @property
    def _modules(self) -> dict[str, Any]: ...
    _non_persistent_buffers_set: set[str]
    _forward_pre_hooks: dict[int, Any]
    _forward_hooks: dict[int, Any]
    _backward_pre_hooks: dict[int, Any]
    _backward_hooks: dict[int, Any]
    def _start(self, parameters: Any = (), buffers: Any = (), modules: Any = (), non_persistent: Iterable[str] = ()) -> None: ...
    def _leave(self, name: str, registry: dict[str, Any]) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __getattr__(self, name: str) -> Any: ...    # what register_buffer and the like name at run time
