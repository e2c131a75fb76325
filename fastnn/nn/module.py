"""Module: the base class of every layer and model."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Parameter, Tensor
from fastnn.nn import state
from fastnn.nn.base import ModuleBase, type_name
from fastnn.nn.hooks import ForwardHook, add_hook, call_with_hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

    from numpy.typing import DTypeLike

    from fastnn.core.types import Device
    from fastnn.nn.hooks import RemovableHandle

__all__ = ["Module"]

FLOATS = {np.dtype(np.float32): np.float32, np.dtype(np.float64): np.float64}


class Module(state.StateMixin, ModuleBase):
    """Base class of layers and models: subclass it, make children in ``__init__``, compute in ``forward``.

    Parameters, buffers and children assigned as attributes are found by ``parameters()``, ``state_dict()``, ``to()`` and
    the like.

    Examples
    --------
    >>> from fastnn import nn
    >>> class Residual(nn.Module):
    ...     def __init__(self, width):
    ...         super().__init__()
    ...         self.inner = nn.Linear(width, width)
    ...     def forward(self, x):
    ...         return x + self.inner(x)
    >>> Residual(3)
    Residual(
      (inner): Linear(in_features=3, out_features=3, bias=True)
    )
    """

    _version = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            what = f"got an unexpected keyword argument '{next(iter(kwargs))}'" if kwargs else (
                f"takes 1 positional argument but {len(args) + 1} were given")
            raise TypeError(f"{type(self).__name__}.__init__() {what}")
        self._start()
        self._start_state()
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def _call_with_hooks(self, args, kwargs):
        return call_with_hooks(self, args, kwargs)

    # ---- registration ------------------------------------------------------------------------------------
    def _check_name(self, name, kind, registry, error_name):
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type_name(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."{error_name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in registry and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state but is not trained.

        Parameters
        ----------
        name : str
        tensor : Tensor or None
        persistent : bool, default True
            Is it part of ``state_dict``?
        """
        if self._buffers is None:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name(name, "buffer", self._buffers, "")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{type_name(tensor)}' object to buffer '{name}' (torch Tensor or None required)")
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a Parameter (or None: the name then stays reserved and is no part of the state)."""
        if self._parameters is None:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        if name in self.__dict__ and name not in self._parameters and isinstance(param, Parameter):
            self.__dict__.pop(name)     # an assignment gives the name a new meaning
        self._check_name(name, "parameter", self._parameters, "")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"cannot assign '{type_name(param)}' object to parameter '{name}' "
                            "(torch.nn.Parameter or None required)")
        if param is not None and not param.is_leaf:
            raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                             f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                             "forward() method.")
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under a name."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{type_name(module)} is not a Module subclass")
        self._check_name(name, "module", self._modules, f", got: {name}")
        self._modules[name] = module

    register_module = add_module

    # ---- looking up by path --------------------------------------------------------------------------------
    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path, e.g. ``"net_b.conv"``; "" is the module itself."""
        module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Replace (strict) or set the module at a dotted path."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def _get_entry(self, target, registry, what):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in getattr(module, registry):
            raise AttributeError(f"`{name}` is not {what}")
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        return self._get_entry(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        return self._get_entry(target, "_buffers", "a buffer")

    # ---- walking -------------------------------------------------------------------------------------------
    def named_modules(self, memo: set[Module] | None = None, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """(path, module) of the module itself and all below it, parents first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, prefix + ("." if prefix else "") + name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """The module itself and all below it; each once, unless not `remove_duplicate`."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children, each module once."""
        memo = set()
        for name, child in self._modules.items():
            if child is not None and child not in memo:
                memo.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct children, each once."""
        for _, child in self.named_children():
            yield child

    def _named_members(self, get_members, prefix="", recurse=True, remove_duplicate=True):
        memo = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in get_members(module):
                if value is None or id(value) in memo:
                    continue
                if remove_duplicate:
                    memo.add(id(value))
                yield path + ("." if path else "") + name, value

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) of the module and all below it; a shared parameter once."""
        yield from self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of the module and all below it, each once: what an optimizer takes."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) of the module and all below it."""
        yield from self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of the module and all below it, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # ---- mode, type, gradients -------------------------------------------------------------------------------
    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call ``fn(module)`` on every module, children first; returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode (dropout, batch normalisation) here and below; returns self."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Leave training mode; returns self."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Should gradients be computed for the parameters?  Returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                if set_to_none:
                    parameter.grad = None
                else:
                    parameter.grad.detach_()
                    parameter.grad.zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the data of every parameter, gradient and buffer by fn of it; the Parameter objects stay."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            grad = parameter.grad
            parameter.grad = None
            parameter.data = fn(parameter.data)
            if grad is not None:
                parameter.grad = fn(grad.detach()).requires_grad_(grad.requires_grad)
        for name, buffer in list(self._buffers.items()):
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert floating-point parameters and buffers in place: ``to(dtype)``, ``to(device, dtype)``, ``to(tensor)``.

        The only device is the CPU.
        """
        dtype = _parse_to(*args, **kwargs)
        if dtype is None:
            return self
        if dtype not in FLOATS:
            raise TypeError("nn.Module.to only accepts floating point or complex dtypes, but got desired "
                            f"dtype={dtype}")
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self) -> Self:
        """Convert floating-point parameters and buffers to float32; returns self."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Convert floating-point parameters and buffers to float64; returns self."""
        return self.to(np.float64)

    def type(self, dst_type: DTypeLike) -> Self:
        """Convert all parameters and buffers to a dtype; returns self."""
        return self._apply(lambda t: t.to(dst_type))

    def cpu(self) -> Self:
        """Nothing to move; returns self."""
        return self

    def half(self) -> Self:
        """Not supported: parameters are float32 or float64."""
        raise NotImplementedError("half: parameters are float32 or float64")

    bfloat16 = half

    def cuda(self, device: Device = None) -> Self:
        """Not supported: the only device is the CPU."""
        raise RuntimeError("cuda: fastnn computes on the CPU only")

    # ---- hooks -----------------------------------------------------------------------------------------------
    def register_forward_pre_hook(self, hook: Callable[..., Any], *, prepend: bool = False,
                                  with_kwargs: bool = False) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; what it returns replaces args.  Returns a removable handle."""
        return add_hook(self._forward_pre_hooks, ForwardHook(hook, True) if with_kwargs else hook, prepend)

    def register_forward_hook(self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; what it returns replaces the output."""
        wrapped = ForwardHook(hook, with_kwargs, always_call) if with_kwargs or always_call else hook
        return add_hook(self._forward_hooks, wrapped, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` in backward; what it returns replaces grad_input."""
        return add_hook(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the module's backward; what it returns replaces grad_output."""
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """As `register_full_backward_hook` (torch's older form is not kept)."""
        return self.register_full_backward_hook(hook)

    # ---- text ------------------------------------------------------------------------------------------------
    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the brackets of the module's text."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        body = lines + children
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({''.join(lines)})"
        return f"{self._get_name()}(\n  " + "\n  ".join(body) + "\n)"

    def __dir__(self) -> list[str]:
        return sorted({name for name in (*object.__dir__(self), *self._parameters, *self._buffers, *self._modules)
                       if not name[0].isdigit()})


def _parse_to(*args, **kwargs):
    """The dtype named by the arguments of `to`, or None."""
    dtype = kwargs.pop("dtype", None)
    device = kwargs.pop("device", None)
    for name in ("non_blocking", "copy", "memory_format", "tensor"):
        value = kwargs.pop(name, None)
        args = (*args, value) if name == "tensor" and value is not None else args
    if kwargs:
        raise TypeError(f"to() received an invalid keyword argument '{next(iter(kwargs))}'")
    for a in args:
        if isinstance(a, Tensor):
            dtype = a.dtype
        elif isinstance(a, str) and a.split(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta") or hasattr(a, "type"):
            device = a if not hasattr(a, "kind") else device
            dtype = np.dtype(a) if hasattr(a, "kind") else dtype
        elif a is not None and not isinstance(a, bool):
            dtype = a
    if device is not None and str(getattr(device, "type", device)).split(":")[0] != "cpu":
        raise RuntimeError(f"to: device {device} is not available, fastnn computes on the CPU only")
    return None if dtype is None else np.dtype(dtype)
