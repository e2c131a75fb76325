from typing import TypeAlias, final

from numpy.typing import ArrayLike

from fastnn.core.tape import Node
from fastnn.core.tensor import Tensor
from fastnn.core.types import Array

_Rows: TypeAlias = tuple[Array, Array, Array]        # first tap of every target, places and weights of the taps

@final
class AxisMapBackward(Node):
    def again(self, x: Tensor) -> Tensor: ...

def rows_of(place: ArrayLike, weight: ArrayLike) -> _Rows: ...
def transposed(rows: _Rows, sources: int) -> _Rows: ...
def axis_maps(input: Tensor, maps: list[tuple[int, _Rows]]) -> Tensor: ...
