"""Distributions over categories and counts."""
from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.grad_mode import no_grad
from fastnn.core.size import Size
from fastnn.core.tensor import Tensor
from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution, broadcast_all
from fastnn.ops.creation import arange, full_like
from fastnn.ops.dropout import bernoulli
from fastnn.ops.embedding import one_hot
from fastnn.ops.gather import gather
from fastnn.ops.joining import broadcast_tensors
from fastnn.ops.loss import binary_cross_entropy_with_logits
from fastnn.ops.random import multinomial, poisson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.types import Number

__all__ = ["Bernoulli", "Categorical", "OneHotCategorical", "Poisson"]


def _one_of(probs, logits):
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


def _clamped(probs):
    eps = float(np.finfo(probs.dtype).eps)
    return probs.clamp(eps, 1 - eps)


class Bernoulli(Distribution):
    """1 with probability `probs`, else 0; `logits` are log(probs / (1 - probs)).

    Parameters
    ----------
    probs, logits : float or Tensor
        One of the two.
    validate_args : bool, default True
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean

    def __init__(self, probs: Tensor | Number | None = None, logits: Tensor | Number | None = None,
                 validate_args: bool | None = None) -> None:
        _one_of(probs, logits)
        if probs is not None:
            self.probs, = broadcast_all(probs)
        elif logits is not None:
            self.logits, = broadcast_all(logits)
        super().__init__((self.logits if probs is None else self.probs).shape, validate_args=validate_args)

    @cached_property
    def probs(self) -> Tensor:
        return self.logits.sigmoid()

    @cached_property
    def logits(self) -> Tensor:
        p = _clamped(self.probs)
        return p.log() - (-p).log1p()

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        mode = (self.probs >= 0.5).to(self.probs.dtype)
        return mode.masked_fill(self.probs == 0.5, float("nan"))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value.to(logits.dtype), reduction="none")

    def entropy(self) -> Tensor:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(2, dtype=self.probs.dtype).reshape(2, *[1] * len(self.batch_shape))
        return values.expand(2, *self.batch_shape) if expand else values


class Categorical(Distribution):
    """The numbers 0 to K - 1, with probabilities along the last axis.

    Parameters
    ----------
    probs : Tensor (*, K)
        Not negative; they are divided by their sum.
    logits : Tensor (*, K)
        Logarithms of the probabilities, up to a constant.
    validate_args : bool, default True

    Examples
    --------
    >>> import fastnn
    >>> policy = fastnn.distributions.Categorical(logits=fastnn.zeros(2, 4))
    >>> policy.log_prob(policy.sample())
    tensor([-1.3863, -1.3863])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None) -> None:
        _one_of(probs, logits)
        given: Any = logits if probs is None else probs
        if given.ndim < 1:
            raise ValueError(f"`{'logits' if probs is None else 'probs'}` parameter must be at least one-dimensional.")
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = given.log_softmax(-1)
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], validate_args=validate_args)

    @cached_property
    def probs(self) -> Tensor:
        return self.logits.softmax(-1)

    @cached_property
    def logits(self) -> Tensor:
        return _clamped(self.probs).log()

    @property
    def support(self):
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def param_shape(self) -> Size:
        return (self.probs if "probs" in self.__dict__ else self.logits).shape

    @property
    def mean(self) -> Tensor:
        return full_like(self.probs[..., 0], float("nan"))

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            count = Size(sample_shape).numel()
            drawn = multinomial(self.probs.reshape(-1, self._num_events), count, True)
            return drawn.T.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        at, logits = value.long().unsqueeze(-1), self.logits
        if at.shape[:-1] != logits.shape[:-1]:
            at, logits = broadcast_tensors(at, logits)
            at = at[..., :1]
        return gather(logits, -1, at).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.logits.clamp(min=float(np.finfo(self.logits.dtype).min)) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(self._num_events).reshape(-1, *[1] * len(self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values


class OneHotCategorical(Distribution):
    """As `Categorical`, with vectors of one 1 and zeros for values.

    Parameters
    ----------
    probs, logits : Tensor (*, K)
        One of the two.
    validate_args : bool, default True
    """

    support = constraints.one_hot

    def __init__(self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    def __repr__(self) -> str:
        return "OneHot" + repr(self._categorical)

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return one_hot(self.probs.argmax(-1), self.event_shape[0]).to(self.probs.dtype)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return one_hot(self._categorical.sample(sample_shape), self.event_shape[0]).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self) -> Tensor:
        return self._categorical.entropy()


class Poisson(Distribution):
    """Counts of mean `rate`.

    Parameters
    ----------
    rate : float or Tensor
    validate_args : bool, default True
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Tensor | Number, validate_args: bool | None = None) -> None:
        self.rate, = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return value.xlogy(self.rate) - self.rate - (value + 1).lgamma()
