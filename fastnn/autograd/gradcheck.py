"""Gradients against finite differences."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.backward import grad
from fastnn.core.tensor import Tensor, from_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class GradcheckError(RuntimeError):
    """An analytic gradient differs from the numerical one."""


def gradcheck(func: Callable[..., Tensor | Sequence[Tensor]], inputs: Tensor | Sequence[Any], eps: float = 1e-6,
              atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True, *, nondet_tol: float = 0.0) -> bool:
    """Compare the gradients of `func` with central differences (f(x + eps) - f(x - eps)) / 2 eps.

    Parameters
    ----------
    func : callable
        Takes the inputs, returns a Tensor or a tuple of Tensors.
    inputs : Tensor or tuple
        float64 tensors with requires_grad=True are checked; other values are passed through.
    eps, atol, rtol : float, default 1e-6, 1e-5, 1e-3
        Step, and the tolerance |analytic - numerical| <= atol + rtol |numerical|.
    raise_exception : bool, default True
        Raise GradcheckError on a difference instead of returning False.
    nondet_tol : float, default 0.0
        Largest difference allowed between two runs of the backward.

    Returns
    -------
    bool
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have "
                         "requires_grad=True.")
    try:
        for number, output in enumerate(_outputs(func, inputs)):
            if output.dtype.kind == "f" and output.requires_grad:
                _check_output(func, inputs, checked, number, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func: Callable[..., Tensor | Sequence[Tensor]], inputs: Tensor | Sequence[Any],
                  grad_outputs: Tensor | Sequence[Tensor] | None = None, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
                  gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True, nondet_tol: float = 0.0) -> bool:
    """Compare the gradients of the gradients of `func` with central differences of its gradients.

    Parameters
    ----------
    func, inputs, eps, atol, rtol, raise_exception, nondet_tol
        As of `gradcheck`.
    grad_outputs : Tensor or sequence of Tensor, optional
        Gradients of the outputs; left out, normal numbers.
    gen_non_contig_grad_outputs : bool, default False
        Give those that are drawn gaps in memory.

    Returns
    -------
    bool

    Examples
    --------
    >>> import fastnn
    >>> x = fastnn.tensor([0.5, 1.0], dtype=fastnn.float64, requires_grad=True)
    >>> fastnn.autograd.gradgradcheck(fastnn.tanh, x)
    True
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        draw, gap = np.random.default_rng(0), 2 if gen_non_contig_grad_outputs else 1
        shapes = [tuple(y.shape) for y in _outputs(func, inputs)]
        grads = tuple(from_array(draw.standard_normal((*shape, gap))[..., 0], True) for shape in shapes)
    else:
        grads = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)

    def gradient(*given):
        outputs = _outputs(func, given[:len(inputs)])
        found = grad(outputs, checked, given[len(inputs):], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)
    return gradcheck(gradient, inputs + grads, eps, atol, rtol, raise_exception, nondet_tol=nondet_tol)


def _outputs(func, inputs):
    found = func(*inputs)
    return found if isinstance(found, tuple | list) else (found,)


def _check_output(func, inputs, checked, number, eps, atol, rtol, nondet_tol):
    size = _outputs(func, inputs)[number].numel()
    analytic, again = (_analytic(func, inputs, checked, number, size) for _ in range(2))
    for i, x in enumerate(checked):
        if np.abs(analytic[i] - again[i]).max(initial=0) > nondet_tol:
            raise GradcheckError(f"Backward is not reentrant: output {number}, input {i} differs between two runs")
        numerical = _numerical(func, inputs, x, number, size, eps)
        if not np.allclose(analytic[i], numerical, rtol=rtol, atol=atol, equal_nan=True):
            raise GradcheckError(f"Jacobian mismatch for output {number} with respect to input {i},\n"
                                 f"numerical:{numerical}\nanalytical:{analytic[i]}")


def _analytic(func, inputs, checked, number, size):
    """One Jacobian (input size, output size) per checked input, a column per element of the output."""
    jacobians = [np.zeros((x.numel(), size)) for x in checked]
    for j in range(size):
        output = _outputs(func, inputs)[number]
        seed = np.zeros(tuple(output.shape), output.dtype)
        seed.reshape(-1)[j] = 1
        found = grad([output], checked, [from_array(seed)], allow_unused=True)
        for jacobian, g in zip(jacobians, found):
            if g is not None:
                jacobian[:, j] = g.array.reshape(-1)
    return jacobians


def _numerical(func, inputs, x, number, size, eps):
    jacobian = np.zeros((x.numel(), size))
    for i, place in enumerate(np.ndindex(x.array.shape)):
        before = x.array[place].copy()
        x.array[place] = before + eps
        above = _outputs(func, inputs)[number].array.reshape(-1).copy()
        x.array[place] = before - eps
        below = _outputs(func, inputs)[number].array.reshape(-1).copy()
        x.array[place] = before
        jacobian[i] = (above - below) / (2 * eps)
    return jacobian
