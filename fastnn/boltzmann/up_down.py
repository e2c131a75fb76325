"""Fine-tuning a whole deep belief network by the up-down algorithm, and the bound that it raises."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.boltzmann.training import Rows, end_of_epoch
from fastnn.boltzmann.units import check_counts
from fastnn.compiling import compile as compile_step
from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import from_array
from fastnn.nn import functional as F
from fastnn.optim import SGD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from fastnn.boltzmann.dbn import DBN
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Generator
    from fastnn.optim import Optimizer


def check_kinds(dbn, name):
    """The rules below are for binary hidden units over binary or normal visible ones."""
    for n, rbm in enumerate(dbn.rbms):
        if rbm.visible not in ("bernoulli", "gaussian") or rbm.hidden != "bernoulli" or rbm.log_var is not None:
            raise NotImplementedError(f"{name}: for bernoulli hidden units and bernoulli or gaussian visible units of variance 1; "
                                      f"layer {n} is {rbm}")


def generative_inputs(dbn, n, h):
    """Inputs of the units below machine n, given its hidden units."""
    rbm = dbn.rbms[n]
    return F.linear(h, dbn.down_weight(n).t(), rbm.vbias)


def surprise(kind, inputs, target):
    """-log p(target | inputs), mean over the rows; gaussian: without the constant."""
    rows = len(target.array)
    if kind == "gaussian":
        return F.mse_loss(inputs, target, reduction="sum") * (0.5 / rows)
    return F.binary_cross_entropy_with_logits(inputs, target, reduction="sum") * (1 / rows)


def up_down_loss(dbn: DBN, v: Any, k: int = 1, generator: Generator | None = None) -> Tensor:
    """A loss whose gradient is the step of the up-down algorithm (contrastive wake-sleep).

    Wake: states are drawn upwards by the recognition weights, the generative ones learn to reproduce the layer below.  The top machine
    learns by CD-k from there.  Sleep: states are drawn downwards from its sample by the generative weights, the recognition
    ones learn to find the layer above.  The value is no likelihood; judge by `log_prob_bound`.

    Parameters
    ----------
    v : rows of data
    k : int, default 1
        Gibbs steps of the top machine.
    generator : Generator, default the default generator

    Raises
    ------
    RuntimeError
        If the network is not untied: call `untie` first, so that an optimizer gets all parameters.
    FloatingPointError
        If the parameters are no longer finite.
    """
    check_kinds(dbn, "up_down_loss")
    check_counts("up_down_loss", 1, k=k)
    if not dbn.untied:
        raise RuntimeError("up_down_loss: the network has one set of weights; call dbn.untie() before its optimizer is made")
    rbms = list(dbn.rbms)
    v = rbms[0].units.rows(v)
    if len(v.array) == 0:
        raise ValueError("up_down_loss: the batch has no rows")
    top = rbms[-1]
    with no_grad():
        wake = [v]
        for rbm in rbms[:-1]:
            wake.append(rbm.hidden_units.sample(rbm.hidden_input(wake[-1]), generator))
        dream = wake[-1]
        for _ in range(k):
            dream = top.units.sample(top.visible_input(top.hidden_units.sample(top.hidden_input(dream), generator)), None, generator)
        sleep = [dream]
        for n in reversed(range(len(rbms) - 1)):
            sleep.insert(0, rbms[n].units.sample(generative_inputs(dbn, n, sleep[0]), None, generator))
    loss = top._free_energy(wake[-1]).mean() - top._free_energy(dream).mean()
    for n, rbm in enumerate(rbms[:-1]):
        loss = loss + surprise(rbm.visible, generative_inputs(dbn, n, wake[n + 1]), wake[n])
        loss = loss + surprise("bernoulli", rbm.hidden_input(sleep[n]), sleep[n + 1])
    if not np.isfinite(loss.array):
        raise FloatingPointError("up_down_loss: the parameters are no longer finite; start again with a lower lr")
    return loss


def fit(dbn: DBN, X: Any, epochs: int = 10, *, lr: float = 0.01, momentum: float = 0.5, batch_size: int = 100,
        k: int = 1, shuffle: bool = True, optimizer: Optimizer | None = None,
        callbacks: Sequence[Callable[..., Any]] = (), generator: Generator | None = None) -> DBN:
    """Train all layers together on the rows of X, after `pretrain`.

    Parameters
    ----------
    X : array, Tensor or sparse matrix (rows, n_visible)
    epochs : int, default 10
    lr, momentum : float, default 0.01 and 0.5
    batch_size : int, default 100
    k : int, default 1
        Gibbs steps of the top machine; the paper raises them from 3 to 10.
    shuffle : bool, default True
    optimizer : Optimizer, default SGD of the options above
        Made after `untie`, so that it has the generative weights too.
    callbacks : functions (epoch, dbn, mean loss)
        Called after every epoch; one that returns True ends the training.

    Raises
    ------
    FloatingPointError
        If the parameters are no longer finite.
    """
    check_kinds(dbn, "up_down")
    check_counts("up_down", 0, epochs=epochs)
    check_counts("up_down", 1, batch_size=batch_size, k=k)
    dbn.untie()
    optimizer = optimizer or SGD(dbn.parameters(), lr=lr, momentum=momentum)
    step = compile_step(Rows(dbn), lambda output, v: up_down_loss(dbn, v, k, generator), optimizer)
    rows = dbn.rbms[0].units.rows(X)
    for epoch in range(epochs):
        losses = step.run_epoch(rows, batch_size=batch_size, shuffle=shuffle, generator=generator)
        if end_of_epoch("up_down", dbn, epoch, losses, optimizer, callbacks):
            break
    return dbn


def log_density(kind, inputs, target):
    """log p(target | inputs) of every row (float64)."""
    x, t = inputs.array.astype(np.float64), target.array.astype(np.float64)
    if kind == "gaussian":
        return (-0.5 * (t - x) ** 2 - 0.5 * np.log(2 * np.pi)).sum(1)
    return (t * x - np.logaddexp(0, x)).sum(1)


def log_prob_bound(dbn: DBN, v: Any, log_z: float | None = None, draws: int = 100,
                   generator: Generator | None = None) -> Tensor:
    """A lower bound of log p(v): the mean over draws of h from the up-pass of log p(v, h) - log q(h|v)."""
    check_kinds(dbn, "log_prob_bound")
    check_counts("log_prob_bound", 1, draws=draws)
    rbms = list(dbn.rbms)
    v = rbms[0].units.rows(v)
    total = np.zeros(len(v.array))
    with no_grad():
        log_z = rbms[-1].log_partition() if log_z is None else log_z
        for _ in range(draws):
            below = v
            for n, rbm in enumerate(rbms[:-1]):
                inputs = rbm.hidden_input(below)
                h = rbm.hidden_units.sample(inputs, generator)
                total += log_density(rbm.visible, generative_inputs(dbn, n, h), below) - log_density("bernoulli", inputs, h)
                below = h
            total -= rbms[-1]._free_energy(below).array.astype(np.float64) + log_z
    return from_array(total / draws)
