"""How a tensor prints."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import get_default_dtype

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.tensor import Tensor


PREFIX = "tensor("
LONGEST = 1 << 30       # no line is as long
_DEFAULTS: dict[str, Any] = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
_PROFILES = {"default": _DEFAULTS, "short": {**_DEFAULTS, "precision": 2, "edgeitems": 2}, "full": {**_DEFAULTS, "threshold": np.inf}}
_options = dict(_DEFAULTS)


def set_printoptions(precision: int | None = None, threshold: float | None = None, edgeitems: int | None = None,
                     linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None) -> None:
    """Choose how tensors print; what is not named stays as it is.

    Parameters
    ----------
    precision : int, default 4
        Digits after the point.
    threshold : int, default 1000
        Larger tensors are abbreviated.
    edgeitems : int, default 3
        How many elements an abbreviated axis shows at either end.
    linewidth : int, default 80
    profile : "default", "short" or "full"
        Sets all of them first.
    sci_mode : bool, optional
        Print exponents always or never; None: where the sizes differ much.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.set_printoptions(precision=2)
    >>> fastnn.tensor([3.14159, 100.0])
    tensor([  3.14, 100.00])
    >>> fastnn.set_printoptions(profile="default")
    """
    if profile is not None:
        _options.update(_PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update({name: value for name, value in given.items() if value is not None})
    _options["sci_mode"] = sci_mode


def _formatter(shown):
    """Functions that print elements where NumPy's choice is not wanted."""
    if shown.dtype == np.bool_ and shown.all():
        return {"bool": str}
    if shown.dtype.kind != "f" or _options["sci_mode"] is None:
        return None
    form = f"{{:.{_options['precision']}{'e' if _options['sci_mode'] else 'f'}}}"
    width = max((len(form.format(v)) for v in shown.ravel().tolist()), default=0)
    return {"float": lambda v: form.format(v).rjust(width)}


def text(t: Tensor) -> str:
    """tensor(...) as torch prints it: four digits, dtype only where it is not the default."""
    array = t.array
    shown = array.astype(np.float64) if array.dtype.kind == "f" else array      # NumPy takes exponents earlier for shorter floats
    options = {"separator": ", ", "precision": _options["precision"], "prefix": PREFIX, "threshold": _options["threshold"],
               "edgeitems": _options["edgeitems"], "floatmode": "maxprec_equal" if _is_whole(shown) else "fixed",
               "suppress_small": False, "formatter": _formatter(shown)}
    text = np.array2string(shown, max_line_width=LONGEST, **options)
    if array.ndim and max(map(len, text.split("\n"))) + len(PREFIX) > _options["linewidth"]:
        text = np.array2string(shown, max_line_width=_line_width(text, array.ndim), **options)
    if not array.size:
        text = str(array.tolist())
    text = text.replace(", ...,", ",  ...,")
    extra = []
    if array.size == 0 and array.ndim != 1:
        extra.append(f"size={tuple(array.shape)}")
    if not (array.dtype == get_default_dtype() or (array.dtype in (np.int64, np.bool_) and array.size)):
        extra.append(f"dtype={array.dtype}")
    if t.grad_fn is not None:
        extra.append(f"grad_fn=<{t.grad_fn.name}>")
    elif t.requires_grad:
        extra.append("requires_grad=True")
    return _with_extra(PREFIX + text, extra)


def _line_width(text, ndim):
    """The line width for NumPy that puts as many elements in a line as torch does, from a text with rows in one line each."""
    first = text.lstrip("[")
    width = min(first.find(mark) for mark in ",]" if mark in first) + 2
    indent = len(PREFIX) + ndim
    return indent + max((_options["linewidth"] - indent + 1) // width, 1) * width + ndim - 1


def _with_extra(text, extra):
    """The text with more behind it, in new lines where the last one would become too long."""
    length = len(text) - text.rfind("\n") + 1
    for part in extra:
        if length + len(part) + 2 > _options["linewidth"]:
            text += ",\n" + " " * len(PREFIX) + part
            length = len(PREFIX) + len(part)
        else:
            text += ", " + part
            length += len(part) + 2
    return text + ")"


def _is_whole(array):
    """Are these whole numbers that are printed without an exponent (by torch's rule, which is NumPy's too)?"""
    if array.dtype.kind != "f":
        return True
    finite = array[np.isfinite(array)]
    size = np.abs(finite[finite != 0])
    with np.errstate(over="ignore"):
        small = not size.size or (size.max() < 1e8 and size.max() / size.min() <= 1000)
    return bool(small and np.array_equal(finite, np.rint(finite)))
