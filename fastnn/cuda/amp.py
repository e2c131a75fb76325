"""`fastnn.amp` in torch's older place, with the arguments that it has there."""
from __future__ import annotations

from fastnn import amp

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """A `with` block, or decorator, in which nothing changes: `fastnn.amp.autocast` without its first argument."""

    def __init__(self, enabled: bool = True, dtype: object = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """A scaler that leaves losses as they are: `fastnn.amp.GradScaler` without its first argument."""

    def __init__(self, init_scale: float = 65536.0, growth_factor: float = 2.0, backoff_factor: float = 0.5, growth_interval: int = 2000,
                 enabled: bool = True) -> None:
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
