from typing import Any, final

from fastnn.core.tape import Node
from fastnn.core.types import Array

ZERO: dict[int, Array]

@final
class Region:
    def __init__(self, base: Array, part: Array) -> None: ...

@final
class AsStridedBackward(Node): ...
@final
class CopySlices(Node): ...

def add_in_place_of(memory: Array, region: Region, grad: Any) -> None: ...
