"""What sparse maps along an axis (axis_map.pyx) take for each target: places and weights, and those of the gradient."""
from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.storage import pooled

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import ArrayLike

    from fastnn.core.types import Array

    _Rows: TypeAlias = tuple[Array, Array, Array]        # first tap of every target, places and weights of the taps
    _Map: TypeAlias = tuple[_Rows, _Rows]                  # of the values, of their gradient

KEPT = 64           # maps of each kind that are kept,
LONG = 16384        # of axes up to this: 64 maps of two taps take at most 60 MB


def kept(make: Callable[..., _Map]) -> Callable[..., _Map]:
    """`make(source, target, *how)` that remembers its maps: making one takes longer than many a layer."""
    find = lru_cache(KEPT)(make)

    def map_of(source, target, *how):
        return (find if source + target <= LONG else make)(source, target, *how)
    return map_of


def map_of_taps(sources: int, place: ArrayLike, weight: ArrayLike) -> _Map:
    """A map from a fixed number of taps per target: place and weight of shape (targets, taps); place -1 is no tap."""
    place, weight = np.asarray(place, np.int64), np.asarray(weight, np.float64)
    taken = place >= 0
    first = np.zeros(len(place) + 1, np.int64)
    np.cumsum(taken.sum(1), out=first[1:])
    weight = np.broadcast_to(weight, place.shape)[taken]
    place = place[taken]
    targets = np.repeat(np.arange(len(first) - 1), np.diff(first))
    order = np.argsort(place, kind="stable")        # taps of the transposed map stay in the order of the targets
    back = np.zeros(sources + 1, np.int64)
    np.cumsum(np.bincount(place, minlength=sources), out=back[1:])
    return (pooled(first), pooled(place), pooled(weight)), (pooled(back), pooled(targets[order]), pooled(weight[order]))
