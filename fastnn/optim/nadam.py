"""NAdam."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array
from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_betas, check_lr, check_not_negative, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["NAdam"]


class NAdam(Optimizer):
    r"""Adam with Nesterov momentum, whose momentum grows over the steps.

    With mu_t = beta1 * (1 - 0.5 * 0.96^(t * momentum_decay)) and M_t the product of mu_1 to mu_t::

        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g * g
        p <- p - lr * (mu_{t+1} * m / (1 - M_{t+1}) + (1 - mu_t) * g / (1 - M_t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 2e-3
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-8
    weight_decay : float, default 0
        L2 penalty, or decoupled decay with ``decoupled_weight_decay``.
    momentum_decay : float, default 4e-3
    decoupled_weight_decay : bool, default False
    maximize : bool, default False

    References
    ----------
    Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.
    """

    _family = "nadam"

    def __init__(self, params: Params, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        check_not_negative(eps=eps)
        betas = check_betas(betas)
        check_not_negative(weight_decay=weight_decay, momentum_decay=momentum_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                                      momentum_decay=momentum_decay, decoupled_weight_decay=decoupled_weight_decay,
                                      maximize=maximize, foreach=foreach, capturable=capturable,
                                      differentiable=differentiable))

    def _init_state(self, p, group):
        return {"step": step_counter(), "mu_product": from_array(np.ones((), np.float32)), "exp_avg": state_like(p, 0),
                "exp_avg_sq": state_like(p, 0)}
