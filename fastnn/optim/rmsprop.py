"""RMSprop."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_lr, check_not_negative, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    r"""Divide each step by the root of a running average of squared gradients.

    ::

        s <- alpha * s + (1 - alpha) * g * g
        d  = g / (sqrt(s) + eps)            (centered: sqrt(s - m * m), m the running average of g)
        p <- p - lr * d                     (with momentum: b <- momentum * b + d, p <- p - lr * b)

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1e-2
    alpha : float, default 0.99
    eps : float, default 1e-8
    weight_decay : float, default 0
        L2 penalty.
    momentum : float, default 0
    centered : bool, default False
        Divide by the estimated standard deviation instead.
    maximize : bool, default False

    References
    ----------
    Hinton, Neural networks for machine learning, lecture 6e, 2012.  Centered: Graves, arXiv:1308.0850.
    """

    _family = "rmsprop"

    def __init__(self, params: Params, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        check_not_negative(eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(params, dict(lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered,
                                      weight_decay=weight_decay, capturable=capturable, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable))

    def _kernel(self, group):
        return "rmsprop" + "_centered" * bool(group["centered"]) + "_momentum" * (group["momentum"] > 0)

    def _init_state(self, p, group):
        state = {"step": step_counter(), "square_avg": state_like(p, 0)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = state_like(p, 0)
        if group["centered"]:
            state["grad_avg"] = state_like(p, 0)
        return state
