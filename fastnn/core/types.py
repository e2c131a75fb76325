"""Names for the types of arguments.  Imported by type checkers only (under TYPE_CHECKING and in stubs)."""
from collections.abc import Callable, Iterable, Sequence
from types import EllipsisType
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastnn.core.random import Generator as Generator
from fastnn.core.tensor import Tensor

Array: TypeAlias = NDArray[Any]
DType: TypeAlias = np.dtype[Any]
DTypeArgument: TypeAlias = DTypeLike | None             # None: the default dtype, or that of the input
Device: TypeAlias = object                              # None, "cpu", or another library's device of type cpu
Number: TypeAlias = float                               # int and bool count as float, too
Operand: TypeAlias = Tensor | Array | np.generic | float
Dims: TypeAlias = int | Sequence[int]
KeyPart: TypeAlias = SupportsIndex | slice | EllipsisType | Tensor | Array | list[Any] | None
Key: TypeAlias = KeyPart | tuple[KeyPart, ...]          # x[key]
Params: TypeAlias = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]  # what optimizers take
Activation: TypeAlias = str | Callable[[Tensor], Tensor]    # of transformers
Tensors: TypeAlias = Tensor | Sequence[Tensor]
