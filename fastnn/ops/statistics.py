"""Statistics of variables and observations."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core.tensor import install
from fastnn.ops.linear import matmul
from fastnn.ops.promotion import require_tensors

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.tensor import Tensor

__all__ = ["corrcoef", "cov", "trapezoid", "trapz"]


def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariance matrix of variables (rows) over observations (columns); of one variable its variance.

    Parameters
    ----------
    input : Tensor (variables, observations) or (observations,)
    correction : int, default 1
        Taken off the number of observations in the divisor.
    fweights : Tensor (observations,) of integers, optional
        How often each was observed.
    aweights : Tensor (observations,), optional
        How much each counts.
    """
    require_tensors("cov", input=input)
    if input.ndim > 2:
        raise RuntimeError("cov(): expected input to have two or fewer dimensions but got an input with "
                           f"{input.ndim} dimensions")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    x = x if x.dtype.kind == "f" else x.float()
    weights: Any = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    if weights is None:
        total, mean = x.new_full((), x.shape[1]), x.mean(1, keepdim=True)
    else:
        weights = weights.to(x.dtype)
        total = weights.sum()
        mean = (x * weights).sum(1, keepdim=True) / total
    norm = total - correction
    if aweights is not None and correction:
        norm = total - correction * (weights * aweights).sum() / total
    centred = x - mean
    return (matmul(centred if weights is None else centred * weights, centred.mT) / norm.clamp(min=0)).squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of variables (rows) over observations (columns)."""
    c = cov(input)
    if c.ndim == 0:
        return c / c
    d = c.diagonal().sqrt()
    return (c / d.unsqueeze(1) / d.unsqueeze(0)).clamp(-1, 1)


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The area under y along an axis by the trapezoidal rule, at places x or at distances dx."""
    n = y.shape[dim]
    means = (y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)) / 2
    if x is None:
        return means.sum(dim) * dx
    places = x if x.ndim > 1 else x.reshape(-1, *[1] * (y.ndim - 1 - dim % y.ndim))
    axis = dim if x.ndim > 1 else 0
    m = places.shape[axis]
    return (means * (places.narrow(axis, 1, m - 1) - places.narrow(axis, 0, m - 1))).sum(dim)


trapz = trapezoid
install("cov", cov)
install("corrcoef", corrcoef)
