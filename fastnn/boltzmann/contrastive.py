"""Contrastive losses: CD-k, persistent CD, fast PCD and parallel tempering, with centering, sparsity and dropout."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.autograd.function import Function
from fastnn.boltzmann.units import check_counts
from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import from_array
from fastnn.nn import functional as F
from fastnn.ops import boltzmann
from fastnn.ops.random import bernoulli, rand

if TYPE_CHECKING:
    from typing import Any

    from fastnn.boltzmann.rbm import RBM
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Array, Generator

# Sampler states, outside state_dict: chains, fast weights of FPCD, offsets of centering, running hidden activity.
SAMPLER_BUFFERS = ("chains", "chain_given", "fast_weight", "fast_hbias", "fast_vbias", "visible_offset", "hidden_offset",
                   "activity")
METHODS = ("cd", "pcd", "fpcd", "pt")


def contrastive_loss(rbm: RBM, v: Any, k: int = 1, method: str = "cd", *, chains: int | None = None,
                     generator: Generator | None = None, centering: bool = False, sparsity_target: float | None = None,
                     sparsity_cost: float = 1.0, sparsity_decay: float = 0.95, dropout: float = 0.0,
                     fast_lr: float = 0.1, fast_decay: float = 0.95, temperatures: int = 10) -> Tensor:
    r"""mean F(data) - mean F(sample), the sample taken as constant: its gradient is that of CD, PCD, FPCD or PT.

    The value is no likelihood and may fall while the likelihood falls; judge by `ais_log_partition` or `score`.

    Parameters
    ----------
    v : rows of data
    k : int, default 1
        Gibbs steps.
    method : {"cd", "pcd", "fpcd", "pt"}, default "cd"
        Chains from the data, or persistent ones: plain, driven by fast weights, or tempered.
    chains : int, default the rows of the first batch
        Number of persistent chains.
    generator : Generator, default the default generator
    centering : bool, default False
        Centre the statistics on sliding averages (Montavon and Mueller, 2012); bernoulli and gaussian units.
    sparsity_target : float, optional
        Wanted mean activity of the hidden units; the difference of a sliding average (of decay `sparsity_decay`), times
        `sparsity_cost`, joins the gradient (Hinton, 2010).
    dropout : float, default 0
        Probability that a hidden unit is absent, per row of data; method "cd" only.
    fast_lr, fast_decay : float, default 0.1 and 0.95
        Of the fast weights of "fpcd" (Tieleman and Hinton, 2009).
    temperatures : int, default 10
        Inverse temperatures of "pt", evenly from 0 to 1 (Desjardins et al., 2010).

    Raises
    ------
    ValueError
        For data that the visible units cannot take, unknown options, or numbers that make no sense.
    FloatingPointError
        If the parameters are no longer finite.
    """
    if method not in METHODS:
        raise ValueError(f"contrastive_loss: method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")
    check_counts("contrastive_loss", 1, k=k)
    if chains is not None and (chains < 1 or chains != int(chains)):
        raise ValueError(f"contrastive_loss: chains must be a whole number of at least 1, got {chains}")
    if not 0 <= dropout < 1:
        raise ValueError(f"contrastive_loss: dropout must be at least 0 and below 1, got {dropout}")
    if dropout and method != "cd":
        raise ValueError(f"contrastive_loss: dropout works with method='cd', got method={method!r}")
    if centering and rbm.visible not in ("bernoulli", "gaussian"):
        raise ValueError(f"contrastive_loss: centering works with bernoulli and gaussian units, got {rbm.visible!r}")
    v = rbm.units.rows(v)
    if len(v.array) == 0:
        raise ValueError("contrastive_loss: the batch has no rows")
    plain = rbm.visible in ("bernoulli", "gaussian") and rbm.log_var is None and rbm.hidden == "bernoulli"
    if plain and method in ("cd", "pcd") and not centering and not dropout:
        start = persistent(rbm, v, chains, generator) if method == "pcd" else None
        loss = boltzmann.contrastive_loss(v, rbm.weight, rbm.hbias, rbm.vbias, k, start, generator, rbm.visible == "gaussian")
    else:
        loss = composed_loss(rbm, v, k, method, chains, generator, centering, dropout, fast_lr, fast_decay, temperatures)
    if not np.isfinite(loss.array):
        raise FloatingPointError("contrastive_loss: the parameters (or data) are no longer finite; start again with a lower lr"
                                 + (" (gaussian units: 0.001)" if rbm.visible == "gaussian" else ""))
    if sparsity_target is not None:
        loss = loss + sparsity(rbm, v, sparsity_target, sparsity_cost, sparsity_decay)
    return loss


def composed_loss(rbm, v, k, method, chains, generator, centering, dropout, fast_lr, fast_decay, temperatures):
    """The loss from parts, for every kind of unit."""
    mask = None
    with no_grad():
        if method == "cd":
            if dropout:
                mask = bernoulli(from_array(np.full((len(v.array), rbm.n_hidden), 1 - dropout, v.dtype)), generator=generator)
            sample = data_chain(rbm, v, k, mask, generator)
        elif method == "pt":
            sample = tempered(rbm, v, k, chains, temperatures, generator)
        else:
            sample = persistent_chain(rbm, v, k, chains, generator, method == "fpcd")
    if method == "fpcd":
        move_fast_weights(rbm, v, sample, fast_lr, fast_decay)
    if centering:
        return centered_loss(rbm, v, sample)
    if mask is not None:
        return masked_energy(rbm, v, mask).mean() - masked_energy(rbm, sample, mask).mean()
    return rbm._free_energy(v).mean() - rbm._free_energy(sample).mean()


def masked_energy(rbm, v, mask):
    return rbm.units.energy(v) - (F.softplus(rbm.hidden_input(v), 1.0, 40.0) * mask).sum(1)


# ---- chains --------------------------------------------------------------------------------------------------------
def gibbs_from_hidden(rbm, h, given, generator):
    return rbm.units.sample(rbm.visible_input(h), given, generator)


def data_chain(rbm, v, k, mask, generator):
    """The visible units after k steps from the data."""
    given = rbm.units.given(v)
    for _ in range(k):
        h = rbm.hidden_units.sample(rbm.hidden_input(v), generator)
        v = gibbs_from_hidden(rbm, h if mask is None else h * mask, given, generator)
    return v


def first_rows(v, count):
    """`count` rows of v, repeated when there are fewer."""
    return from_array(v.array[np.arange(count) % len(v.array)])


def persistent(rbm, v, count, generator):
    """The hidden states of the persistent chains; new ones start at the data."""
    count = count or (len(v.array) if rbm.chains is None else len(rbm.chains.array))
    if rbm.chains is None or rbm.chains.shape != (count, rbm.n_hidden):
        with no_grad():
            start = first_rows(v, count)
            rbm.chains = rbm.hidden_units.sample(rbm.hidden_input(start), generator)
            rbm.chain_given = rbm.units.given(start)
    return rbm.chains


def persistent_chain(rbm, v, k, count, generator, fast):
    """k steps of the persistent chains, which keep the units and lengths of the rows they started at."""
    h, given = persistent(rbm, v, count, generator), rbm.chain_given
    with FastWeights(rbm) if fast else no_grad():
        for _ in range(k):
            sample = gibbs_from_hidden(rbm, h, given, generator)
            h = rbm.hidden_units.sample(rbm.hidden_input(sample), generator)
    rbm.chains = h
    return sample


class FastWeights:
    """Context in which the parameters have the fast weights added."""

    def __init__(self, rbm):
        self.rbm = rbm

    def __enter__(self):
        rbm = self.rbm
        self.slow = [(p, p.array) for p in (rbm.weight, rbm.hbias, rbm.vbias)]
        if rbm.fast_weight is None:
            rbm.fast_weight, rbm.fast_hbias, rbm.fast_vbias = (from_array(np.zeros_like(a)) for _, a in self.slow)
        fast = (rbm.fast_weight, rbm.fast_hbias, rbm.fast_vbias)
        for (p, slow), f in zip(self.slow, fast, strict=True):
            p.data = from_array(slow + f.array)

    def __exit__(self, *error):
        for p, slow in self.slow:
            p.data = from_array(slow)


def statistics(rbm, v):
    """Mean p(h|v) v', p(h|v) and v of the rows."""
    h = rbm.hidden_units.mean(rbm.hidden_input(v))
    return h.array.T @ rbm.units.into_hidden(v).array / len(v.array), h.array.mean(0), v.array.mean(0)


def move_fast_weights(rbm, v, sample, lr, decay):
    with no_grad():
        data, model = statistics(rbm, v), statistics(rbm, sample)
    for buffer, d, m in zip((rbm.fast_weight, rbm.fast_hbias, rbm.fast_vbias), data, model, strict=True):
        buffer.array[...] = decay * buffer.array + lr * (d - m)


# ---- parallel tempering ------------------------------------------------------------------------------------------------
def tempered(rbm, v, k, count, temperatures, generator):
    """k sweeps of tempered chains with swaps of neighbours; the states at inverse temperature 1.

    `rbm.swap_rates` tells the acceptance per pair afterwards.
    """
    if rbm.visible != "bernoulli" or rbm.hidden != "bernoulli":
        raise NotImplementedError("contrastive_loss: method='pt' works with bernoulli units on both sides, got "
                                  f"visible={rbm.visible!r}, hidden={rbm.hidden!r}")
    if temperatures < 2:
        raise ValueError(f"contrastive_loss: method='pt' needs at least 2 temperatures, got {temperatures}")
    count = count or len(v.array)
    if rbm.chains is None or rbm.chains.shape != (temperatures * count, rbm.n_visible):
        rbm.chains = from_array(np.tile(first_rows(v, count).array, (temperatures, 1)))
    beta = np.linspace(0, 1, temperatures)
    scale = from_array(np.repeat(beta, count)[:, None].astype(v.dtype))
    state, accepted, tried = rbm.chains, np.zeros(temperatures - 1), 0
    for _ in range(k):
        h = boltzmann.bernoulli_units(rbm.hidden_input(state) * scale, generator)[1]
        state = boltzmann.bernoulli_units(rbm.visible_input(h) * scale, generator)[1]
        energies = (rbm.units.energy(state) - (rbm.hidden_input(state) * h).sum(1)).array.astype(np.float64)
        u = rand(temperatures - 1, count, generator=generator, dtype=np.float64).array
        order, taken = swap_neighbours(energies.reshape(temperatures, count), beta, u)
        accepted, tried = accepted + taken, tried + count
        state = from_array(state.array.reshape(temperatures, count, -1)[order, np.arange(count)].reshape(state.shape))
    rbm.chains = state
    rbm.swap_rates = accepted / tried
    return from_array(state.array[-count:].copy())


def swap_neighbours(energies, beta, u):
    """Which chain each temperature takes over, first even, then odd pairs; and how many swaps each pair made."""
    levels, count = energies.shape
    order, columns = np.tile(np.arange(levels)[:, None], (1, count)), np.arange(count)
    taken = np.zeros(levels - 1)
    for first in (0, 1):
        for r in range(first, levels - 1, 2):
            lower, upper = energies[order[r], columns], energies[order[r + 1], columns]
            swap = np.log(np.maximum(u[r], 1e-300)) < (beta[r] - beta[r + 1]) * (lower - upper)
            order[r], order[r + 1] = np.where(swap, order[r + 1], order[r]), np.where(swap, order[r], order[r + 1])
            taken[r] = swap.sum()
    return order, taken


# ---- centering, sparsity -------------------------------------------------------------------------------------------------
class Statistics(Function):
    """A value with given gradients."""

    @staticmethod
    def forward(ctx, value, gradients, *parameters):
        ctx.gradients = gradients
        return from_array(value)

    @staticmethod
    def backward(ctx, g):
        return None, None, *[from_array(d * g.array) for d in ctx.gradients]


def centered_loss(rbm, v, sample, slide=0.01):
    """The loss with the gradient of the centered machine, in the parameters of the ordinary one."""
    with no_grad():
        value = (rbm._free_energy(v).mean() - rbm._free_energy(sample).mean()).array
        h, q = (rbm.hidden_units.mean(rbm.hidden_input(x)).array for x in (v, sample))
    if rbm.visible_offset is None:
        rbm.visible_offset, rbm.hidden_offset = from_array(v.array.mean(0)), from_array(h.mean(0))
    for offset, mean in ((rbm.visible_offset, v.array.mean(0)), (rbm.hidden_offset, h.mean(0))):
        offset.array[...] = (1 - slide) * offset.array + slide * mean
    m, l = rbm.visible_offset.array, rbm.hidden_offset.array
    s = 1 if rbm.log_var is None else rbm.variance().astype(v.dtype)
    dW = ((q - l).T @ ((sample.array - m) / s)) / len(q) - ((h - l).T @ ((v.array - m) / s)) / len(h)
    db = (sample.array.mean(0) - v.array.mean(0)) / s - dW.T @ l
    dc = q.mean(0) - h.mean(0) - dW @ (m / s)
    parameters, gradients = [rbm.weight, rbm.hbias, rbm.vbias], [dW, dc, db]
    loss = Statistics.apply(value, gradients, *parameters)
    return loss if rbm.log_var is None else loss + only_log_var(rbm, v, sample)


def only_log_var(rbm, v, sample):
    """A term of value 0 that carries the gradient of log_var alone."""
    kept = [(p, p.requires_grad) for p in (rbm.weight, rbm.hbias, rbm.vbias)]
    try:
        for p, _ in kept:
            p.requires_grad = False
        term = rbm._free_energy(v).mean() - rbm._free_energy(sample).mean()
    finally:
        for p, wanted in kept:
            p.requires_grad = wanted
    return term - term.detach()


def sparsity(rbm, v, target, cost, decay):
    """A term whose gradient is cost (q - target), q the sliding mean activity, for hbias, and that times v for the weight."""
    x = rbm.hidden_input(v)
    with no_grad():
        now = rbm.hidden_units.mean(x.detach()).array.mean(0)
    rbm.activity = from_array(now if rbm.activity is None else (decay * rbm.activity.array + (1 - decay) * now).astype(now.dtype))
    push = from_array((cost * (rbm.activity.array - target)).astype(now.dtype))
    term = (x.mean(0) * push).sum()
    return term - term.detach()


# ---- pseudo-likelihood -------------------------------------------------------------------------------------------------
def pseudo_log_likelihood(rbm: RBM, v: Any) -> Array:
    """Sum of log p(v_i | rest) per row, a float64 array: x is updated by one column of W per alternative."""
    if rbm.visible == "softmax":
        return softmax_pseudo_likelihood(rbm, v)
    if rbm.visible != "bernoulli":
        raise NotImplementedError(f"pseudo_log_likelihood: for bernoulli and softmax visible units, got {rbm.visible!r}")
    array, W, b = v.array, rbm.weight, rbm.vbias.array.astype(np.float64)
    x = rbm.hidden_input(v)
    here = rbm.hidden_units.energy(x).array.astype(np.float64)
    total = np.zeros(len(array))
    columns = np.ascontiguousarray(W.array.T)
    for i in range(rbm.n_visible):
        change = 1 - 2 * array[:, i:i + 1]
        there = rbm.hidden_units.energy(x + from_array(change) * from_array(columns[i])).array.astype(np.float64)
        total -= np.logaddexp(0, here - there + b[i] * change[:, 0])
    return total


def softmax_pseudo_likelihood(rbm, v):
    K, array, b = rbm.categories, v.array, rbm.vbias.array.astype(np.float64)
    x, columns, total = rbm.hidden_input(v).array, np.ascontiguousarray(rbm.weight.array.T), np.zeros(len(v.array))
    for first in range(0, rbm.n_visible, K):
        group = array[:, first:first + K]
        rest = x - group @ columns[first:first + K]
        terms = np.stack([b[first + j] - rbm.hidden_units.energy(from_array(rest + columns[first + j])).array.astype(np.float64)
                          for j in range(K)], 1)
        top = terms.max(1, keepdims=True)
        terms -= np.log(np.exp(terms - top).sum(1, keepdims=True)) + top
        total += (terms * group).sum(1)
    return total
