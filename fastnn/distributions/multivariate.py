"""Normal vectors whose elements depend on one another."""
from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from fastnn.distributions import constraints
from fastnn.distributions.distribution import Distribution
from fastnn.ops.factorization import cholesky, inv, solve_triangular
from fastnn.ops.joining import broadcast_shapes
from fastnn.ops.linear import matmul
from fastnn.ops.random import randn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.tensor import Tensor

__all__ = ["MultivariateNormal"]


class MultivariateNormal(Distribution):
    """The normal distribution of vectors, by its mean and one of three matrices.

    Parameters
    ----------
    loc : Tensor (*, K)
    covariance_matrix, precision_matrix, scale_tril : Tensor (*, K, K)
        The covariance, its inverse, or its lower Cholesky factor.
    validate_args : bool, default True
    """

    arg_constraints = {"loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
                       "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
                 scale_tril: Tensor | None = None, validate_args: bool | None = None) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = [m for m in (covariance_matrix, precision_matrix, scale_tril) if m is not None]
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        if given[0].ndim < 2:
            raise ValueError("the matrix must be at least two-dimensional, with optional leading batch dimensions")
        batch = broadcast_shapes(given[0].shape[:-2], loc.shape[:-1])
        matrix = given[0].expand(*batch, *given[0].shape[-2:])
        self.loc = loc.expand(*batch, loc.shape[-1])
        if scale_tril is not None:
            self.scale_tril = matrix
        elif covariance_matrix is not None:
            self.covariance_matrix = matrix
        else:
            self.precision_matrix = matrix
        super().__init__(batch, loc.shape[-1:], validate_args)
        self._factor = matrix if scale_tril is not None else cholesky(matrix if covariance_matrix is not None else inv(matrix))

    @cached_property
    def scale_tril(self) -> Tensor:
        return self._factor

    @cached_property
    def covariance_matrix(self) -> Tensor:
        return matmul(self._factor, self._factor.mT)

    @cached_property
    def precision_matrix(self) -> Tensor:
        return inv(self.covariance_matrix)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._factor.square().sum(-1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        noise = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + matmul(self._factor, noise.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self):
        return self._factor.diagonal(0, -2, -1).log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        whitened = solve_triangular(self._factor, (value - self.loc).unsqueeze(-1), upper=False).squeeze(-1)
        return -0.5 * (self.event_shape[0] * math.log(2 * math.pi) + whitened.square().sum(-1)) - self._half_log_det()

    def entropy(self) -> Tensor:
        return 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi)) + self._half_log_det()
