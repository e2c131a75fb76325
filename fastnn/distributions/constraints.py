"""What parameters and values of distributions have to be."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.tensor import Tensor

__all__ = ["Constraint", "boolean", "greater_than", "integer_interval", "interval", "less_than", "lower_cholesky", "nonnegative",
           "nonnegative_integer", "one_hot", "positive", "positive_definite", "positive_vector", "real", "real_vector", "simplex",
           "unit_interval"]


class Constraint:
    """A region of values: `check(value)` tells which are in it; the last `event_dim` axes are one value."""

    def __init__(self, text: str, check: Callable[[Any], Tensor], event_dim: int = 0) -> None:
        self.text, self.check, self.event_dim = text, check, event_dim

    def __repr__(self) -> str:
        return self.text


def greater_than(lower_bound: float | Tensor) -> Constraint:
    """Above a bound."""
    return Constraint(f"GreaterThan(lower_bound={lower_bound})", lambda v: v > lower_bound)


def less_than(upper_bound: float | Tensor) -> Constraint:
    """Below a bound."""
    return Constraint(f"LessThan(upper_bound={upper_bound})", lambda v: v < upper_bound)


def interval(lower_bound: float | Tensor, upper_bound: float | Tensor) -> Constraint:
    """Between two bounds, both included."""
    return Constraint(f"Interval(lower_bound={lower_bound}, upper_bound={upper_bound})", lambda v: (v >= lower_bound) & (v <= upper_bound))


def integer_interval(lower_bound: int, upper_bound: int) -> Constraint:
    """Whole numbers between two bounds, both included."""
    return Constraint(f"IntegerInterval(lower_bound={lower_bound}, upper_bound={upper_bound})",
                      lambda v: (v % 1 == 0) & (v >= lower_bound) & (v <= upper_bound))


def _each(constraint):
    """Vectors whose elements all satisfy a constraint."""
    return Constraint(f"IndependentConstraint({constraint}, 1)", lambda v: constraint.check(v).all(-1), 1)


real = Constraint("Real()", lambda v: v == v)
positive = greater_than(0.0)
nonnegative = Constraint("GreaterThanEq(lower_bound=0.0)", lambda v: v >= 0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda v: (v == 0) | (v == 1))
nonnegative_integer = Constraint("IntegerGreaterThan(lower_bound=0)", lambda v: (v % 1 == 0) & (v >= 0))
simplex = Constraint("Simplex()", lambda v: (v >= 0).all(-1) & ((v.sum(-1) - 1).abs() < 1e-6), 1)
one_hot = Constraint("OneHot()", lambda v: ((v == 0) | (v == 1)).all(-1) & (v.sum(-1) == 1), 1)
real_vector, positive_vector = _each(real), _each(positive)
lower_cholesky = Constraint("LowerCholesky()", lambda v: (v.tril() == v).all(-1).all(-1) & (v.diagonal(0, -2, -1) > 0).all(-1), 2)
positive_definite = Constraint("PositiveDefinite()", lambda v: ((v - v.mT).abs() < 1e-6).all(-1).all(-1), 2)     # else cholesky refuses it
