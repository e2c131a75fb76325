"""NumPy's names of arguments, which torch takes as well: `axis` for `dim`, `keepdims` for `keepdim`.

Type checkers know torch's names only.
"""
from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ALIASES = {"axis": "dim", "keepdims": "keepdim"}


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
