"""Stochastic gradient descent."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_lr, check_not_negative

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["SGD"]


class SGD(Optimizer):
    r"""Descend along the gradient, optionally with (Nesterov) momentum.

    With g the gradient plus ``weight_decay * p`` and b the momentum buffer (g itself in the first step)::

        b <- momentum * b + (1 - dampening) * g
        p <- p - lr * b                     (nesterov: p - lr * (g + momentum * b))

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1e-3
    momentum : float, default 0
    dampening : float, default 0
    weight_decay : float, default 0
        L2 penalty.
    nesterov : bool, default False
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        For a negative option, or Nesterov momentum without momentum or with dampening.

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    _family = "sgd"

    def __init__(self, params: Params, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None) -> None:
        check_lr(lr)
        check_not_negative(momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov, maximize=maximize, foreach=foreach,
                                      differentiable=differentiable, fused=fused))

    def _kernel(self, group):
        if group["momentum"] == 0:
            return "sgd"
        return "sgd_nesterov" if group["nesterov"] else "sgd_momentum"

    def _init_state(self, p, group):
        self._first[p] = np.ones(1, np.float32)
        return {"momentum_buffer": state_like(p, 0)}
