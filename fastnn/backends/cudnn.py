"""cuDNN, which is not here: its switches can be set and change nothing."""

enabled = False
benchmark = False
deterministic = True
allow_tf32 = False


def is_available() -> bool:
    """Never."""
    return False


def version() -> None:
    """None: it is not here."""
