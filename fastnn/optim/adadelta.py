"""Adadelta."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_lr, check_not_negative, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    r"""Scale each step by the ratio of past steps to past gradients.

    ::

        s <- rho * s + (1 - rho) * g * g
        d  = sqrt(u + eps) / sqrt(s + eps) * g
        u <- rho * u + (1 - rho) * d * d
        p <- p - lr * d

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1.0
    rho : float in [0, 1], default 0.9
    eps : float, default 1e-6
    weight_decay : float, default 0
        L2 penalty.
    maximize : bool, default False

    References
    ----------
    Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701.
    """

    _family = "adadelta"

    def __init__(self, params: Params, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        if not 0.0 <= float(rho) <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative(eps=eps, weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize,
                                      capturable=capturable, foreach=foreach, differentiable=differentiable))

    def _init_state(self, p, group):
        return {"step": step_counter(), "square_avg": state_like(p, 0), "acc_delta": state_like(p, 0)}
