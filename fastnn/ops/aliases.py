"""NumPy's names of arguments, which torch takes as well: `axis` for `dim`, `keepdims` for `keepdim`; and results put into `out`.

Type checkers know torch's names only.
"""
from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from fastnn.core.grad_mode import is_grad_enabled
from fastnn.core.tensor import Tensor
from fastnn.ops.promotion import can_cast, type_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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


def numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which understands NumPy's names of its arguments."""
    @wraps(function)
    def named(*args, **kwargs):
        for alias, name in ALIASES.items():
            if alias in kwargs:
                if name in kwargs:
                    raise TypeError(f"{function.__name__}() got both '{name}' and its other name '{alias}'")
                kwargs[name] = kwargs.pop(alias)
        return function(*args, **kwargs)
    return named


def accept_numpy_names(module: dict[str, Any], names: str) -> None:
    """Let the functions of a module understand these names; its own calls among them do as well."""
    for name in names.split():
        module[name] = numpy_names(module[name])
