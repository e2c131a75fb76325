"""How a tensor prints."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import get_default_dtype

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor


def text(t: Tensor) -> str:
    """tensor(...) as torch prints it: four digits, dtype only where it is not the default."""
    array = t.array
    shown = array.astype(np.float64) if array.dtype.kind == "f" else array      # NumPy takes exponents earlier for shorter floats
    text = np.array2string(shown, separator=", ", precision=4, prefix="tensor(", threshold=1000,
                           floatmode="maxprec_equal" if _is_whole(shown) else "fixed", suppress_small=False,
                           formatter={"bool": str} if array.dtype == np.bool_ and array.all() else None)
    if not array.size:
        text = str(array.tolist())
    text = text.replace(", ...,", ",  ...,")
    extra = ""
    if array.size == 0 and array.ndim != 1:
        extra += f", size={tuple(array.shape)}"
    if not (array.dtype == get_default_dtype() or (array.dtype in (np.int64, np.bool_) and array.size)):
        extra += f", dtype={array.dtype}"
    if t.grad_fn is not None:
        extra += f", grad_fn=<{t.grad_fn.name}>"
    elif t.requires_grad:
        extra += ", requires_grad=True"
    return f"tensor({text}{extra})"


def _is_whole(array):
    """Are these whole numbers that are printed without an exponent (by torch's rule, which is NumPy's too)?"""
    if array.dtype.kind != "f":
        return True
    finite = array[np.isfinite(array)]
    size = np.abs(finite[finite != 0])
    with np.errstate(over="ignore"):
        small = not size.size or (size.max() < 1e8 and size.max() / size.min() <= 1000)
    return bool(small and np.array_equal(finite, np.rint(finite)))
