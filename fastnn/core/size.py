"""The shape of a tensor."""
from __future__ import annotations

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from typing import Any, SupportsIndex

_get = tuple.__getitem__


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple that prints and counts as torch's; so do its slices, sums and multiples.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.ones(2, 3, 4).shape[1:].numel()
    12
    """

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, index: slice, /) -> Size: ...
    def __getitem__(self, index: Any, /) -> Any:
        found = _get(self, index)
        return Size(found) if type(found) is tuple else found

    def __add__(self, other: tuple[Any, ...], /) -> Size:
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: tuple[int, ...], /) -> Size:
        return Size((*other, *self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, count: SupportsIndex, /) -> Size:
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def numel(self) -> int:
        n = 1
        for d in self:
            n *= d
        return n

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"
