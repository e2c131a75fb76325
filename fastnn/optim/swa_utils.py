"""Averages of weights over training: stochastic weight averaging (SWA) and exponential moving averages (EMA).

The averaged model is a module and lives in `fastnn.nn.utils.averaging`; it is found here under torch's name.
"""
from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING

from fastnn.optim.lr_scheduler.scheduler import LRScheduler, per_group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.optim.optimizer import Optimizer

MODULES = ("AveragedModel", "update_bn", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn")

__all__ = ["SWALR", *MODULES]


def __getattr__(name: str) -> Any:
    if name in MODULES:     # on demand: optimizers do not depend on modules
        return getattr(importlib.import_module("fastnn.nn.utils.averaging"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class SWALR(LRScheduler):
    r"""Anneal the rate of every group to a constant in ``anneal_epochs`` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    swa_lr : float or list of float
        The rate at the end.
    anneal_epochs : int, default 10
    anneal_strategy : {'cos', 'linear'}, default 'cos'
    last_epoch : int, default -1

    References
    ----------
    Izmailov et al., Averaging weights leads to wider optima and better generalization, arXiv:1803.05407.
    """

    def __init__(self, optimizer: Optimizer, swa_lr: float | Sequence[float], anneal_epochs: int = 10,
                 anneal_strategy: str = "cos", last_epoch: int = -1) -> None:
        for rate, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _part(self, step):
        """How much of the way is done after `step` epochs."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def _next(self):
        """From the present rate: undo the last mixture, then mix anew."""
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._part(step - 1), self._part(step)
        rates = []
        for rate, group in zip(self._present(), self.optimizer.param_groups):
            end = group["swa_lr"]
            start = end if before == 1 else (rate - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
