"""Probability distributions under torch's names: samples, log-probabilities, entropies and divergences with gradients.

Samples of `Normal`, `Uniform`, `Exponential`, `Laplace` and `Categorical` are torch's under one seed. `Gamma`, `Beta`, `Dirichlet` and
`Poisson` draw from a NumPy generator that the default generator seeds; their samples have no gradient (`has_rsample` is False).
"""
from fastnn.distributions import constraints as constraints
from fastnn.distributions.continuous import *
from fastnn.distributions.discrete import *
from fastnn.distributions.distribution import *
from fastnn.distributions.divergence import *
from fastnn.distributions.gamma import *
from fastnn.distributions.multivariate import *
