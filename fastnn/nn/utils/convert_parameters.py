"""Parameters as one vector, and back."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core.tensor import Tensor
from fastnn.ops.joining import cat

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Join all parameters, flattened in C order, into one vector; gradients flow back into them.

    Parameters
    ----------
    parameters : iterable of Tensor

    Returns
    -------
    Tensor
        1-d.
    """
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the pieces of a vector into the parameters.

    Unlike torch's, the parameters keep their own memory and do not share the vector's.

    Parameters
    ----------
    vec : Tensor
        1-d, as `parameters_to_vector` made it.
    parameters : iterable of Tensor

    Raises
    ------
    TypeError
        If vec is not a Tensor.
    RuntimeError
        If it has too few elements.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected fastnn.Tensor, but got: {type(vec).__name__}")
    start, values = 0, vec.array
    for p in parameters:
        piece = values[start:start + p.numel()]
        if piece.size != p.numel():
            raise RuntimeError(f"vector_to_parameters: vec has {values.size} elements, the parameters need more")
        p.array[...] = piece.reshape(p.shape)
        p.detach()._touch()
        start += p.numel()
