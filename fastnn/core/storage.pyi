from collections.abc import Sequence
from typing import SupportsIndex

from numpy.typing import DTypeLike

from fastnn.core.types import Array

class Storage:
    @property
    def version(self) -> int: ...

def trim() -> None: ...
def statistics() -> dict[str, int]: ...
def new_array(shape: SupportsIndex | Sequence[SupportsIndex], dtype: DTypeLike, order: Sequence[int] | None = None) -> Array: ...
