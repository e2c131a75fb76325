"""The restricted Boltzmann machine as a Module."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.boltzmann import ais, contrastive, training
from fastnn.boltzmann.units import HIDDEN, VISIBLE, Bernoulli, BernoulliHidden, check_counts
from fastnn.core import random as draws
from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import Tensor, from_array
from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.linear import empty_parameter, empty_weight
from fastnn.nn.module import Module
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

    from fastnn.boltzmann.ais import LogPartition
    from fastnn.core.types import Array, Device, DTypeArgument, Generator

__all__ = ["RBM"]

MOST_ENUMERATED = 20        # units: 2^20 states take seconds


def kind_of(kinds, name, what):
    if name not in kinds:
        raise ValueError(f"RBM: {what} must be one of {', '.join(map(repr, kinds))}, got {name!r}")
    return kinds[name]


class RBM(Module):
    r"""A restricted Boltzmann machine: E(v, h) = -b.v - c.h - h.Wv for binary units.

    Parameters
    ----------
    n_visible, n_hidden : int
    visible : {"bernoulli", "gaussian", "softmax", "multinomial"}, default "bernoulli"
    hidden : {"bernoulli", "relu"}, default "bernoulli"
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype
    categories : int, optional
        Columns of one softmax unit; needed by, and only by, visible="softmax".
    learn_sigma : bool, default False
        Gaussian visible units learn log s^2 (`log_var`) instead of having variance 1.

    Attributes
    ----------
    weight : Parameter (n_hidden, n_visible)
        Drawn from N(0, 0.01^2).  An `nn.Linear` of these weights and `hbias` computes the hidden inputs.
    hbias, vbias : Parameter (n_hidden,), (n_visible,)
        Zeros; `init_from_data` sets vbias from the base rates.
    log_var : Parameter (n_visible,) or None

    Notes
    -----
    ``forward`` gives the means of the hidden units (softplus for relu units), so a machine stands in a `Sequential`.
    All samples are of the library's own stream: `fastnn.manual_seed` repeats them, for any number of threads.
    With Gaussian visible and relu hidden units the partition function may be infinite: no likelihood is promised.

    References
    ----------
    Hinton, A practical guide to training restricted Boltzmann machines, 2010.

    Examples
    --------
    >>> import fastnn
    >>> rbm = fastnn.nn.RBM(6, 4)
    >>> loss = rbm.contrastive_loss(fastnn.ones(3, 6), k=1)
    >>> loss.backward()
    >>> rbm.weight.grad.shape
    torch.Size([4, 6])
    """

    def __init__(self, n_visible: int, n_hidden: int, visible: str = "bernoulli", hidden: str = "bernoulli",
                 device: Device = None, dtype: DTypeArgument = None, *, categories: int | None = None,
                 learn_sigma: bool = False) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        check_counts("RBM", 1, n_visible=n_visible, n_hidden=n_hidden)
        if (visible == "softmax") != (categories is not None):
            raise ValueError("RBM: categories belongs to visible='softmax' "
                             f"(columns of one unit), got visible={visible!r}, categories={categories}")
        if categories is not None and (categories < 2 or n_visible % categories):
            raise ValueError(f"RBM: n_visible={n_visible} must be a multiple of categories={categories}, which is at least 2")
        if learn_sigma and visible != "gaussian":
            raise ValueError(f"RBM: learn_sigma belongs to visible='gaussian', got visible={visible!r}")
        self.n_visible, self.n_hidden, self.visible, self.hidden = n_visible, n_hidden, visible, hidden
        self.categories = categories
        kind_of(VISIBLE, visible, "visible"), kind_of(HIDDEN, hidden, "hidden")
        self.weight = empty_weight(n_hidden, n_visible, dtype)
        self.hbias = empty_parameter(n_hidden, dtype)
        self.vbias = empty_parameter(n_visible, dtype)
        self.register_parameter("log_var", empty_parameter(n_visible, dtype) if learn_sigma else None)
        for name in contrastive.SAMPLER_BUFFERS:
            self.register_buffer(name, None, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew; biases become 0."""
        init.normal_(self.weight, 0, 0.01)
        init.zeros_(self.hbias)
        init.zeros_(self.vbias)
        if self.log_var is not None:
            init.zeros_(self.log_var)
        self.reset_chains()

    def extra_repr(self) -> str:
        text = f"{self.n_visible}, {self.n_hidden}, visible={self.visible!r}, hidden={self.hidden!r}"
        text += "" if self.categories is None else f", categories={self.categories}"
        return text + ("" if self.log_var is None else ", learn_sigma=True")

    @property
    def units(self) -> Bernoulli:
        """The rules of the visible units."""
        return VISIBLE[self.visible](self)

    @property
    def hidden_units(self) -> BernoulliHidden:
        """The rules of the hidden units."""
        return HIDDEN[self.hidden]()

    def param_groups(self, **options: Any) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer: `weight_decay` and other options for the weight, no decay of the biases."""
        biases = [p for p in (self.hbias, self.vbias, self.log_var) if p is not None]
        return [{"params": [self.weight], **options}, {"params": biases, **options, "weight_decay": 0}]

    def variance(self) -> Array:
        """s^2 of Gaussian visible units, a float64 array."""
        if self.log_var is None:
            return np.ones(self.n_visible)
        return np.exp(self.log_var.array.astype(np.float64))

    # ---- conditionals ----------------------------------------------------------------------------------------------
    def hidden_input(self, v: Tensor) -> Tensor:
        """x = W v + c of checked rows (multinomial: D c)."""
        v = self.units.into_hidden(v)
        if self.visible != "multinomial":
            return F.linear(v, self.weight, self.hbias)
        return F.linear(v, self.weight) + v.sum(1, keepdim=True) * self.hbias

    def visible_input(self, h: Tensor) -> Tensor:
        """y = W' h + b."""
        return F.linear(h, self.weight.t(), self.vbias)

    def forward(self, v: Tensor | Array) -> Tensor:
        return self.hidden_units.mean(self.hidden_input(self.units.rows(v)))

    def sample_hidden(self, v: Tensor | Array, generator: Generator | None = None) -> Tensor:
        """A draw of the hidden units given v."""
        with no_grad():
            return self.hidden_units.sample(self.hidden_input(self.units.rows(v)), generator)

    def mean_visible(self, h: Tensor, given: Any = None) -> Tensor:
        """The means of the visible units given h.

        given : which units are present (softmax; rows x units of 0 and 1) or the lengths of the rows (multinomial).
        """
        with no_grad():
            return self.units.mean(self.visible_input(h), given)

    def sample_visible(self, h: Tensor, given: Any = None, generator: Generator | None = None) -> Tensor:
        """A draw of the visible units given h; `given` as in `mean_visible`."""
        with no_grad():
            return self.units.sample(self.visible_input(h), given, generator)

    def gibbs(self, v: Tensor | Array, k: int = 1, clamp: Tensor | Array | None = None,
              generator: Generator | None = None) -> Tensor:
        """v after k steps of Gibbs sampling, h and v in turn.

        Parameters
        ----------
        v : rows of data
        k : int, default 1
        clamp : array of bool, optional
            Visible units (n_visible,) or (rows, n_visible) that keep their values: in-painting.
        """
        check_counts("gibbs", 0, k=k)
        v = self.units.rows(v)
        given = self.units.given(v)
        fixed = None if clamp is None else np.asarray(clamp.array if isinstance(clamp, Tensor) else clamp, bool)
        start = v.array
        with no_grad():
            for _ in range(k):
                h = self.hidden_units.sample(self.hidden_input(v), generator)
                v = self.units.sample(self.visible_input(h), given, generator)
                if fixed is not None:
                    v = from_array(np.where(fixed, start, v.array))
        return v

    def reconstruct(self, v: Tensor | Array) -> Tensor:
        """The means of v given the means of h given v."""
        v = self.units.rows(v)
        with no_grad():
            return self.units.mean(self.visible_input(self.hidden_units.mean(self.hidden_input(v))), self.units.given(v))

    # ---- energies ----------------------------------------------------------------------------------------------------
    def energy(self, v: Tensor | Array, h: Tensor) -> Tensor:
        """E(v, h) of every row."""
        v = self.units.rows(v)
        return self.units.energy(v) - (self.hidden_input(v) * h).sum(1)

    def free_energy(self, v: Tensor | Array) -> Tensor:
        """F(v) = -log of the sum over h of exp(-E(v, h)), of every row; differentiable in the parameters."""
        return self._free_energy(self.units.rows(v))

    def _free_energy(self, v):
        return self.units.energy(v) + self.hidden_units.energy(self.hidden_input(v))

    def log_partition(self, given: Any = None) -> float:
        """log Z by enumeration of the smaller side, in float64: at most 20 units.

        Parameters
        ----------
        given : optional
            Softmax: 0/1 per unit, which are present.  Multinomial: the length; Z is over ordered sequences.
        """
        if self.visible == "multinomial" and given is None:
            raise ValueError("log_partition: visible='multinomial' needs the length of the documents: pass given=D")
        by_visible = self.visible == "bernoulli" and (self.hidden == "relu" or self.n_visible < self.n_hidden)
        count = self.n_visible if by_visible else self.n_hidden
        if self.hidden == "relu" and not by_visible:
            raise NotImplementedError("log_partition: relu hidden units are enumerated only under bernoulli visible units")
        if count > MOST_ENUMERATED:
            raise ValueError(f"log_partition: enumeration is for at most {MOST_ENUMERATED} units on the smaller side, this "
                             f"machine has {count}; use ais_log_partition")
        W, c, b = (p.array.astype(np.float64) for p in (self.weight, self.hbias, self.vbias))
        parts = []
        for states in binary_states(count):
            if by_visible:
                parts.append(states @ b + self.hidden_units.log_terms(states @ W.T + c))
            else:
                scale = given if self.visible == "multinomial" else 1
                parts.append(scale * (states @ c) + self.units.log_partition(states @ W + b, given))
        return float(np.logaddexp.reduce(np.concatenate(parts)))

    def ais_log_partition(self, betas: int | Array | None = None, chains: int = 100, base: Tensor | Array | None = None,
                          given: Any = None, generator: Generator | None = None) -> LogPartition:
        """log Z by annealed importance sampling: see `fastnn.boltzmann.ais.ais_log_partition`."""
        return ais.ais_log_partition(self, betas, chains, base, given, generator)

    def log_prob(self, v: Tensor | Array, log_z: float | None = None) -> Tensor:
        """log p(v) = -F(v) - log Z of every row; log Z by enumeration unless it is given."""
        with no_grad():
            return -self.free_energy(v) - (self.log_partition() if log_z is None else log_z)

    def pseudo_log_likelihood(self, v: Tensor | Array) -> Tensor:
        """Sum over the visible units of log p(v_i | all others), of every row: exact, no random bit.

        For bernoulli (binary rows) and softmax units.
        """
        with no_grad():
            return from_array(contrastive.pseudo_log_likelihood(self, self.units.rows(v)))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean pseudo-log-likelihood per row."""
        return float(self.pseudo_log_likelihood(X).array.mean())

    def init_from_data(self, X: Any) -> Self:
        """Set vbias from the base rates of the data: log(p / (1 - p)), log p, or the mean."""
        v = self.units.rows(X).array.astype(np.float64)
        if self.visible == "gaussian":
            bias = v.mean(0)
        elif self.visible == "bernoulli":
            p = (v.sum(0) + 1) / (len(v) + 2)
            bias = np.log(p) - np.log1p(-p)
        else:
            counts = v.sum(0).reshape(-1, self.categories or self.n_visible) + 1
            bias = np.log(counts / counts.sum(1, keepdims=True)).reshape(-1)
        self.vbias.data = from_array(bias.astype(self.vbias.dtype))
        return self

    # ---- learning --------------------------------------------------------------------------------------------------
    def contrastive_loss(self, v: Tensor | Array, k: int = 1, method: str = "cd", **options: Any) -> Tensor:
        """A loss whose gradient is that of contrastive learning: see `fastnn.boltzmann.contrastive.contrastive_loss`."""
        return contrastive.contrastive_loss(self, v, k, method, **options)

    def fit(self, X: Any, epochs: int = 10, **options: Any) -> Self:
        """Train on the rows of X by a compiled step: see `fastnn.boltzmann.training.fit`."""
        training.fit(self, X, epochs, **options)
        return self

    def reset_chains(self) -> None:
        """Forget the persistent chains (and the fast weights and offsets): the next step starts them anew."""
        for name in contrastive.SAMPLER_BUFFERS:
            self._buffers[name] = None

    def sampler_state(self, generator: Generator | None = None) -> dict[str, Any]:
        """What an exact resume needs besides parameters: chains and the state of the generator."""
        buffers = {name: self._buffers[name] for name in contrastive.SAMPLER_BUFFERS}
        state = {name: buffer.array.copy() for name, buffer in buffers.items() if buffer is not None}
        return {**state, "generator": (generator or draws.default_generator).get_state().array}

    def load_sampler_state(self, state: Mapping[str, Any], generator: Generator | None = None) -> None:
        """Continue from a state of `sampler_state`; a state without the generator's is refused with KeyError."""
        if "generator" not in state:
            raise KeyError(f"load_sampler_state: needs a state of sampler_state(), with 'generator'; got the keys {sorted(state)}")
        for name in contrastive.SAMPLER_BUFFERS:
            self._buffers[name] = from_array(np.array(state[name])) if name in state else None
        (generator or draws.default_generator).set_state(from_array(np.array(state["generator"])))


def binary_states(n, chunk=1 << 14):
    """All rows of n bits, in chunks (float64)."""
    for first in range(0, 1 << n, chunk):
        numbers = np.arange(first, min(first + chunk, 1 << n))
        yield (numbers[:, None] >> np.arange(n) & 1).astype(np.float64)
