"""What all distributions have in common."""
from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.grad_mode import no_grad
from fastnn.core.size import Size
from fastnn.core.tensor import Tensor, from_array, get_default_dtype
from fastnn.distributions import constraints
from fastnn.ops.joining import broadcast_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

__all__ = ["Distribution", "Independent"]


def broadcast_all(*values: Tensor | float) -> tuple[Tensor, ...]:
    """Tensors of one shape from tensors and numbers, which take the tensors' dtype."""
    if not all(isinstance(v, Tensor | int | float | np.number) for v in values):
        raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__.")
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), get_default_dtype())
    found = [v if isinstance(v, Tensor) else from_array(np.asarray(v, dtype)) for v in values]
    return tuple(broadcast_tensors(*found)) if any(t.shape != found[0].shape for t in found) else tuple(found)


class Distribution:
    """A family of independent distributions of shape `batch_shape`, each over values of shape `event_shape`.

    What a family has no formula for raises NotImplementedError, as torch's do.

    Parameters
    ----------
    batch_shape, event_shape : sequence of ints
    validate_args : bool, default True
        Check parameters and values?
    """

    arg_constraints: dict[str, constraints.Constraint] | property = {}
    support: constraints.Constraint | property = constraints.real
    has_rsample = False
    _validate_args = True

    def __init__(self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            rules: Any = self.arg_constraints
            for name, constraint in rules.items():
                if name in self.__dict__:       # probs or logits: the one that was given
                    self._require(self.__dict__[name], constraint, f"parameter {name}",
                                  f"of distribution {self!r} to satisfy the constraint {constraint!r}")

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Are parameters and values checked where the constructor is not told?"""
        Distribution._validate_args = value

    def _require(self, value, constraint, what, where):
        if not bool(constraint.check(value).all()):
            raise ValueError(f"Expected {what} ({type(value).__name__} of shape {tuple(value.shape)}) {where}, but found invalid values:"
                             f"\n{value.detach() if value.ndim else value.item()}")

    def _validate_sample(self, value):
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        expected = (*self.batch_shape, *self.event_shape)
        for i, j in zip(reversed(value.shape), reversed(expected)):
            if 1 not in (i, j) and i != j:
                raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {Size(expected)}.")
        self._require(value, self.support, "value argument", f"to be within the support ({self.support!r}) of the distribution {self!r}")

    @property
    def batch_shape(self) -> Size:
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        return self._event_shape

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def _extended_shape(self, sample_shape=()):
        return Size((*((sample_shape,) if isinstance(sample_shape, int) else sample_shape), *self.batch_shape, *self.event_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Values of shape sample_shape + batch_shape + event_shape; no gradient passes."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Values as functions of the parameters, so that gradients pass."""
        raise NotImplementedError(f"{type(self).__name__} has samples without gradient only: use sample()")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, of values."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values up to this one."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of `cdf`."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """-E log p, in nats."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """exp of the entropy."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a new first axis."""
        raise NotImplementedError

    def expand(self, batch_shape: Sequence[int]) -> Self:
        """The distribution with its parameters expanded to a larger batch."""
        other, own = copy.copy(self), len(self.batch_shape)
        for name, value in self.__dict__.items():
            if isinstance(value, Tensor):
                setattr(other, name, value.expand(*batch_shape, *value.shape[own:]))
            elif isinstance(value, Distribution):
                setattr(other, name, value.expand((*batch_shape, *value.batch_shape[own:])))
        other._batch_shape = Size(batch_shape)
        return other

    def __repr__(self) -> str:
        rules: Any = type(self).arg_constraints
        names = [n for n in (self._names if isinstance(rules, property) else rules) if n in self.__dict__]
        shown = [f"{n}: {v.item() if v.numel() == 1 else v.shape}" for n in names for v in (self.__dict__[n],)]
        return f"{type(self).__name__}({', '.join(shown)})"

    _names: tuple[str, ...] = ()        # of the parameters, where what they must be depends on one another


class Independent(Distribution):
    """Takes the last axes of a distribution's batch for parts of its event: log-probabilities add up over them.

    Parameters
    ----------
    base_distribution : Distribution
    reinterpreted_batch_ndims : int
        How many axes.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn.distributions import Independent, Normal
    >>> normal = Independent(Normal(fastnn.zeros(2, 3), 1.0), 1)
    >>> normal.batch_shape, normal.event_shape
    (torch.Size([2]), torch.Size([3]))
    >>> normal.log_prob(fastnn.zeros(2, 3))
    tensor([-2.7568, -2.7568])
    """

    def __init__(self, base_distribution: Distribution, reinterpreted_batch_ndims: int, validate_args: bool | None = None) -> None:
        if reinterpreted_batch_ndims > len(base_distribution.batch_shape):
            raise ValueError("Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                             f"{reinterpreted_batch_ndims} vs {len(base_distribution.batch_shape)}")
        shape = base_distribution.batch_shape + base_distribution.event_shape
        at = len(base_distribution.batch_shape) - reinterpreted_batch_ndims
        self.base_dist = base_distribution
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        super().__init__(shape[:at], shape[at:], validate_args)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist!r}, {self.reinterpreted_batch_ndims})"

    @property
    def has_rsample(self) -> bool:      # type: ignore[override]    # a property where the others have a constant
        return self.base_dist.has_rsample

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def _sum(self, values):
        n = self.reinterpreted_batch_ndims
        return values.sum(tuple(range(-n, 0))) if n else values

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._sum(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self._sum(self.base_dist.entropy())
