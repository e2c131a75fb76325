"""Resilient backpropagation."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.ops.update import state_like
from fastnn.optim.optimizer import Optimizer, check_lr, step_counter

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Params

__all__ = ["Rprop"]


class Rprop(Optimizer):
    r"""Step by the sign of the gradient; each element has its own step size.  For full batches.

    The step size grows by ``etas[1]`` while the sign of the gradient stays and shrinks by ``etas[0]`` where it turns; there
    the element rests for one step.

    Parameters
    ----------
    params : iterable of Tensor or dict
        Parameters or parameter groups.
    lr : float, default 1e-2
        First step size.
    etas : (float, float), default (0.5, 1.2)
    step_sizes : (float, float), default (1e-6, 50)
        Smallest and largest step size.
    maximize : bool, default False

    References
    ----------
    Riedmiller and Braun, A direct adaptive method for faster backpropagation learning, ICNN 1993.
    """

    _family = "rprop"

    def __init__(self, params: Params, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
                 maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, dict(lr=lr, etas=etas, step_sizes=step_sizes, foreach=foreach, maximize=maximize,
                                      differentiable=differentiable, capturable=capturable))

    def _init_state(self, p, group):
        return {"step": step_counter(), "prev": state_like(p, 0), "step_size": state_like(p, float(group["lr"]))}
