"""Averaged stochastic gradient descent."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array
from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_lr, check_not_negative, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["ASGD"]


class ASGD(Optimizer):
    r"""Descend with a falling rate and keep the average of the points passed.

    ::

        p  <- p * (1 - lambd * eta) - eta * g,      eta = lr / (1 + lambd * lr * t)^alpha
        ax <- ax + mu * (p - ax),                   mu = 1 / max(1, t - t0)

    eta and mu are those of the step before; the average is ``state[p]['ax']``.

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1e-2
    lambd : float, default 1e-4
        Decay.
    alpha : float, default 0.75
        Power of the falling rate.
    t0 : float, default 1e6
        Step at which averaging begins.
    weight_decay : float, default 0
        L2 penalty.
    maximize : bool, default False

    References
    ----------
    Polyak and Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control Optim. 30, 1992.
    """

    _family = "asgd"

    def __init__(self, params: Params, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
                 t0: float = 1e6, weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_lr(lr)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable, capturable=capturable))

    def _init_state(self, p, group):
        return {"step": step_counter(), "eta": from_array(np.full((), float(group["lr"]), np.float32)),
                "mu": from_array(np.ones((), np.float32)), "ax": state_like(p, 0)}
