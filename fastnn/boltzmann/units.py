"""Visible and hidden units: what each kind asks of its data, its energy, its conditional and its partition function.

``given`` is what a chain keeps from its data: which softmax units are present, the length of a multinomial row.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor, from_array
from fastnn.nn import functional as F
from fastnn.ops.boltzmann import bernoulli_units, categorical_units, multinomial_units, normal_noise
from fastnn.ops.host import result

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import DType


def as_rows(x: Any, width: int, dtype: DType, name: str = "RBM") -> Tensor:
    """A float Tensor (rows, width) of the machine's dtype; sparse matrices become dense."""
    array = x.array if isinstance(x, Tensor) else x.toarray() if hasattr(x, "toarray") else np.asarray(x)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != width:
        raise RuntimeError(f"{name}: expected rows of {width} values, got shape {tuple(array.shape)}")
    if array.dtype == dtype:
        return x.detach() if isinstance(x, Tensor) and x.ndim == 2 else from_array(array)
    return from_array(array.astype(dtype))


def check_counts(op: str, least: int, **counts: Any) -> None:
    """Raise unless every count is a whole number, of at least `least`."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
            raise TypeError(f"{op}: {name} must be an int, got {count!r} ({type(count).__name__})")
        if count < least:
            raise ValueError(f"{op}: {name} must be at least {least}, got {count}")


def check_finite(array, kind):
    if array.size and not np.isfinite(array).all():
        raise ValueError(f"RBM: visible='{kind}' got values that are not finite; remove or fill in the missing ones")


def log_one_plus_exp(x):
    return np.logaddexp(0, x)


def log_sum_exp(x, axis):
    top = x.max(axis=axis, keepdims=True)
    return (np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top).squeeze(axis)


class Bernoulli:
    """v_i in {0, 1}: p(v_i = 1) = sigmoid(y_i)."""

    def __init__(self, rbm):
        self.rbm = rbm

    def rows(self, v: Any) -> Tensor:
        v = as_rows(v, self.rbm.n_visible, self.rbm.weight.dtype)
        array = v.array
        # a comparison with NaN is false, so NaN fails too
        if array.size and not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"RBM: visible='bernoulli' needs values in [0, 1], got values from {array.min()} to {array.max()}; "
                             "scale the data, or use visible='gaussian' with standardised columns")
        return v

    def given(self, v):
        return None

    def into_hidden(self, v):
        return v

    def energy(self, v):
        """-b.v of every row."""
        return -(v * self.rbm.vbias).sum(1)

    def mean(self, y, given=None):
        return bernoulli_units(y, None, False)[0]

    def sample(self, y: Any, given: Any = None, generator: Any = None) -> Tensor:
        return bernoulli_units(y, generator)[1]

    def log_partition(self, y, given=None):
        """log of the sum over v of exp(y.v), per row of y (float64)."""
        return log_one_plus_exp(y).sum(-1)


class Gaussian(Bernoulli):
    """Real v_i: normal with mean y_i and variance s_i^2."""

    def rows(self, v: Any) -> Tensor:
        v = as_rows(v, self.rbm.n_visible, self.rbm.weight.dtype)
        check_finite(v.array, "gaussian")
        return v

    def into_hidden(self, v):
        return v if self.rbm.log_var is None else v * (-self.rbm.log_var).exp()

    def energy(self, v):
        distance = (v - self.rbm.vbias) ** 2
        if self.rbm.log_var is not None:
            distance = distance * (-self.rbm.log_var).exp()
        return distance.sum(1) * 0.5

    def mean(self, y, given=None):
        return y

    def sample(self, y: Any, given: Any = None, generator: Any = None) -> Tensor:
        noise = normal_noise(y, generator)
        return y + (noise if self.rbm.log_var is None else noise * (self.rbm.log_var * 0.5).exp())

    def log_partition(self, y, given=None):
        """log of the integral of exp(-(v - b)^2 / 2 s^2 + v (y - b) / s^2)."""
        b = self.rbm.vbias.array.astype(np.float64)
        variance = self.rbm.variance()
        m = y - b
        return 0.5 * np.log(2 * np.pi * variance).sum() + ((b * m + m * m / 2) / variance).sum(-1)


class Softmax(Bernoulli):
    """One-hot groups of `categories` columns; a group of zeros is missing."""

    def rows(self, v: Any) -> Tensor:
        K, width = self.rbm.categories, self.rbm.n_visible
        array = v.array if isinstance(v, Tensor) else v.toarray() if hasattr(v, "toarray") else np.asarray(v)
        array = array[None] if array.ndim == 1 else array
        if array.ndim == 2 and array.shape[1] == width // K and K > 1:
            array = self.one_hot(array)
        elif array.ndim == 2 and array.shape[1] == width:
            check_finite(array, "softmax")
            sums = array.reshape(len(array), -1, K).sum(-1) if array.size else np.zeros(0)
            if array.size and (array.min() < 0 or not np.all((np.abs(sums - 1) < 1e-4) | (sums == 0))):
                raise ValueError(f"RBM: visible='softmax' needs one-hot groups of {K} columns (all zero where missing), or integer "
                                 "codes with -1 for missing")
        return as_rows(array, width, self.rbm.weight.dtype)

    def one_hot(self, codes):
        K = self.rbm.categories
        if codes.size and (codes.min() < -1 or codes.max() >= K or np.any(codes != np.floor(codes))):
            raise ValueError(f"RBM: visible='softmax' needs integer codes from 0 to {K - 1}, -1 for missing; got values from "
                             f"{codes.min()} to {codes.max()}")
        codes = codes.astype(np.int64)
        return (codes[:, :, None] == np.arange(K)).astype(self.rbm.weight.dtype).reshape(len(codes), -1)

    def given(self, v):
        K = self.rbm.categories
        present = v.array.reshape(len(v.array), -1, K).any(-1)
        return from_array(present.astype(self.rbm.weight.dtype))

    def mean(self, y, given=None):
        return categorical_units(y, self.rbm.categories, given, None, False)[0]

    def sample(self, y: Any, given: Any = None, generator: Any = None) -> Tensor:
        return categorical_units(y, self.rbm.categories, given, generator)[1]

    def log_partition(self, y, given=None):
        each = log_sum_exp(y.reshape(*y.shape[:-1], -1, self.rbm.categories), -1)
        return each.sum(-1) if given is None else (each * np.asarray(given, np.float64)).sum(-1)


class Multinomial(Bernoulli):
    """Counts of D draws from one softmax over all columns; the hidden bias counts D times (Replicated Softmax)."""

    def rows(self, v: Any) -> Tensor:
        v = as_rows(v, self.rbm.n_visible, self.rbm.weight.dtype)
        check_finite(v.array, "multinomial")
        if v.array.size and (v.array.min() < 0 or np.any(v.array != np.floor(v.array))):
            raise ValueError("RBM: visible='multinomial' needs counts, whole numbers from 0; got "
                             f"values from {v.array.min()} to {v.array.max()}")
        return v

    def given(self, v):
        return from_array(v.array.sum(1))

    def mean(self, y, given=None):
        return multinomial_units(y, self.lengths(y, given), None, False)[0]

    def sample(self, y: Any, given: Any = None, generator: Any = None) -> Tensor:
        return multinomial_units(y, self.lengths(y, given), generator)[1]

    def lengths(self, y, given):
        if given is None:
            raise RuntimeError("RBM: visible='multinomial' needs the length of every row: pass lengths")
        lengths = given.array if isinstance(given, Tensor) else np.asarray(given)
        return from_array(np.broadcast_to(lengths, (len(y.array),)).astype(y.dtype))

    def log_partition(self, y, given=None):
        """Over ordered sequences of `given` draws."""
        return given * log_sum_exp(y, -1)


class BernoulliHidden:
    """h_j in {0, 1}: p(h_j = 1) = sigmoid(x_j)."""

    def mean(self, x):
        return x.sigmoid()

    def sample(self, x, generator=None):
        return bernoulli_units(x, generator)[1]

    def energy(self, x):
        """What summing h out adds to F: -sum of softplus(x)."""
        return -F.softplus(x, 1.0, 40.0).sum(1)

    def log_terms(self, x):
        return log_one_plus_exp(x).sum(-1)


class ReluHidden(BernoulliHidden):
    """h_j = max(0, N(x_j, sigmoid(x_j))): noisy rectified linear units (Nair and Hinton, 2010)."""

    def mean(self, x):
        return F.softplus(x)

    def sample(self, x, generator=None):
        return F.relu(x + x.sigmoid().sqrt() * normal_noise(x, generator))

    def energy(self, x):
        def slope(g):
            return -g[:, None] * stepped_sigmoid(x.array)
        return result("stepped_softplus", -stepped_softplus(x.array).sum(1), slope, x)

    def log_terms(self, x):
        return stepped_softplus(x).sum(-1)


def copies(x):
    """Shifted copies of a unit that matter: beyond these each adds less than 1e-19."""
    return int(min(max(x.max(initial=0.0), 0), 1e4)) + 45


def stepped_softplus(x):
    """Sum over n >= 1 of softplus(x - n + 1/2)."""
    y = np.zeros_like(x)
    for n in range(1, copies(x) + 1):
        y += np.logaddexp(0, x - (n - 0.5)).astype(x.dtype)
    return y


def stepped_sigmoid(x):
    """Sum over n >= 1 of sigmoid(x - n + 1/2): the mean of a stepped sigmoid unit."""
    y = np.zeros_like(x)
    for n in range(1, copies(x) + 1):
        y += (0.5 * (1 + np.tanh((x - (n - 0.5)) / 2))).astype(x.dtype)
    return y


VISIBLE = {"bernoulli": Bernoulli, "gaussian": Gaussian, "softmax": Softmax, "multinomial": Multinomial}
HIDDEN = {"bernoulli": BernoulliHidden, "relu": ReluHidden}
