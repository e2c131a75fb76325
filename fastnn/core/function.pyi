from typing import Any

from fastnn.core.tape import Node

class UserNode(Node): ...

def apply_function(rule: type, context: Any, arguments: tuple[Any, ...], outputs: Any) -> Any: ...
