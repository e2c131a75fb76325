"""What programs ask of `cuda` to learn that there is none; seeds and the like are accepted."""
from __future__ import annotations

from fastnn.cuda import amp as amp

__all__ = ["amp", "current_device", "device_count", "empty_cache", "get_device_name", "is_available", "is_bf16_supported", "manual_seed",
           "manual_seed_all", "max_memory_allocated", "memory_allocated", "memory_reserved", "synchronize"]


def is_available() -> bool:
    """Never."""
    return False


def device_count() -> int:
    """None."""
    return 0


def manual_seed(seed: int) -> None:
    """Seed nothing."""


def manual_seed_all(seed: int) -> None:
    """Seed nothing."""


def empty_cache() -> None:
    """Free nothing."""


def synchronize(device: object = None) -> None:
    """Wait for nothing."""


def is_bf16_supported() -> bool:
    """Never."""
    return False


def memory_allocated(device: object = None) -> int:
    """None."""
    return 0


max_memory_allocated = memory_reserved = memory_allocated


def current_device() -> int:
    """There is none to name."""
    raise AssertionError("CUDA is not available: fastnn computes on the CPU only")


def get_device_name(device: object = None) -> str:
    """There is none to name."""
    raise AssertionError("CUDA is not available: fastnn computes on the CPU only")
