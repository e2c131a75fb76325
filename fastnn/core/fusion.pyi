from collections.abc import Collection

from fastnn.core.recording import Recording

def fuse(recording: Recording, kept: Collection[int], split: int) -> tuple[list[str], int]: ...
