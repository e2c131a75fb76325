from collections.abc import Callable, Collection

from fastnn.core.recording import Recording

PATTERNS: list[Callable[[Recording, int, Collection[int]], str | None]]

def fuse(recording: Recording, kept: Collection[int], split: int) -> tuple[list[str], int]: ...
