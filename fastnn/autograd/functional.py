"""Jacobians and their products with vectors, of functions of tensors, by backward runs: one for each element of the output."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.backward import grad
from fastnn.core.grad_mode import enable_grad
from fastnn.core.tensor import Tensor, from_array

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.types import Tensors

__all__ = ["hessian", "jacobian", "jvp", "vjp"]


def _tuple(value):
    return value if isinstance(value, tuple) else tuple(value) if isinstance(value, list) else (value,)


def _called(func, inputs, create_graph):
    """func's outputs, and the inputs as leaves."""
    if create_graph:
        raise NotImplementedError("create_graph=True is not supported here: autograd.grad takes it")
    given = _tuple(inputs)
    for i, x in enumerate(given):
        if not isinstance(x, Tensor):
            raise TypeError("The inputs given to the function must be either a Tensor or a tuple of Tensors but the value at index "
                            f"{i} has type {type(x)}.")
    leaves = tuple(x.detach().requires_grad_() for x in given)
    with enable_grad():
        return func(*leaves), leaves


def _rows(output, leaves, seeds, strict):
    """For each seed, the gradient of each leaf as an array."""
    for seed in seeds:
        if not output.requires_grad:
            found = [None] * len(leaves)
        else:
            found = grad([output], leaves, [from_array(seed)], retain_graph=True, allow_unused=True)
        if strict and any(g is None for g in found):
            raise RuntimeError("Output of the user-provided function is independent of an input. This is not allowed in strict mode.")
        yield [np.zeros(x.shape, output.dtype) if g is None else g.array for g, x in zip(found, leaves)]


def jacobian(func: Callable[..., Any], inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
             strategy: str = "reverse-mode") -> Any:
    """All derivatives of func's outputs with respect to its inputs.

    Parameters
    ----------
    func : callable
        Takes the inputs, returns a Tensor or a tuple of Tensors.
    inputs : Tensor or tuple of Tensors
    create_graph : bool, default False
        Not supported.
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
    outputs, leaves = _called(func, inputs, create_graph)
    found = []
    for y in _tuple(outputs):
        seeds = np.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
        rows = list(_rows(y, leaves, seeds, strict))
        parts = tuple(from_array(np.stack([row[i] for row in rows]).reshape(*y.shape, *x.shape) if rows else
                                 np.zeros((*y.shape, *x.shape), y.dtype)) for i, x in enumerate(leaves))
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
    outputs, leaves = _called(func, inputs, create_graph)
    ys = _tuple(outputs)
    total: list[Any] = [np.zeros(x.shape, x.dtype) for x in leaves]
    for y, w in zip(ys, _vectors(v, ys, "user-provided function returns")):
        for row in _rows(y, leaves, [w.array], strict):
            total = [t + g for t, g in zip(total, row)]
    found = tuple(from_array(np.asarray(t)) for t in total)
    plain = tuple(y.detach() for y in ys)
    return (plain if isinstance(outputs, tuple | list) else plain[0]), (found if isinstance(inputs, tuple | list) else found[0])


def jvp(func: Callable[..., Any], inputs: Tensors, v: Tensors | None = None, create_graph: bool = False,
        strict: bool = False) -> tuple[Any, Any]:
    """func's outputs, and the product of the Jacobian and the vector v (of the inputs' shapes), which takes the whole Jacobian.

    Returns
    -------
    (outputs, Tensor or tuple of Tensors as outputs)
    """
    outputs, leaves = _called(func, inputs, create_graph)
    vectors = _vectors(v, leaves, "input to the user-provided function")
    products = []
    for y in _tuple(outputs):
        seeds = np.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
        rows = [sum(np.vdot(g, w.array) for g, w in zip(row, vectors)) for row in _rows(y, leaves, seeds, strict)]
        products.append(from_array(np.asarray(rows, y.dtype).reshape(y.shape)))
    plain = tuple(y.detach() for y in _tuple(outputs))
    several = isinstance(outputs, tuple | list)
    return (plain, tuple(products)) if several else (plain[0], products[0])


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
        found = tuple(from_array(np.zeros(x.shape, x.dtype)) if g is None else g for g, x in zip(found, leaves))
        return found if isinstance(inputs, tuple | list) else found[0]
    return jacobian(slopes, inputs, create_graph, strict)
