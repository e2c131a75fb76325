"""Mixed precision, as programs ask for it: everything is computed in the dtype that it has, and no loss needs scaling."""
from __future__ import annotations

from contextlib import ContextDecorator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["GradScaler", "autocast"]


class autocast(ContextDecorator):
    """A `with` block, or decorator, in which nothing changes: there is no shorter float to compute in."""

    def __init__(self, device_type: object = "cpu", dtype: object = None, enabled: bool = True, cache_enabled: bool | None = None) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        pass


class GradScaler:
    """A scaler of losses that leaves them as they are, as torch's does where there is no GPU.

    Examples
    --------
    >>> import fastnn
    >>> scaler = fastnn.amp.GradScaler()
    >>> scaler.scale(fastnn.tensor(2.0))
    tensor(2.)
    """

    def __init__(self, device: object = "cuda", init_scale: float = 65536.0, growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, enabled: bool = True) -> None:
        pass

    def scale(self, outputs: Any) -> Any:
        """The losses."""
        return outputs

    def unscale_(self, optimizer: object) -> None:
        """Nothing was scaled."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """One step of the optimizer."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: object = None) -> None:
        """There is no scale."""

    def get_scale(self) -> float:
        """One."""
        return 1.0

    def is_enabled(self) -> bool:
        """Never."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read nothing."""
