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
    whole = array.dtype.kind != "f" or not np.any(np.isfinite(array) & (array != np.rint(array)))
    text = np.array2string(array, separator=", ", precision=4, prefix="tensor(", threshold=1000,
                           floatmode="maxprec_equal" if whole else "fixed",
                           suppress_small=False) if array.size else str(array.tolist())
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
