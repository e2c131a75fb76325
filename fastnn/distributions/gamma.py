"""The gamma distribution and those that are made of gamma variables; their samples carry no gradient."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import random as draws
from fastnn.core.tensor import Tensor, from_array
from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution, broadcast_all
from fastnn.ops.host import compute
from fastnn.ops.joining import stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.types import Number

__all__ = ["Beta", "Dirichlet", "Gamma"]


def _log_gammas(shapes):
    """Logarithms of gamma variables, which for small shapes are too small themselves: Gamma(a) = Gamma(a + 1) U^(1/a)."""
    generator = np.random.Generator(np.random.Philox(draws.u64(None)))
    wide = shapes.astype(np.float64)
    return np.log(generator.standard_gamma(wide + 1)) - generator.standard_exponential(wide.shape) / wide


class Gamma(Distribution):
    """The density x^(a-1) exp(-b x) b^a / Gamma(a) of positive numbers, a the concentration and b the rate.

    Parameters
    ----------
    concentration, rate : float or Tensor
    validate_args : bool, default True
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, concentration: Tensor | Number, rate: Tensor | Number, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.square()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape, dtype = self._extended_shape(sample_shape), self.rate.dtype

        def draw(shapes, rates):
            return np.maximum(np.exp(_log_gammas(shapes)) / rates, np.finfo(dtype).tiny).astype(dtype)
        return from_array(compute("gamma", draw, self.concentration.expand(shape).array, self.rate.array))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration, self.rate
        return a.xlogy(b) + (a - 1).xlogy(value) - b * value - a.lgamma()

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1 - a) * a.digamma()


class Dirichlet(Distribution):
    """Vectors of positive numbers that add up to one, with density proportional to the product of x_i^(a_i - 1).

    Parameters
    ----------
    concentration : Tensor (*, K)
    validate_args : bool, default True
    """

    arg_constraints = {"concentration": constraints.positive_vector}
    support = constraints.simplex

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total.square() * (total + 1))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        dtype = self.concentration.dtype

        def draw(shapes):
            x = _log_gammas(shapes)
            x = np.exp(x - x.max(-1, keepdims=True))
            return np.maximum(x / x.sum(-1, keepdims=True), np.finfo(dtype).tiny).astype(dtype)
        return from_array(compute("dirichlet", draw, self.concentration.expand(self._extended_shape(sample_shape)).array))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a = self.concentration
        return (a - 1).xlogy(value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Tensor:
        a = self.concentration
        total = a.sum(-1)
        return a.lgamma().sum(-1) - total.lgamma() - (a.shape[-1] - total) * total.digamma() - ((a - 1) * a.digamma()).sum(-1)


class Beta(Distribution):
    """The density proportional to x^(a-1) (1-x)^(b-1) between 0 and 1, a = concentration1, b = concentration0.

    Parameters
    ----------
    concentration1, concentration0 : float or Tensor
    validate_args : bool, default True
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval

    def __init__(self, concentration1: Tensor | Number, concentration0: Tensor | Number, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.shape, validate_args=validate_args)

    @property
    def _dirichlet(self):
        return Dirichlet(stack([self.concentration1, self.concentration0], -1), False)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.square() * (total + 1))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._dirichlet.sample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._dirichlet.log_prob(stack([value, 1 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()
