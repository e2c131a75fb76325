"""NumPy's names of arguments, which torch takes as well: `axis` for `dim`, `keepdims` for `keepdim`; and results put into `out`."""
from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypedDict, TypeVar

from fastnn.core.grad_mode import is_grad_enabled
from fastnn.core.tensor import Tensor
from fastnn.ops.promotion import can_cast, type_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.types import Dims

P = ParamSpec("P")
R = TypeVar("R")

ALIASES = {"axis": "dim", "keepdims": "keepdim"}


def into(out: Tensor, y: Tensor) -> Tensor:
    """out, with the values of y.

    Raises
    ------
    RuntimeError
        If a gradient is recorded, the shapes differ (torch resizes `out`), or the dtype cannot hold the values.
    """
    if not isinstance(out, Tensor):
        raise TypeError(f"argument 'out' must be Tensor, not {type(out).__name__}")
    if is_grad_enabled() and (y.requires_grad or out.requires_grad):
        raise RuntimeError("functions with out=... arguments don't support automatic differentiation, but one of the arguments "
                           "requires grad.")
    if out.shape != y.shape:
        raise RuntimeError(f"out: expected shape {list(y.shape)}, got {list(out.shape)}")
    if not can_cast(y.dtype, out.dtype):
        raise RuntimeError(f"result type {type_name(y.dtype)} can't be cast to the desired output type {type_name(out.dtype)}")
    return out.copy_(y)


class AxisName(TypedDict, total=False):
    """NumPy's name of `dim`."""

    axis: int | None


class AxisNames(AxisName, total=False):
    """NumPy's names of `dim` and `keepdim`."""

    keepdims: bool


class AxesNames(TypedDict, total=False):
    """The same where `dim` may be several axes."""

    axis: Dims | None
    keepdims: bool


def numpy_names(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which understands NumPy's names of its arguments; its own `**names` tell type checkers and take nothing."""
    code: Any = function.__code__
    known = frozenset(code.co_varnames[:code.co_argcount + code.co_kwonlyargcount])

    @wraps(function)
    def named(*args, **kwargs):
        if kwargs:
            for alias, name in ALIASES.items():
                if alias in kwargs:
                    if name in kwargs:
                        raise TypeError(f"{function.__name__}() got both '{name}' and its other name '{alias}'")
                    kwargs[name] = kwargs.pop(alias)
            for name in kwargs:
                if name not in known:
                    raise TypeError(f"{function.__name__}() got an unexpected keyword argument '{name}'")
        return function(*args, **kwargs)
    return named


def accept_numpy_names(module: dict[str, Any], names: str) -> None:
    """Let the functions of a module understand these names; its own calls among them do as well.

    Not by a decorator: Tensor has these functions, and their types would depend on that of Tensor in a circle.
    """
    for name in names.split():
        module[name] = numpy_names(module[name])
