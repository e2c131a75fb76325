"""Switches of torch's that programs turn, and that change nothing here: every algorithm is deterministic, the one device is the CPU,
float32 products are computed in float32."""
from __future__ import annotations

from fastnn.core.device import device

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "memory_format", "preserve_format", "strided",
           "are_deterministic_algorithms_enabled", "get_default_device", "get_float32_matmul_precision", "get_num_interop_threads",
           "set_default_device", "set_float32_matmul_precision", "set_num_interop_threads", "use_deterministic_algorithms"]


class memory_format(str):
    """An order of a tensor's axes in memory, by its name.  Arguments that take one are accepted: the library chooses the order."""

    def __repr__(self) -> str:
        return f"torch.{self}"


channels_last, channels_last_3d = memory_format("channels_last"), memory_format("channels_last_3d")
contiguous_format, preserve_format = memory_format("contiguous_format"), memory_format("preserve_format")
strided = memory_format("strided")

_state: dict[str, object] = {"deterministic": False, "precision": "highest"}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for deterministic algorithms: there are no others."""
    _state["deterministic"] = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """Was `use_deterministic_algorithms` called with True last?"""
    return bool(_state["deterministic"])


def set_float32_matmul_precision(precision: str) -> None:
    """Allow less precise products ("high", "medium"): there are none."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"{precision} is not one of 'highest', 'high', 'medium'")
    _state["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What was asked for last."""
    return str(_state["precision"])


def set_num_interop_threads(num: int) -> None:
    """Set the number of operations that run side by side: it stays one."""


def get_num_interop_threads() -> int:
    """One: an operation ends before the next begins."""
    return 1


def set_default_device(device: object) -> None:
    """Choose where new tensors lie: an error for all but the CPU."""
    if device is not None and str(getattr(device, "type", device)).split(":")[0] != "cpu":
        raise RuntimeError(f"device {device} is not available, fastnn computes on the CPU only")


def get_default_device() -> device:
    """The CPU."""
    return device("cpu")
