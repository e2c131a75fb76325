"""User-written operations with their own backward rule."""
from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fastnn.core.function import apply_function
from fastnn.core.grad_mode import is_grad_enabled, no_grad

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.tensor import Tensor


class Context:
    """What `forward` leaves for `backward`; any attribute may be set on it."""

    def __init__(self):
        self.saved = ()
        self.non_differentiable = ()
        self.needs_input_grad = ()
        self.materialize_grads = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward; an in-place change before then is an error."""
        self.saved = tuple((t, None if t is None else t._version) for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        for t, version in self.saved:
            if t is not None and t._version != version:
                raise RuntimeError("one of the variables needed for gradient computation has been modified by an inplace "
                                   "operation: a tensor saved by save_for_backward was changed afterwards")
        return tuple(t for t, _ in self.saved)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self.non_differentiable = tuple(id(t) for t in tensors)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Accepted for compatibility: the in-place change itself counts the version."""

    def set_materialize_grads(self, value: bool) -> None:
        """With False, a missing gradient arrives as None instead of zeros."""
        self.materialize_grads = value


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a `backward` whose own gradient is not known, for instance as it uses NumPy: it runs unrecorded.

    With ``create_graph=True`` its results can be used, and differentiating them raises RuntimeError.

    Examples
    --------
    >>> import fastnn
    >>> class Exp(fastnn.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.y = x.exp()
    ...         return ctx.y
    ...     @staticmethod
    ...     @fastnn.autograd.function.once_differentiable
    ...     def backward(ctx, grad):
    ...         return grad * ctx.y
    """
    @functools.wraps(backward)
    def unrecorded(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            found = backward(ctx, *grads)
        if not (is_grad_enabled() and any(getattr(g, "requires_grad", False) for g in grads)):
            return found
        one = not isinstance(found, tuple)
        marked = tuple(g if g is None else _Last.apply(g, *grads) for g in ((found,) if one else found))
        return marked[0] if one else marked
    return unrecorded


class Function:
    """An operation with a hand-written gradient.

    Subclass it with two static methods, ``forward(ctx, *args)`` and ``backward(ctx, *grads)`` (one gradient per output
    in, one per argument of forward out), and call ``apply``.  With a third, ``setup_context(ctx, inputs, output)``, forward
    gets no ctx, and that method saves what backward needs.

    Examples
    --------
    >>> import fastnn
    >>> class Cube(fastnn.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         x, = ctx.saved_tensors
    ...         return 3 * x * x * grad
    >>> x = fastnn.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("You must implement the backward for your custom autograd.Function to use it with backward "
                                  "mode AD.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward without recording and put the whole operation on the tape as one node."""
        context = Context()
        context.needs_input_grad = tuple(getattr(a, "requires_grad", False) for a in args)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                outputs = cls.forward(context, *args, **kwargs)
            else:
                outputs = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, outputs)
        return apply_function(cls, context, args, outputs)


class _Last(Function):
    """A gradient that cannot be differentiated again, though what it was made from can."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *sources: Any) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
