"""Adagrad."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_lr, check_not_negative, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    r"""Divide each step by the root of the sum of all squared gradients.

    ::

        s <- s + g * g
        p <- p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1e-2
    lr_decay : float, default 0
    weight_decay : float, default 0
        L2 penalty.
    initial_accumulator_value : float, default 0
        What s starts from (Keras: 0.1).
    eps : float, default 1e-10
    maximize : bool, default False

    References
    ----------
    Duchi et al., Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12, 2011.
    """

    _family = "adagrad"

    def __init__(self, params: Params, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
                 maximize: bool = False, differentiable: bool = False, fused: bool | None = None) -> None:
        check_lr(lr)
        check_not_negative(lr_decay=lr_decay, weight_decay=weight_decay, eps=eps,
                           initial_accumulator_value=initial_accumulator_value)
        super().__init__(params, dict(lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay,
                                      initial_accumulator_value=initial_accumulator_value, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable, fused=fused))
        for group in self.param_groups:     # torch creates this state before the first step
            for p in group["params"]:
                self.state[p] = self._init_state(p, group)

    def _init_state(self, p, group):
        return {"step": step_counter(), "sum": state_like(p, float(group["initial_accumulator_value"]))}
