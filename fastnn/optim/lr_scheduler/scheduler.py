"""LRScheduler: what every learning-rate scheduler shares."""
from __future__ import annotations

import contextlib
import types
import warnings
from typing import TYPE_CHECKING

from fastnn.core.tensor import Tensor, from_array
from fastnn.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from typing import Any

__all__ = ["LRScheduler"]

EPOCH_DEPRECATION = ("The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
                     "Please use `scheduler.step()` to step the scheduler.")


class LRScheduler:
    """Base of the schedulers: ``step()`` counts one epoch and writes the new rates into the optimizer's groups.

    A subclass implements ``get_lr`` (one rate per group) or, here in the library, ``_next`` with the same meaning; the
    rates follow from the groups' present ones wherever possible, so that schedulers can be chained and a rate changed by
    hand is respected.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int, default -1
        Number of the last epoch; -1 starts anew and takes the groups' present rates as ``initial_lr``.

    Raises
    ------
    TypeError
        If optimizer is not an Optimizer.
    KeyError
        If last_epoch is given and a group has no ``initial_lr``.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", plain(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                               "last_epoch >= 0: load the optimizer's state first, or start with last_epoch=-1")
        self.base_lrs = [number(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        optimizer._opt_called = False
        self._initial_step()

    def _initial_step(self):
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def step(self, epoch: float | None = None) -> None:
        """Advance by one epoch; call it after the optimizer's step."""
        if self._step_count == 1 and not getattr(self.optimizer, "_opt_called", True):
            warnings.warn("Detected call of `lr_scheduler.step()` before `optimizer.step()`. You should call them in the "
                          "opposite order: `optimizer.step()` before `lr_scheduler.step()`. Failure to do this skips the "
                          "first value of the learning rate schedule.", stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch=None):
        with self._computing():
            if epoch is None:
                self.last_epoch += 1
                rates = self.get_lr()
            else:
                self.last_epoch = epoch
                rates = self._get_closed_form_lr() if hasattr(self, "_get_closed_form_lr") else self.get_lr()
        self._write(rates)

    @contextlib.contextmanager
    def _computing(self):
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _write(self, rates):
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_value(group, "lr", rate)
        self._last_lr = values_of(self.optimizer, "lr")

    def get_lr(self) -> list[float | Tensor]:
        """The next rate of every group; meant for `step`, see `get_last_lr`."""
        if not self._get_lr_called_within_step:
            warnings.warn("To get the last learning rate computed by the scheduler, please use `get_last_lr()`.", stacklevel=2)
        return self._next()

    def _next(self):
        raise NotImplementedError

    def _scaled(self, factor):
        """The present rates times a number."""
        return [rate * factor for rate in self._present()]

    def _present(self):
        return [number(group["lr"]) for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float | Tensor]:
        """The rates that the last step wrote, one per group."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, here or in torch."""
        self.__dict__.update(state_dict)


def check_optimizer(optimizer):
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def plain(value):
    """A copy that does not follow a tensor's later changes."""
    return from_array(value.array.copy()) if isinstance(value, Tensor) else value


def number(value):
    return value.item() if isinstance(value, Tensor) else value


def values_of(optimizer, key):
    return [plain(group[key]) for group in optimizer.param_groups]


def set_value(group, key, value):
    """Write an option; a tensor stays the same tensor."""
    if isinstance(group[key], Tensor):
        group[key].array[...] = float(value)
    else:
        group[key] = value


def per_group(name, optimizer, value):
    """One value per group, from a list of that length or a single value."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [number(value)] * groups
    if len(value) != groups:
        raise ValueError(f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
                         f"param_groups has {groups}.")
    return [number(v) for v in value]


def state_of_function(function):
    """What of a user's function is saved: the attributes of a callable object, nothing of a plain function."""
    return None if isinstance(function, types.FunctionType) else function.__dict__.copy()


class MomentumCycle:
    """Momentum (or Adam's first beta) that runs against the rate, for the cyclic schedulers."""

    def _start_momentum(self, base_momentum, max_momentum, last_epoch):
        optimizer = self.optimizer
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        self.use_beta1 = "betas" in optimizer.defaults
        base = per_group("base_momentum", optimizer, base_momentum)
        largest = per_group("max_momentum", optimizer, max_momentum)
        if last_epoch == -1:
            for low, high, group in zip(base, largest, optimizer.param_groups):
                self._set_momentum(group, high)
                group["max_momentum"], group["base_momentum"] = high, low
        return base, largest

    def _set_momentum(self, group, value):
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value
