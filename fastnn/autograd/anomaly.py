"""Looking for the operation whose gradient is NaN."""
from __future__ import annotations

from fastnn.core.tape import set_check_nan

__all__ = ["detect_anomaly", "is_anomaly_enabled", "set_detect_anomaly"]

_enabled = False


class set_detect_anomaly:
    """Turn anomaly detection on or off, for good or within a `with` block: backward then stops where a gradient becomes NaN.

    Parameters
    ----------
    mode : bool
    check_nan : bool, default True

    Examples
    --------
    >>> import fastnn
    >>> x = fastnn.zeros(1, requires_grad=True)
    >>> with fastnn.autograd.set_detect_anomaly(True):
    ...     (x.sqrt() * 0).sum().backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward' returned nan values in its 0th output.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        global _enabled
        self.before = _enabled, set_check_nan(mode and check_nan)
        _enabled = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        global _enabled
        _enabled, checked = self.before
        set_check_nan(checked)


class detect_anomaly(set_detect_anomaly):
    """`set_detect_anomaly(True)`, for a `with` block."""

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)


def is_anomaly_enabled() -> bool:
    """Is anomaly detection on?"""
    return _enabled
