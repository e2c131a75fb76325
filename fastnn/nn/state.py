"""Reading and writing a module's state: state_dict, load_state_dict and their hooks."""
from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn.autograd import no_grad
from fastnn.core.tensor import Parameter, Size, from_array
from fastnn.nn.hooks import add_hook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from fastnn.nn.hooks import RemovableHandle

EXTRA = "_extra_state"


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """What load_state_dict found: keys the module has and the dict has not, and the reverse."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def _plain(value):
    """A tensor outside the graph from whatever a state_dict may hold: Tensor, array, torch tensor, number."""
    return from_array(value.detach() if hasattr(value, "detach") else value)


class StateMixin:
    """The part of Module that reads and writes its state."""

    _version: int
    _modules: dict[str, Any]

    def _start_state(self):
        self._state_dict_hooks, self._state_dict_pre_hooks = {}, {}
        self._load_state_dict_pre_hooks, self._load_state_dict_post_hooks = {}, {}

    # ---- writing -----------------------------------------------------------------------------------------
    def get_extra_state(self) -> Any:
        """Further state to save; define it together with `set_extra_state`."""
        raise RuntimeError("Reached a code path in Module.get_extra_state() that should never be called.")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        raise RuntimeError("Reached a code path in Module.set_extra_state() that should never be called.")

    def _has_extra(self, method):
        return getattr(type(self), method) is not getattr(StateMixin, method)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        """Put the module's own parameters and buffers, without its children's, into destination."""
        for registry, skip in ((self._parameters, ()), (self._buffers, self._non_persistent_buffers_set)):
            for name, value in registry.items():
                if value is not None and name not in skip:
                    destination[prefix + name] = value if keep_vars else value.detach()
        if self._has_extra("get_extra_state"):
            destination[prefix + EXTRA] = self.get_extra_state()

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "",
                   keep_vars: bool = False) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted path, in registration order.

        Parameters
        ----------
        destination : dict, optional
            Filled and returned instead of a new OrderedDict.
        prefix : str, default ""
            Put before every key.
        keep_vars : bool, default False
            Give the parameters themselves instead of detached tensors; both share the module's memory.
        """
        if args:
            destination = args[0]
            prefix = args[1] if len(args) > 1 else prefix
            keep_vars = args[2] if len(args) > 2 else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=destination, prefix=prefix + name + ".", keep_vars=keep_vars)
        for hook, strict in list(self._state_dict_hooks.values()):
            answer = hook(self, destination, prefix, metadata)
            if strict and answer is not None:
                raise RuntimeError("state_dict post-hook must return None")
            destination = destination if answer is None else answer
        return destination

    # ---- reading -----------------------------------------------------------------------------------------
    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        """Copy the module's own entries out of state_dict; what is wrong goes into the lists."""
        for hook in list(self._load_state_dict_pre_hooks.values()):
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = {name: value for name, value in (*self._parameters.items(), *self._buffers.items())
               if value is not None and name not in self._non_persistent_buffers_set}
        for name, value in own.items():
            key = prefix + name
            if key in state_dict:
                self._load_entry(name, value, key, state_dict[key], error_msgs,
                                 local_metadata.get("assign_to_params_buffers", False))
            elif strict:
                missing_keys.append(key)
        if self._has_extra("set_extra_state"):
            if prefix + EXTRA in state_dict:
                self.set_extra_state(state_dict[prefix + EXTRA])
            elif strict:
                missing_keys.append(prefix + EXTRA)
        elif strict and prefix + EXTRA in state_dict:
            unexpected_keys.append(prefix + EXTRA)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != prefix + EXTRA:
                    name, _, rest = key[len(prefix):].partition(".")
                    if name not in own if not rest else name not in self._modules:
                        unexpected_keys.append(key)

    def _load_entry(self, name, value, key, given, errors, assign):
        try:
            given = _plain(given)
        except (TypeError, ValueError):
            errors.append(f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                          f"checkpoint but received {type(given)}")
            return
        if value.dim() == 0 and given.shape == (1,):
            given = from_array(given.numpy()[0:1].reshape(()))
        if given.shape != value.shape:
            errors.append(f"size mismatch for {key}: copying a param with shape {Size(given.shape)} from checkpoint, the "
                          f"shape in current model is {Size(value.shape)}.")
        elif not assign:
            with no_grad():
                value._touch()
                np.copyto(value.detach().numpy(), given.numpy(), casting="unsafe")
        elif isinstance(value, Parameter):
            setattr(self, name, Parameter(given, requires_grad=value.requires_grad))
        else:
            setattr(self, name, given)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True,
                        assign: bool = False) -> IncompatibleKeys:
        """Copy parameters and buffers from a dict of tensors or arrays into this module and all below it.

        Parameters
        ----------
        state_dict : mapping
            Keys are dotted paths; values tensors or anything that converts to one.
        strict : bool, default True
            Raise when the keys do not match exactly.
        assign : bool, default False
            Take the tensors themselves instead of copying their values.

        Returns
        -------
        IncompatibleKeys
            Named tuple (missing_keys, unexpected_keys).

        Raises
        ------
        RuntimeError
            If a shape differs, or (strict) keys are missing or unexpected.
        """
        if not hasattr(state_dict, "keys"):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        entries: Any = OrderedDict(state_dict)
        if metadata is not None:
            entries._metadata = metadata
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        _load(self, entries, "", strict, assign, metadata, missing, unexpected, errors)
        if strict:
            for keys, what in ((unexpected, "Unexpected"), (missing, "Missing")):
                if keys:
                    errors.insert(0, f"{what} key(s) in state_dict: " + ", ".join(f'"{k}"' for k in keys) + ". ")
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        return IncompatibleKeys(missing, unexpected)

    # ---- hooks -------------------------------------------------------------------------------------------
    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before the state is collected."""
        return add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after it; it may change state_dict in place."""
        return add_hook(self._state_dict_hooks, (hook, True))

    def _register_state_dict_hook(self, hook):
        return add_hook(self._state_dict_hooks, (hook, False))

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)`` before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False):
        return add_hook(self._load_state_dict_pre_hooks, _WithModule(self, hook) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading; it may change the two lists in place."""
        return add_hook(self._load_state_dict_post_hooks, hook)


class _WithModule:
    """A hook that gets its module as first argument."""

    def __init__(self, module: Any, hook: Callable[..., Any]) -> None:
        self.module, self.hook = module, hook

    def __call__(self, *args):
        return self.hook(self.module, *args)


def _load(module, state_dict, prefix, strict, assign, metadata, missing, unexpected, errors):
    """Load a module, then its children, each seeing its part of the dict."""
    local = dict((metadata or {}).get(prefix[:-1], {}))
    if assign:
        local["assign_to_params_buffers"] = True
    module._load_from_state_dict(state_dict, prefix, local, True, missing, unexpected, errors)
    for name, child in module._modules.items():
        if child is not None:
            below = prefix + name + "."
            part = OrderedDict((k, v) for k, v in state_dict.items() if k.startswith(below))
            _load(child, part, below, strict, assign, metadata, missing, unexpected, errors)
    found = IncompatibleKeys(missing, unexpected)
    for hook in list(module._load_state_dict_post_hooks.values()):
        if hook(module, found) is not None:
            raise AssertionError("Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return "
                                 "new values, if incompatible_keys need to be modified, it should be done inplace.")
