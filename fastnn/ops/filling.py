"""Writing into a tensor what no out-of-place operation gives: its diagonal, what a Python function makes of its elements."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor, install
from fastnn.ops.host import change

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.types import Number

__all__: list[str] = []     # methods of Tensor only


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace every element by what a Python function makes of it."""
    if self.requires_grad:
        raise RuntimeError("Can't call apply_() on Variable that requires grad. Use var.detach().apply_() instead.")

    def write(array):
        array[...] = np.array([callable(v) for v in array.ravel().tolist()], array.dtype).reshape(array.shape)
    done: Tensor = change("apply_", self, write, None)
    return done


def fill_diagonal_(self: Tensor, fill_value: Number, wrap: bool = False) -> Tensor:
    """Write one value onto the diagonal; `wrap` begins it anew below the last row of a tall matrix."""
    if self.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.ndim > 2 and len(set(self.shape)) != 1:
        raise RuntimeError("all dimensions of input must be of equal length")

    def write(array):
        np.fill_diagonal(array, fill_value, wrap)

    def rule(grad):
        grad = grad.copy()
        np.fill_diagonal(grad, 0, wrap)
        return grad
    done: Tensor = change("fill_diagonal_", self, write, rule)
    return done


for _method in (apply_, fill_diagonal_):
    install(_method.__name__, _method)
