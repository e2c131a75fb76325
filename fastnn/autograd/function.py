"""User-written operations with their own backward rule."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core.function import apply_function
from fastnn.core.grad_mode import no_grad

if TYPE_CHECKING:
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


class Function:
    """An operation with a hand-written gradient.

    Subclass it with two static methods, ``forward(ctx, *args)`` and ``backward(ctx, *grads)`` (one gradient per output
    in, one per argument of forward out), and call ``apply``.

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
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("You must implement the backward for your custom autograd.Function to use it with backward "
                                  "mode AD.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward without recording and put the whole operation on the tape as one node."""
        context = Context()
        context.needs_input_grad = tuple(getattr(a, "requires_grad", False) for a in args)
        with no_grad():
            outputs = cls.forward(context, *args, **kwargs)
        return apply_function(cls, context, args, outputs)
