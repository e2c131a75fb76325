"""Switches between algorithms that differ in rounding, and those of libraries that are not here."""
from __future__ import annotations

from types import SimpleNamespace

from fastnn.backends import cudnn as cudnn

#: Winograd's algorithm for 3x3 convolutions with stride 1: faster; its error is a few times that of the direct sum.
winograd = True


class _Absent(SimpleNamespace):
    """A library that is not here: its switches can be set and change nothing."""

    def is_available(self) -> bool:
        """Never."""
        return False

    is_built = is_available

    def version(self) -> None:
        """None: it is not here."""


cuda = _Absent(matmul=SimpleNamespace(allow_tf32=False))
mps = _Absent()
mkldnn = _Absent(enabled=False)
