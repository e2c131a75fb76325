"""A model whose parameters are an average over training; see also `fastnn.optim.swa_utils`."""
from __future__ import annotations

from copy import deepcopy
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import from_array
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Device

__all__ = ["AveragedModel", "update_bn", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn"]


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """The equal-weights average: ``function(averaged, current, count) -> tensor``."""
    @no_grad()
    def average(averaged, current, count):
        return averaged + (current - averaged) / (int(count) + 1)
    return average


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """The exponential moving average: ``decay * averaged + (1 - decay) * current``."""
    check_decay(decay)

    @no_grad()
    def average(averaged, current, count):
        return averaged * decay + current * (1 - decay)
    return average


def get_swa_multi_avg_fn() -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """The equal-weights average of lists of tensors, in place."""
    def average(averaged, current, count):
        for a, b in zip(averaged, current):
            mix(a, b, 1 / (int(count) + 1))
    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """The exponential moving average of lists of tensors, in place."""
    check_decay(decay)

    def average(averaged, current, count):
        for a, b in zip(averaged, current):
            mix(a, b, 1 - decay)
    return average


def check_decay(decay):
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def mix(averaged, current, weight):
    """averaged += weight * (current - averaged), in place."""
    a, b = averaged.array, current.array
    a[...] = a + a.dtype.type(weight) * (b - a) if a.dtype.kind == "f" else a * (1 - weight) + b * weight
    averaged._touch()


class AveragedModel(Module):
    """A copy of a model that averages the parameters of the original.

    Parameters
    ----------
    model : Module
    device : optional
        None or 'cpu'.
    avg_fn : callable, optional
        ``avg_fn(averaged, current, count)`` returns the new average of one parameter; equal weights when None.
    multi_avg_fn : callable, optional
        The same for lists of parameters, in place.
    use_buffers : bool, default False
        Average buffers too; otherwise they are copied.
    """

    def __init__(self, model: Module, device: Device = None,
                 avg_fn: Callable[[Tensor, Tensor, Tensor | int], Tensor] | None = None,
                 multi_avg_fn: Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None] | None = None,
                 use_buffers: bool = False) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", from_array(np.zeros((), np.int64)))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of `model` into the average; the first time, copy them."""
        averaged, current = self._tensors(self.module), self._tensors(model)
        if self.n_averaged.item() == 0:
            for a, b in zip(averaged, current):
                assign(a, b)
        elif self.avg_fn is not None:
            for a, b in zip(averaged, current):
                assign(a, self.avg_fn(a, b, self.n_averaged))
        else:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averaged, current, self.n_averaged)
        if not self.use_buffers:
            for a, b in zip(self.module.buffers(), model.buffers()):
                assign(a, b)
        self.n_averaged.array[...] += 1

    def _tensors(self, module):
        found = chain(module.parameters(), module.buffers()) if self.use_buffers else module.parameters()
        return [t.detach() for t in found]


def assign(target, source):
    target.array[...] = source.array
    target._touch()


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Device = None) -> None:
    """Compute the running statistics of all BatchNorm layers anew, as averages over one pass through `loader`.

    Parameters
    ----------
    loader : iterable
        Batches, or tuples whose first element is the batch.
    model : Module
    device : optional
        None or 'cpu'.
    """
    momenta: dict[Any, float | None] = {
        m: m.momentum for m in model.modules() if hasattr(m, "reset_running_stats") and hasattr(m, "num_batches_tracked")}
    if not momenta:
        return
    training = model.training
    model.train()
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None      # a cumulative average
    for batch in loader:
        model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(training)
