"""Adagrad."""
from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_lr, check_not_negative, step_counter

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

    def __init__(self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, foreach=None,
                 *, maximize=False, differentiable=False, fused=None):
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
