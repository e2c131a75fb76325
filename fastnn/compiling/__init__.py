"""Compiled steps: a whole inference, training step or epoch as one call without the GIL.

A step is run eagerly under a recorder until two recordings in succession agree: twice, or three times where the first run
made state that the next ones found.  Then it becomes a plan that replays the very same kernel calls.  What a plan cannot
replay runs eagerly, after one warning.  See docs/compile.md.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, overload

from fastnn.compiling.module import CompiledModule
from fastnn.compiling.step import CompiledStep
from fastnn.core.plan import NotCapturedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.optim import Optimizer

__all__ = ["CompiledModule", "CompiledStep", "NotCapturedError", "compile"]


@overload
def compile(model: Callable[..., Any], loss_fn: None = None, optimizer: None = None, *, max_norm: float | None = None,
            clip_value: float | None = None, fullgraph: bool = False) -> CompiledModule: ...
@overload
def compile(model: Callable[..., Any], loss_fn: Callable[..., Any], optimizer: Optimizer, *, max_norm: float | None = None,
            clip_value: float | None = None, fullgraph: bool = False) -> CompiledStep: ...
def compile(model: Callable[..., Any], loss_fn: Callable[..., Any] | None = None, optimizer: Optimizer | None = None, *,
            max_norm: float | None = None, clip_value: float | None = None,
            fullgraph: bool = False) -> CompiledModule | CompiledStep:
    """Compile a model's inference, or with a loss and an optimizer its training step.

    Parameters
    ----------
    model : Module or callable
    loss_fn : callable, optional
        ``loss_fn(output, target)`` returning a one-element tensor.
    optimizer : Optimizer, optional
    max_norm : float, optional
        Clip the norm of all gradients, as `nn.utils.clip_grad_norm_`.
    clip_value : float, optional
        Clip every gradient element, as `nn.utils.clip_grad_value_`.
    fullgraph : bool, default False
        Raise NotCapturedError where a step cannot be captured, instead of running it eagerly after a warning.

    Returns
    -------
    CompiledModule or CompiledStep

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.nn.Linear(3, 2)
    >>> step = fastnn.compile(model, fastnn.nn.MSELoss(), fastnn.optim.SGD(model.parameters(), lr=0.1))
    >>> loss = step(fastnn.ones(4, 3), fastnn.zeros(4, 2))
    """
    if loss_fn is None and optimizer is None:
        return CompiledModule(model, fullgraph)
    if loss_fn is None or optimizer is None:
        raise ValueError("compile: a training step needs both loss_fn and optimizer")
    return CompiledStep(model, loss_fn, optimizer, max_norm, clip_value, fullgraph)
