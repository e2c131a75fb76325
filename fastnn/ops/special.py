"""Functions of one variable that are no kernels of their own."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array, install
from fastnn.ops.elementwise import erf
from fastnn.ops.host import compute, result, tensor_of
from fastnn.ops.promotion import computed_dtype

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor

__all__ = ["erfinv", "sinc"]

_CENTRE = (-0.140543331, 0.914624893, -1.645349621, 0.886226899), (0.012229801, -0.329097515, 1.442710462, -2.118377725, 1.0)
_TAIL = (1.641345311, 3.429567803, -1.624906493, -1.970840454), (1.637067800, 3.543889200, 1.0)


def _real(input):
    """A float tensor, and the dtype of the result."""
    x = tensor_of(input)
    if x.dtype.kind != "f":
        x = x.float()
    return x.to(computed_dtype(x.dtype)), x.dtype


def _erfinv(y):
    y = y.astype(np.float64)
    z = np.sqrt(-np.log((1 - np.abs(y)) / 2))
    tail = np.copysign(np.polyval(_TAIL[0], z) / np.polyval(_TAIL[1], z), y)
    x = np.where(np.abs(y) <= 0.7, y * np.polyval(_CENTRE[0], y * y) / np.polyval(_CENTRE[1], y * y), tail)
    for _ in range(2):      # Newton
        x = x - (erf(from_array(x)).array - y) / (2 / np.sqrt(np.pi) * np.exp(-x * x))
    return np.where(np.abs(y) < 1, x, np.where(np.abs(y) == 1, y * np.inf, np.nan))


def erfinv(input: Tensor) -> Tensor:
    """The inverse of `erf`: infinite at -1 and 1, NaN beyond.

    By rational functions and two steps of Newton's method, in float64.
    """
    x, dtype = _real(input)

    def run(a):
        with np.errstate(all="ignore"):
            return _erfinv(a).astype(a.dtype)
    y = compute("erfinv", run, x.array)
    return result("erfinv", y, lambda g: (g * (np.sqrt(np.pi) / 2) * np.exp(y.astype(np.float64) ** 2)).astype(g.dtype), x).to(dtype)


def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0."""
    x, dtype = _real(input)
    a = x.array
    y = compute("sinc", lambda a: np.sinc(a).astype(a.dtype), a)

    def rule(grad):
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (np.cos(np.pi * a) - np.sinc(a)) / a
        return np.where(a == 0, 0, grad * slope).astype(grad.dtype)
    return result("sinc", y, rule, x, saved=(x,)).to(dtype)


install("erfinv", erfinv)
install("sinc", sinc)
