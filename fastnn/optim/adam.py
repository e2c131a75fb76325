"""Adam and AdamW."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_betas, check_lr, check_not_negative, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    r"""Scale a running average of gradients by the root of a running average of their squares.

    ::

        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g * g
        p <- p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1e-3
    betas : (float, float), default (0.9, 0.999)
        Factors of the two averages.
    eps : float, default 1e-8
    weight_decay : float, default 0
        L2 penalty, or decoupled decay with ``decoupled_weight_decay``.
    amsgrad : bool, default False
        Divide by the largest v so far.
    maximize : bool, default False
    decoupled_weight_decay : bool, default False
        Multiply p by ``1 - lr * weight_decay`` before the step instead of adding to the gradient.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, arXiv:1412.6980.
    Reddi et al., On the convergence of Adam and beyond, arXiv:1904.09237 (amsgrad).
    """

    _family = "adam"

    def __init__(self, params: Params, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None, decoupled_weight_decay: bool = False) -> None:
        check_lr(lr)
        check_not_negative(eps=eps)
        betas = check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                                      maximize=maximize, foreach=foreach, capturable=capturable,
                                      differentiable=differentiable, fused=fused,
                                      decoupled_weight_decay=decoupled_weight_decay))

    def _kernel(self, group):
        return "adam_amsgrad" if group["amsgrad"] else "adam"

    def _init_state(self, p, group):
        state = {"step": step_counter(), "exp_avg": state_like(p, 0), "exp_avg_sq": state_like(p, 0)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = state_like(p, 0)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:     # files of older versions lack it
            group.setdefault("decoupled_weight_decay", isinstance(self, AdamW))


class AdamW(Adam):
    r"""Adam with decoupled weight decay: p is multiplied by ``1 - lr * weight_decay`` before the step.

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1e-3
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-8
    weight_decay : float, default 1e-2
    amsgrad : bool, default False
    maximize : bool, default False

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, arXiv:1711.05101.
    """

    def __init__(self, params: Params, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused, decoupled_weight_decay=True)
