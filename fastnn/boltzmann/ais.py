"""Annealed importance sampling of the partition function (Salakhutdinov and Murray, 2008)."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn.boltzmann.units import log_one_plus_exp, log_sum_exp
from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import from_array
from fastnn.nn import functional as F

if TYPE_CHECKING:
    from typing import Any

    from fastnn.boltzmann.rbm import RBM
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Array, Generator


class LogPartition(NamedTuple):
    """log Z, the bounds mean +- 3 standard errors of the weights, and how many chains count."""

    value: float
    low: float
    high: float
    effective_chains: float


def schedule(steps: int = 14500) -> Array:
    """The paper's inverse temperatures, 0 to 1: few at first, most between 0.9 and 1; scaled to `steps`."""
    parts = [max(1, round(steps * share)) for share in (500 / 14500, 4000 / 14500)]
    return np.concatenate([np.linspace(0, 0.5, parts[0], endpoint=False), np.linspace(0.5, 0.9, parts[1], endpoint=False),
                           np.linspace(0.9, 1, max(2, steps - sum(parts)))])


def ais_log_partition(rbm: RBM, betas: int | Array | None = None, chains: int = 100, base: Tensor | Array | None = None,
                      given: Any = None, generator: Generator | None = None) -> LogPartition:
    """Estimate log Z by chains that go from a machine without weights to this one.

    Parameters
    ----------
    betas : int or increasing array from 0 to 1, default the paper's 14,500
        An int asks for that many temperatures of the paper's schedule: 1000 is fast, and shows in `effective_chains`.
    chains : int, default 100
    base : array (n_visible,), default the machine's own vbias
        Visible biases of the starting machine; the log base rates of the data are best.
    given : optional
        Softmax: 0/1 per unit.  Multinomial: the length of a document.

    Returns
    -------
    LogPartition
        value, low, high, effective_chains; low is -inf where the error exceeds the mean.
    """
    if rbm.hidden != "bernoulli":
        raise NotImplementedError(f"ais_log_partition: for bernoulli hidden units, got {rbm.hidden!r}")
    if chains < 1:
        raise ValueError(f"ais_log_partition: chains must be at least 1, got {chains}")
    betas = schedule() if betas is None else schedule(betas) if isinstance(betas, int) else np.asarray(betas, np.float64)
    if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or not np.all(np.diff(betas) >= 0):
        raise ValueError("ais_log_partition: betas must rise from 0 to 1")
    if rbm.visible == "multinomial" and given is None:
        raise ValueError("ais_log_partition: visible='multinomial' needs the length of the documents: pass given=D")
    with no_grad():
        weights = np.zeros(chains)
        path = Path(rbm, base, chains, given)
        v = path.start(generator)
        for old, new in zip(betas[:-1], betas[1:], strict=True):
            x, bias = path.terms(v)
            weights += path.log_density(x, bias, new) - path.log_density(x, bias, old)
            if new < 1:
                v = path.step(x, new, generator)
    return estimate(weights + path.log_partition())


def estimate(weights):
    """Mean of exp(weights) with its error, in logarithms."""
    top = weights.max()
    w = np.exp(weights - top)
    mean, error = w.mean(), w.std(ddof=1) / np.sqrt(len(w)) if len(w) > 1 else np.inf
    low = mean - 3 * error
    return LogPartition(float(top + np.log(mean)), float(top + np.log(low)) if low > 0 else -np.inf,
                        float(top + np.log(mean + 3 * error)), float(w.sum() ** 2 / (w * w).sum()))


class Path:
    """Machines between the base (W = 0, c = 0) and the model: energies (1 - beta) E_base + beta E."""

    def __init__(self, rbm, base, chains, given):
        self.rbm, self.chains, self.dtype = rbm, chains, rbm.weight.dtype
        self.b = rbm.vbias.array.astype(np.float64)
        base = self.b if base is None else getattr(base, "array", base)
        self.base = np.asarray(base, np.float64)
        self.D = float(given) if rbm.visible == "multinomial" else 1.0
        self.rows = None
        if rbm.visible == "multinomial":
            self.rows = from_array(np.full(chains, given, self.dtype))
        elif rbm.visible == "softmax" and given is not None:
            self.rows = from_array(np.tile(np.asarray(given, self.dtype), (chains, 1)))
        self.given = given

    def start(self, generator):
        y = from_array(np.tile(self.base.astype(self.dtype), (self.chains, 1)))
        return self.rbm.units.sample(y, self.rows, generator)

    def log_partition(self):
        """log Z of the base."""
        rbm, hidden = self.rbm, self.rbm.n_hidden * np.log(2)
        if rbm.visible == "gaussian":
            return hidden + 0.5 * np.log(2 * np.pi * rbm.variance()).sum()
        if rbm.visible == "bernoulli":
            return hidden + log_one_plus_exp(self.base).sum()
        if rbm.visible == "multinomial":
            return hidden + self.D * log_sum_exp(self.base, -1)
        return hidden + rbm.units.log_partition(self.base, self.given)

    def terms(self, v):
        """Inputs of the hidden units, and the visible part of the log density at both ends."""
        a = v.array.astype(np.float64)
        if self.rbm.visible == "gaussian":
            s = self.rbm.variance()
            ends = [-((a - b) ** 2 / (2 * s)).sum(1) for b in (self.base, self.b)]
        else:
            ends = [a @ b for b in (self.base, self.b)]
        return self.rbm.hidden_input(v), ends

    def log_density(self, x, ends, beta):
        hidden = F.softplus(x * float(beta), 1.0, 40.0).sum(1).array.astype(np.float64)
        return (1 - beta) * ends[0] + beta * ends[1] + hidden

    def step(self, x, beta, generator):
        h = self.rbm.hidden_units.sample(x * float(beta), generator)
        bias = ((1 - beta) * self.base + beta * self.b).astype(self.dtype)
        y = F.linear(h * float(beta), self.rbm.weight.t(), from_array(bias))
        return self.rbm.units.sample(y, self.rows, generator)
