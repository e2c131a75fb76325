"""Optimizer: parameter groups, state, hooks; what every optimizer shares."""
from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from copy import deepcopy
from itertools import chain, count
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np

from fastnn.core.grad_mode import enable_grad
from fastnn.core.tensor import Tensor, from_array
from fastnn.ops.update import SCALARS, clear_gradients, on_host, options_of, refresh, state_like, step

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from fastnn.core.types import Params

Loss = TypeVar("Loss", bound="Tensor | float")

HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks", "_optimizer_state_dict_pre_hooks",
         "_optimizer_state_dict_post_hooks", "_optimizer_load_state_dict_pre_hooks",
         "_optimizer_load_state_dict_post_hooks")


class Required:
    """Marks an option that every parameter group must name."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = Required()


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook away."""

    numbers = count()

    def __init__(self, hooks: Any, hook: Any, prepend: bool = False) -> None:
        self.hooks, self.id = hooks, next(self.numbers)
        hooks[self.id] = hook
        if prepend:
            hooks.move_to_end(self.id, last=False)

    def remove(self) -> None:
        self.hooks.pop(self.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def hooked(step):
    """Run the hooks of an optimizer around its `step` (once, also where a subclass calls its parent's step)."""

    @functools.wraps(step)
    def run(self, *args, **kwargs):
        self._opt_called = True
        if self._stepping or not (self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks):
            return step(self, *args, **kwargs)
        self._stepping = True
        try:
            for hook in list(self._optimizer_step_pre_hooks.values()):
                result = hook(self, (self, *args), kwargs)
                if result is not None:
                    if not (isinstance(result, tuple) and len(result) == 2):
                        raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {result}.")
                    (_, *args), kwargs = result
            loss = step(self, *args, **kwargs)
            for hook in list(self._optimizer_step_post_hooks.values()):
                hook(self, (self, *args), kwargs)
            return loss
        finally:
            self._stepping = False

    return run


class Optimizer:
    """Base of all optimizers.

    A subclass names its options in ``defaults`` and either implements ``step`` or, when its update is a kernel, names its
    ``_family`` and implements ``_init_state`` (and ``_kernel`` where options choose among kernels).

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) or of dict
        What to optimize; a dict is a parameter group with its own options beside ``params``.
    defaults : dict
        Options of groups that do not name them.

    Raises
    ------
    ValueError
        For no parameters, a parameter in two groups, or a tensor that is not a leaf.
    TypeError
        For a single tensor, a set, or something that is not a tensor.
    """

    _stepping = False
    _optimizer_step_pre_hooks: OrderedDict[int, Any]
    _optimizer_step_post_hooks: OrderedDict[int, Any]
    _optimizer_state_dict_pre_hooks: OrderedDict[int, Any]
    _optimizer_state_dict_post_hooks: OrderedDict[int, Any]
    _optimizer_load_state_dict_pre_hooks: OrderedDict[int, Any]
    _optimizer_load_state_dict_post_hooks: OrderedDict[int, Any]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = hooked(cls.step)

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                            + type(params).__name__)
        check_flags(defaults)
        self.defaults = defaults
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._restore()
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _restore(self):
        """What is not part of the optimizer's saved state."""
        for name in HOOKS:
            if name not in self.__dict__:
                setattr(self, name, OrderedDict())
        self._hyper_arrays = []     # per group; their addresses stay, so that a compiled step can read them
        self._first = {}            # SGD: per parameter 1 until its first step

    def __getstate__(self):
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._restore()

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for i, group in enumerate(self.param_groups):
            lines += [""] * (i > 0) + [f"Parameter Group {i}"]
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    # ---- the step --------------------------------------------------------------------------------------
    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], Loss]) -> Loss: ...
    def step(self, closure: Callable[[], Loss] | None = None) -> Loss | None:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients anew; its value is returned.
        """
        self._opt_called = True
        if self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks:
            return self._hooked_step() if closure is None else self._hooked_step(closure)
        return self._step(closure)

    def _step(self, closure=None):
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        step(self)
        return loss

    @hooked
    def _hooked_step(self, closure=None):
        return self._step(closure)

    _family: str | None = None      # of kernels, a key of HYPER in kernels/update.pyx

    def _kernel(self, group):
        """Name of the update kernel for a group's options."""
        return self._family

    def _init_state(self, p, group):
        """The state of a parameter before its first step, under the names of the kernel's slots."""
        raise NotImplementedError

    def _refresh(self):
        """Bring the groups' options, which the user may have changed, where the kernels of a compiled step read them."""
        if self._family:
            refresh(self._family, self.param_groups, self._hyper_arrays)

    def _options(self):
        """Names of the options that the kernels read from memory, so that a compiled step follows them."""
        return options_of(self._family)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or set them to zero."""
        for group in self.param_groups:
            clear_gradients(group["params"], set_to_none)

    # ---- groups ----------------------------------------------------------------------------------------
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with ``params`` and its own options."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        take_params(param_group)
        for p in param_group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is " + type(p).__name__)
            if not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        params = param_group["params"]
        if len(params) != len(set(params)):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in future, this will cause an "
                          "error; see github.com/pytorch/pytorch/issues/40967 for more information", stacklevel=3)
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                raise ValueError("all optimizer param groups should be with/without names. cannot add param group "
                                 f"{'with' if 'param_names' in param_group else 'without'} names to the optimizer")
            if not set(group["params"]).isdisjoint(params):
                raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # ---- saving ----------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """``{'state': {index: {...}}, 'param_groups': [...]}``, as torch writes it; the tensors are the live ones."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        index: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(p, len(index))
            groups.append({k: v for k, v in group.items() if k != "params"} | {"params": [index[p] for p in group["params"]]})
        state = {index[k] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, here or in torch.

        State arrays are copied into the parameter's dtype and memory order.

        Raises
        ------
        ValueError
            If the groups or the shapes differ.
        """
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(self.param_groups, saved)):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of optimizer's group")
        parameter = dict(zip(chain.from_iterable(g["params"] for g in saved),
                             chain.from_iterable(g["params"] for g in self.param_groups)))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for k, v in state_dict["state"].items():
            state[parameter.get(k, k)] = self._adopt(parameter[k], v) if k in parameter else v
        for group, new in zip(self.param_groups, saved):
            new["params"] = group["params"]
            if "param_names" in group:
                new.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _adopt(self, p, value, key=None):
        """A loaded value as this optimizer keeps it for parameter p."""
        if value is None or isinstance(value, str):
            return value
        if key in SCALARS:
            return from_array(np.array(as_array(value).item() if is_array(value) else value, np.float32))
        if is_array(value):
            array = as_array(value)
            if array.shape == p.shape and array.dtype.kind == "f":
                return state_like(p, array)
            return from_array(array.astype(p.dtype if array.dtype.kind == "f" else array.dtype))
        if isinstance(value, dict):
            return {k: self._adopt(p, v, k) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._adopt(p, v) for v in value)
        return value

    # ---- hooks -----------------------------------------------------------------------------------------
    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new (args, kwargs)."""
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before `state_dict`."""
        return RemovableHandle(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after `state_dict`; what it returns is returned instead."""
        return RemovableHandle(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; what it returns is loaded instead."""
        return RemovableHandle(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return RemovableHandle(self._optimizer_load_state_dict_post_hooks, hook, prepend)


class HostOptimizer(Optimizer):
    """Base of optimizers whose update is NumPy's, not a kernel's: a subclass implements ``_update(p, grad, state, group)``.

    A compiled step cannot replay them and says so.
    """

    def _step(self, closure=None):
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    for key, value in self._init_state(p, group).items() if not state else ():
                        state[key] = value
                    on_host(f"optim.{type(self).__name__}", self._update, p.array, p.grad.array, state, group)
                    p.detach()._touch()
        return loss


def take_params(group):
    """Make ``group['params']`` a list of tensors, and their names a list beside it where they come with names."""
    params = group["params"]
    if isinstance(params, Tensor):
        params = [params]
    elif isinstance(params, (set, frozenset)):
        raise TypeError("optimizer parameters need to be organized in ordered collections, but the ordering of tensors in "
                        "sets will change between runs. Please use a list instead.")
    params = list(params)
    names = [p[0] for p in params if isinstance(p, tuple)]
    if names and len(names) != len(params):
        raise ValueError("all optimizer params should be with/without names. Some param names are missing")
    if names:
        group["param_names"] = names
    group["params"] = [p[1] for p in params] if names else params


def is_array(x):
    return isinstance(x, (Tensor, np.ndarray, np.generic)) or hasattr(x, "__dlpack__")


def as_array(x):
    return x.array if isinstance(x, Tensor) else np.asarray(x) if isinstance(x, np.generic) else from_array(x).array


# ---- checks that the constructors share --------------------------------------------------------------------
def check_flags(options):
    """`foreach`, `fused` and `capturable` change nothing here; `differentiable` would."""
    if options.get("differentiable"):
        raise NotImplementedError("optimizer: differentiable=True (a gradient through the step) is not supported")
    if options.get("fused") and options.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_lr(lr):
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not float(lr) >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_not_negative(**options):
    words = {"eps": "epsilon"}
    for name, value in options.items():
        if not float(value) >= 0.0:
            raise ValueError(f"Invalid {words.get(name, name)} value: {value}")


def check_betas(betas):
    """The two averaging factors, as floats."""
    for i, beta in enumerate(betas):
        if not 0.0 <= float(beta) < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
    if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
        raise ValueError("betas must be either both floats or both Tensors")
    return tuple(float(b) if isinstance(b, Tensor) else b for b in betas)


def step_counter():
    """A new 0-d float32 counter."""
    return from_array(np.zeros((), np.float32))
