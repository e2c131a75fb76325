"""Layers that learn a size from their first input."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.nn.module import Module

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor

__all__ = ["LazyLayer"]


class LazyLayer(Module):
    """What such layers share; the first input, or a state_dict, makes one of them a `_plain` layer.

    A subclass comes before its plain class among the bases and says how to size itself by a number of features.
    """

    _plain: type[Module]

    def _wait(self):
        self.register_forward_pre_hook(_materialize)
        self._register_load_state_dict_pre_hook(_take_shape, with_module=True)

    def _features(self, input: Tensor) -> int:
        """The number of features of a first input."""
        raise NotImplementedError

    def _stored_features(self, state_dict, prefix):
        """The same of the layer that a state_dict was taken from, None if that was still waiting too."""
        raise NotImplementedError

    def _resize(self, features):
        """Give the parameters their shapes; their values come later."""
        raise NotImplementedError


def _become_plain(layer, features):
    layer._resize(features)
    for hooks, hook in ((layer._forward_pre_hooks, _materialize), (layer._load_state_dict_pre_hooks, _take_shape)):
        for key in [k for k, h in hooks.items() if getattr(h, "hook", h) is hook]:
            del hooks[key]
    layer.__class__ = layer._plain


def _materialize(layer, args):
    _become_plain(layer, layer._features(args[0]))
    layer.reset_parameters()


def _take_shape(layer, state_dict, prefix, *rest):
    features = layer._stored_features(state_dict, prefix)
    if features is not None:
        _become_plain(layer, features)
