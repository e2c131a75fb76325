from typing import TypeAlias, final

from fastnn.core.tape import Node
from fastnn.core.tensor import Tensor
from fastnn.core.types import Array

_Rows: TypeAlias = tuple[Array, Array, Array]        # first tap of every target, places and weights of the taps
_Map: TypeAlias = tuple[_Rows, _Rows]                # of the values, of their gradient

@final
class AxisMapBackward(Node):
    def again(self, x: Tensor) -> Tensor: ...

def axis_maps(input: Tensor, maps: list[tuple[int, _Map]]) -> Tensor: ...
