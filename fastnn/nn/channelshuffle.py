"""A layer that mixes the channels of groups."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.nn import functional as F
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """Deal the channels of `groups` groups out in turn, so that the next grouped convolution sees all of them."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
