"""Jacobians and their products with vectors, of functions of tensors, by backward runs: one for each element of the output."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.backward import grad
from fastnn.core.grad_mode import enable_grad
from fastnn.core.tensor import Tensor, from_array
from fastnn.ops.creation import zeros
from fastnn.ops.joining import stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.types import Tensors

__all__ = ["hessian", "jacobian", "jvp", "vjp"]


def _tuple(value):
    return value if isinstance(value, tuple) else tuple(value) if isinstance(value, list) else (value,)


def _called(func, inputs, create_graph):
    """func's outputs, and the inputs as it saw them: leaves, or with create_graph tensors of the graph that they came from."""
    given = _tuple(inputs)
    for i, x in enumerate(given):
        if not isinstance(x, Tensor):
            raise TypeError("The inputs given to the function must be either a Tensor or a tuple of Tensors but the value at index "
                            f"{i} has type {type(x)}.")
    with enable_grad():
        seen = tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in given)
        return func(*seen), seen


def _rows(output, inputs, seeds, create_graph, strict):
    """For each seed, the gradient of each input."""
    for seed in seeds:
        found = [None] * len(inputs)
        if output.requires_grad:
            found = grad([output], inputs, [seed], retain_graph=True, create_graph=create_graph, allow_unused=True)
        if strict and any(g is None for g in found):
            raise RuntimeError("Output of the user-provided function is independent of an input. This is not allowed in strict mode.")
        yield [zeros(x.shape, dtype=output.dtype) if g is None else g for g, x in zip(found, inputs)]


def _seeds(output):
    """One for each element: 1 there, 0 elsewhere."""
    return [from_array(seed) for seed in np.eye(output.numel(), dtype=output.dtype).reshape(-1, *output.shape)]


def _values(outputs, create_graph):
    """What func gave: without its graph, unless that is wanted."""
    found = tuple(y if create_graph else y.detach() for y in _tuple(outputs))
    return found if isinstance(outputs, tuple | list) else found[0]


def jacobian(func: Callable[..., Any], inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
             strategy: str = "reverse-mode") -> Any:
    """All derivatives of func's outputs with respect to its inputs.

    Parameters
    ----------
    func : callable
        Takes the inputs, returns a Tensor or a tuple of Tensors.
    inputs : Tensor or tuple of Tensors
    create_graph : bool, default False
        Give derivatives that can be differentiated again.
    strict : bool, default False
        An output that does not depend on an input is an error; else its derivatives are zeros.
    vectorize, strategy
        Accepted; they mean nothing.

    Returns
    -------
    Tensor of shape output.shape + input.shape; a tuple of them for several inputs or outputs, outputs outside

    Examples
    --------
    >>> import fastnn
    >>> fastnn.autograd.functional.jacobian(lambda x: x * x, fastnn.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    outputs, seen = _called(func, inputs, create_graph)
    found = []
    for y in _tuple(outputs):
        rows = list(_rows(y, seen, _seeds(y), create_graph, strict))
        parts = tuple((stack([row[i] for row in rows]) if rows else zeros(0, dtype=y.dtype)).reshape(*y.shape, *x.shape)
                      for i, x in enumerate(seen))
        found.append(parts if isinstance(inputs, tuple | list) else parts[0])
    return tuple(found) if isinstance(outputs, tuple | list) else found[0]


def _vectors(v, like, what):
    """The vectors of a product, one per tensor, ones where there is a single element."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"The vector v can only be None if the {what} is a single Tensor with a single element")
        return (from_array(np.ones(like[0].shape, like[0].dtype)),)
    given = _tuple(v)
    if len(given) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(given)}.")
    for i, (a, b) in enumerate(zip(given, like)):
        if a.shape != b.shape:
            raise RuntimeError(f"Entry {i} in v has invalid size: should be {b.shape} but got {a.shape}.")
    return given


def vjp(func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """func's outputs, and the product of the vector v (of their shapes) and the Jacobian.

    Returns
    -------
    (outputs, Tensor or tuple of Tensors as inputs)
    """
    outputs, seen = _called(func, inputs, create_graph)
    ys = _tuple(outputs)
    rows = [row for y, w in zip(ys, _vectors(v, ys, "user-provided function returns"))
            for row in _rows(y, seen, [w], create_graph, strict)]
    found = tuple(sum(parts[1:], start=parts[0]) for parts in zip(*rows))
    return _values(outputs, create_graph), (found if isinstance(inputs, tuple | list) else found[0])


def jvp(func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """func's outputs, and the product of the Jacobian and the vector v (of the inputs' shapes), which takes the whole Jacobian.

    Returns
    -------
    (outputs, Tensor or tuple of Tensors as outputs)
    """
    outputs, seen = _called(func, inputs, create_graph)
    vectors = _vectors(v, seen, "input to the user-provided function")
    found = []
    for y in _tuple(outputs):
        elements = [sum((g * w).sum() for g, w in zip(row, vectors)) for row in _rows(y, seen, _seeds(y), create_graph, strict)]
        found.append((stack(elements) if elements else zeros(0, dtype=y.dtype)).reshape(y.shape))
    return _values(outputs, create_graph), (tuple(found) if isinstance(outputs, tuple | list) else found[0])


def hessian(func: Callable[..., Tensor], inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
            outer_jacobian_strategy: str = "reverse-mode") -> Any:
    """All second derivatives of a function with a single element for output; arguments as `jacobian`.

    Returns
    -------
    Tensor of shape input.shape + input.shape; a tuple of tuples of them for several inputs

    Examples
    --------
    >>> import fastnn
    >>> fastnn.autograd.functional.hessian(lambda x: (x ** 3).sum(), fastnn.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    def slopes(*leaves):
        y = func(*leaves)
        if not isinstance(y, Tensor) or y.numel() != 1:
            raise RuntimeError("The output of the function given to hessian must be a Tensor with a single element.")
        found = grad([y.reshape(())], leaves, create_graph=True, allow_unused=True)
        found = tuple(zeros(x.shape, dtype=x.dtype) if g is None else g for g, x in zip(found, leaves))
        return found if isinstance(inputs, tuple | list) else found[0]
    return jacobian(slopes, inputs, create_graph, strict)
