"""The shape of a tensor."""
from __future__ import annotations


class Size(tuple):
    """The shape of a tensor: a tuple that prints and counts as torch's."""

    def numel(self) -> int:
        n = 1
        for d in self:
            n *= d
        return n

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"
