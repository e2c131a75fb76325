"""Modules whose parameters somebody else sets."""
from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, TypeVar

from fastnn.nn.module import Module
from fastnn.ops.random import get_rng_state, set_rng_state

if TYPE_CHECKING:
    from typing import Any

M = TypeVar("M", bound=Module)

__all__ = ["skip_init"]


def skip_init(module_cls: type[M], *args: Any, **kwargs: Any) -> M:
    """Make a module whose parameters are to be set afterwards: no number is drawn from the default generator.

    Parameters
    ----------
    module_cls : class of Module
        Its constructor takes `device`.
    *args, **kwargs
        Of the constructor.

    Returns
    -------
    Module
        What its parameters hold is not defined.

    Raises
    ------
    RuntimeError
        If that is no such class.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    state = get_rng_state()
    try:
        return module_cls(*args, **kwargs)
    finally:
        set_rng_state(state)
