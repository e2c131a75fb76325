"""Gradient clipping."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor, from_array
from fastnn.ops.update import clamp_, scale_, total_norm

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    r"""Scale all gradients so that their norm, taken over all of them together, is at most `max_norm`.

    ``g <- g * min(1, max_norm / (norm + 1e-6))``

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without gradient are skipped.
    max_norm : float
    norm_type : float, default 2.0
        May be inf.
    error_if_nonfinite : bool, default False
        Raise RuntimeError for a norm that is not finite, instead of scaling by it.

    Returns
    -------
    Tensor
        The norm before clipping, 0-d.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.core.tensor import Parameter, from_array
    >>> p = Parameter(np.zeros(2))
    >>> p.grad = from_array(np.array([3.0, 4.0]))
    >>> clip_grad_norm_(p, 1.0).item(), p.grad.numpy().round(3).tolist()
    (5.0, [0.6, 0.8])
    """
    gradients = gradients_of(parameters)
    if not gradients:
        return from_array(np.zeros((), np.float32))
    norm, factor = total_norm(gradients, float(norm_type), float(max_norm))
    refuse_nonfinite(norm, norm_type, error_if_nonfinite)
    scale_(gradients, factor)
    return norm


def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float, foreach: bool | None = None) -> None:
    r"""Clamp every element of every gradient to [-clip_value, clip_value].

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    clip_value : float
    """
    clip_value = float(clip_value)
    clamp_(gradients_of(parameters), -clip_value, clip_value)


def get_total_norm(tensors: Iterable[Tensor] | Tensor, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                   foreach: bool | None = None) -> Tensor:
    r"""The norm of all tensors together, as if they were one vector.

    Parameters
    ----------
    tensors : Tensor or iterable of Tensor
    norm_type : float, default 2.0
        May be inf.
    error_if_nonfinite : bool, default False
        Raise RuntimeError for a norm that is not finite.

    Returns
    -------
    Tensor
        0-d.
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not tensors:
        return from_array(np.zeros((), np.float32))
    norm, _ = total_norm(tensors, float(norm_type), 1.0)
    refuse_nonfinite(norm, norm_type, error_if_nonfinite)
    return norm


def clip_grads_with_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float, total_norm: Tensor,
                          foreach: bool | None = None) -> None:
    r"""Scale all gradients by ``min(1, max_norm / (total_norm + 1e-6))``, with a norm computed before.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    max_norm : float
    total_norm : Tensor
        From `get_total_norm`.
    """
    factor = np.minimum(1.0, float(max_norm) / (np.float64(total_norm.item()) + 1e-6))
    scale_(gradients_of(parameters), np.full(1, factor))


def gradients_of(parameters):
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in parameters if p.grad is not None]


def refuse_nonfinite(norm, norm_type, wanted):
    if wanted and not np.isfinite(norm.item()):
        raise RuntimeError(f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot "
                           "be clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
                           "`error_if_nonfinite=False`")
