"""Adamax."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_betas, check_lr, check_not_negative, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["Adamax"]


class Adamax(Optimizer):
    r"""Adam with the infinity norm in place of the root mean square.

    ::

        m <- beta1 * m + (1 - beta1) * g
        u <- max(beta2 * u, abs(g) + eps)
        p <- p - lr / (1 - beta1^t) * m / u

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 2e-3
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-8
    weight_decay : float, default 0
        L2 penalty.
    maximize : bool, default False

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, arXiv:1412.6980, section 7.
    """

    _family = "adamax"

    def __init__(self, params: Params, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_lr(lr)
        check_not_negative(eps=eps)
        betas = check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable, capturable=capturable))

    def _init_state(self, p, group):
        return {"step": step_counter(), "exp_avg": state_like(p, 0), "exp_inf": state_like(p, 0)}
