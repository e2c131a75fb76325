"""Adafactor."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array
from fastnn.ops.update import state_like
from fastnn.optim.optimizer import HostOptimizer, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["Adafactor"]


class Adafactor(HostOptimizer):
    r"""Adaptive steps whose second moments of a matrix are kept as one row and one column.

    With b_t = t^beta2_decay, r_t = min(lr, 1 / sqrt(t)) and RMS the root mean square of all elements::

        R <- (1 - b_t) * R + b_t * mean(g * g, last axis),  C likewise over the axis before
        V  = R C / mean(R)                  (vectors: V <- (1 - b_t) * V + b_t * g * g)
        u  = g / sqrt(max(V, eps1^2))
        p <- p - max(eps2, RMS(p)) * r_t * u / max(1, RMS(u) / d)

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1e-2
        The largest relative step.
    beta2_decay : float of at most 0, default -0.8
    eps : (float or None, float), default (None, 1e-3)
        The first is the machine epsilon of the parameter's dtype when None.
    d : float of at least 1, default 1.0
        Clipping threshold of the update's RMS.
    weight_decay : float, default 0.0
        Decoupled.
    maximize : bool, default False

    References
    ----------
    Shazeer and Stern, Adafactor: adaptive learning rates with sublinear memory cost, arXiv:1804.04235.
    """

    def __init__(self, params: Params, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
                 eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
                 foreach: bool | None = None, maximize: bool = False) -> None:
        if not float(lr) >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(params, dict(lr=lr, beta2_decay=beta2_decay, eps=eps, d=d, weight_decay=weight_decay,
                                      foreach=foreach, maximize=maximize))

    def _init_state(self, p, group):
        if p.ndim < 2:
            return {"step": step_counter(), "variance": state_like(p, 0)}
        rows, columns = (*p.shape[:-1], 1), (*p.shape[:-2], 1, p.shape[-1])
        return {"step": step_counter(), "row_var": from_array(np.zeros(rows, p.dtype)),
                "col_var": from_array(np.zeros(columns, p.dtype))}

    def _update(self, p, g, state, group):
        real, (eps1, eps2) = p.dtype.type, group["eps"]
        eps1 = np.finfo(p.dtype).eps if eps1 is None else eps1
        state["step"].array[...] += 1
        t, lr = state["step"].item(), float(group["lr"])
        new = real(t ** group["beta2_decay"])
        size = max(eps2, rms(p)) * min(lr, t ** -0.5)
        if group["weight_decay"]:
            p *= real(1 - lr * group["weight_decay"])
        if group["maximize"]:
            g = -g
        if p.ndim < 2:
            variance = state["variance"].array
            variance += new * (g * g - variance)
        else:
            row, column = state["row_var"].array, state["col_var"].array
            row += new * (np.mean(g * g, -1, keepdims=True) - row)
            column += new * (np.mean(g * g, -2, keepdims=True) - column)
            variance = row * column / np.maximum(np.mean(row, -2, keepdims=True), real(eps1))
        update = g / np.sqrt(np.maximum(variance, real(eps1 * eps1)))
        p -= real(size / max(1.0, rms(update) / group["d"])) * update


def rms(x):
    """Root mean square of all elements."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.size else 0.0
