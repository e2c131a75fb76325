"""Training a machine on rows of data by a compiled step."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.boltzmann.units import as_rows, check_counts
from fastnn.compiling import CompiledStep
from fastnn.core.grad_mode import no_grad
from fastnn.core.random import randperm_array
from fastnn.nn.module import Module
from fastnn.optim import SGD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from fastnn.boltzmann.rbm import RBM
    from fastnn.core.types import Array, Generator
    from fastnn.optim import Optimizer

# Learning rates per kind (Hinton, 2010): real-valued units diverge at the rate that binary ones like.
RATES = {"bernoulli": 0.1, "softmax": 0.05, "multinomial": 0.001, "gaussian": 0.001}


class Rows(Module):
    """The model of a compiled step: there is no forward pass apart from the loss."""

    def __init__(self, rbm):
        super().__init__()
        self.rbm = rbm

    def forward(self):
        return None


class PassingStep(CompiledStep):
    """A step whose gradients nobody looks at: a plan may use them up as they are made."""

    def _gradient_leaves(self):
        return []

    def __call__(self, *batch):
        loss = super().__call__(*batch)
        self.optimizer.zero_grad()      # what a recorded run left
        return loss


def compiled_step(rbm: RBM, optimizer: Optimizer, k: int = 1, method: str = "cd", *, gradients: bool = True,
                  **options: Any) -> CompiledStep:
    """A compiled update: ``loss = step(v)``, and ``step.run_epoch(X, batch_size=...)`` for whole epochs.

    Learning-rate changes are seen by the next step; options as in `contrastive_loss`.  With ``gradients=False`` the parameters'
    ``.grad`` is None after a step: what SGD without momentum adds to the weight is added as it is made, to the same bits.
    """
    def loss(output, v):
        return rbm.contrastive_loss(v, k, method, **options)
    return (CompiledStep if gradients else PassingStep)(Rows(rbm), loss, optimizer)


def fit(rbm: RBM, X: Any, epochs: int = 10, *, batch_size: int = 100, lr: float | None = None, k: int = 1,
        method: str = "cd", momentum: float = 0.5, final_momentum: float = 0.9, weight_decay: float = 2e-4,
        final_lr: float | None = None, shuffle: bool = True, optimizer: Optimizer | None = None,
        callbacks: Sequence[Callable[..., Any]] = (), generator: Generator | None = None, **options: Any) -> RBM:
    """Train `rbm` on the rows of X.  Gradients are no result: `.grad` of its parameters means nothing afterwards.

    Parameters
    ----------
    X : array, Tensor or sparse matrix (rows, n_visible)
    epochs : int, default 10
    batch_size : int, default 100
    lr : float, default by the kind of units: 0.1 bernoulli, 0.001 gaussian or relu
    k, method : Gibbs steps and chains, as in `contrastive_loss`, which takes the other options
    momentum, final_momentum : float, default 0.5 in the first five epochs, 0.9 later
    weight_decay : float, default 2e-4, of the weight only
    final_lr : float, default lr
        The rate falls linearly to this.
    shuffle : bool, default True
    optimizer : Optimizer, default SGD of the options above
    callbacks : functions (epoch, rbm, mean loss)
        Called after every epoch; one that returns True ends the training.

    Raises
    ------
    FloatingPointError
        If the parameters are no longer finite.
    """
    check_counts("RBM.fit", 0, epochs=epochs)
    check_counts("RBM.fit", 1, batch_size=batch_size, k=k)
    rate = lr if lr is not None else min(RATES[rbm.visible], 0.001 if rbm.hidden == "relu" else 1)
    own = optimizer is None
    if optimizer is None:
        optimizer = SGD(rbm.param_groups(weight_decay=weight_decay), lr=rate, momentum=momentum)
    rows = None if hasattr(X, "toarray") else rbm.units.rows(X)
    step = None
    if rows is not None and compilable(rbm, method, options):
        step = compiled_step(rbm, optimizer, k, method, gradients=False, generator=generator, **options)
    for epoch in range(epochs):
        if own:
            for group in optimizer.param_groups:
                group["lr"] = rate if final_lr is None else rate + (final_lr - rate) * epoch / max(1, epochs - 1)
                group["momentum"] = momentum if epoch < 5 else final_momentum
        if step is not None and rows is not None:
            losses = step.run_epoch(rows, batch_size=batch_size, shuffle=shuffle, generator=generator)
        else:
            losses = eager_epoch(rbm, X if rows is None else rows.array, optimizer, batch_size, shuffle, generator, k, method, options)
        if end_of_epoch("RBM", rbm, epoch, losses, optimizer, callbacks):
            break
    return rbm


def end_of_epoch(name, model, epoch, losses, optimizer, callbacks):
    """Check that the parameters are finite, then call the callbacks (epoch, model, mean loss); does one of them end the training?"""
    if not np.isfinite(losses).all() or not all(np.isfinite(p.array).all() for p in model.parameters()):
        raise FloatingPointError(f"{name}: the parameters are no longer finite after epoch {epoch + 1}; start again with an lr "
                                 f"below {optimizer.param_groups[0]['lr']:g}, or clip the gradient")
    answers = [callback(epoch, model, float(np.mean(losses))) for callback in callbacks]       # all of them, before one may end it
    return any(answers)


def compilable(rbm, method, options):
    """Is the loss made of kernel calls alone?"""
    return (rbm.visible in ("bernoulli", "gaussian") and rbm.hidden == "bernoulli" and rbm.log_var is None
            and method in ("cd", "pcd") and not options.get("centering") and not options.get("dropout")
            and options.get("sparsity_target") is None)


def eager_epoch(rbm, X, optimizer, batch_size, shuffle, generator, k, method, options):
    """One pass over the rows, batch by batch; a sparse X becomes dense one batch at a time."""
    order = randperm_array(X.shape[0], generator) if shuffle else np.arange(X.shape[0])
    losses = []
    for first in range(0, len(order), batch_size):
        optimizer.zero_grad()
        batch = as_rows(X[order[first:first + batch_size]], X.shape[1], rbm.weight.dtype)
        loss = rbm.contrastive_loss(batch, k, method, generator=generator, **options)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.array))
    return np.array(losses)


def transform(rbm: RBM, X: Any, batch_size: int = 4096) -> Array:
    """Means of the hidden units of many rows, an array."""
    with no_grad():
        return np.concatenate([rbm(X[first:first + batch_size]).array for first in range(0, X.shape[0], batch_size)])
