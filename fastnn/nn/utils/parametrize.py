"""Parameters that are computed from others each time they are read; see also `fastnn.nn.utils.parametrizations`."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from typing import TYPE_CHECKING, TypeVar

from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import Parameter, Tensor
from fastnn.nn.container import ModuleDict, ModuleList
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

M = TypeVar("M", bound=Module)

__all__ = ["ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
           "transfer_parametrizations_and_params", "type_before_parametrizations"]

# What `cached` has computed in this thread, by the list that computes it; None outside of it.
_cache: ContextVar[dict[ParametrizationList, Tensor] | None] = ContextVar("_cache", default=None)


@contextmanager
def cached() -> Iterator[None]:
    """Compute every parametrized tensor once inside a `with` block, however often it is read.

    What is computed is forgotten at the end of the outermost block.  A compiled module or step computes its own: it does not see
    what was computed before it was called.

    Examples
    --------
    >>> from fastnn import nn
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))
    >>> with nn.utils.parametrize.cached():
    ...     layer.weight is layer.weight
    True
    """
    with _cached_in({} if _cache.get() is None else _cache.get()):
        yield


def uncached() -> Any:
    """A `with` block that sees nothing of the `cached` blocks around it: a plan may hold no tensor made before it."""
    return _cached_in(None)


@contextmanager
def _cached_in(values):
    token = _cache.set(values)
    try:
        yield
    finally:
        _cache.reset(token)


def _assign(target, source):
    """The tensor keeps its identity, which optimizers know it by, and takes the memory of another."""
    target.data = source.detach()


def _register(module, name, tensor):
    (module.register_parameter if isinstance(tensor, Parameter) else module.register_buffer)(name, tensor)


def _check_result(what, found, dtype, shape, flag):
    """A parametrization goes from the tensors of one dtype and shape to themselves."""
    if not isinstance(found, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(found).__name__}.")
    for name, before, after in (("dtype", dtype, found.dtype), ("shape", shape, found.shape)):
        if before != after:
            raise ValueError(f"Registering a parametrization may not change the {name} of the tensor, unless {flag} is enabled.\n"
                             + what.format(name=name, before=before, after=after))


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor and what it is computed from; `register_parametrization` makes it.

    Parameters
    ----------
    modules : sequence of Module
        The parametrizations, in the order in which they are applied.
    original : Tensor or Parameter
        What is parametrized.  It becomes the attribute `original`, or, where `right_inverse` of the first parametrization gives
        several tensors, these become `original0`, `original1`, ...
    unsafe : bool, default False
        May dtype and shape change?  Nothing is checked then.
    """

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        dtype, shape = original.dtype, original.shape
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:     # as without one: the identity
                        pass
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                             f"Got {type(new).__name__}")
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if isinstance(new, Tensor) else len(new)
        if isinstance(new, Tensor):
            if original.dtype != new.dtype:
                raise ValueError("When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                                 f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}")
            _assign(original, new)
            _register(self, "original", original)
        else:
            self._register_several(original, new)
        if not unsafe:
            _check_result("unparametrized {name}: {before}\nparametrized {name}: {after}", self(), dtype, shape, "`unsafe` flag")

    def _register_several(self, original, tensors):
        for i, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                                 f"Got element {i} of the sequence with type {type(tensor).__name__}.")
            if isinstance(original, Parameter):
                tensor = Parameter(tensor, original.requires_grad)
            tensor.requires_grad_(original.requires_grad)
            _register(self, f"original{i}", tensor)

    def _originals(self):
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    @no_grad()
    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor becomes `value`.

        Raises
        ------
        RuntimeError
            If a parametrization has no `right_inverse`.
        ValueError
            If a `right_inverse` gives something of another kind, number or dtype than at first.
        """
        new: Any = value
        for module in reversed(list(self)):
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
            new = module.right_inverse(new)
        if self.is_tensor:
            if not isinstance(new, Tensor):
                raise ValueError(f"`right_inverse` should return a tensor. Got {type(new).__name__}")
            if new.dtype != self.original.dtype:
                raise ValueError(f"The tensor returned by `right_inverse` has dtype {new.dtype} "
                                 f"while `original` has dtype {self.original.dtype}")
            _assign(self.original, new)
            return
        if not isinstance(new, Sequence):
            raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(new).__name__}.")
        if len(new) != self.ntensors:
            raise ValueError(f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. "
                             f"Got a sequence of length {len(new)}.")
        for i, (original, tensor) in enumerate(zip(self._originals(), new)):
            if not isinstance(tensor, Tensor):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got element {i} of type {type(tensor).__name__}.")
            if original.dtype != tensor.dtype:
                raise ValueError(f"Tensor {i} returned by `right_inverse` has dtype {tensor.dtype} "
                                 f"while `original{i}` has dtype {original.dtype}")
            _assign(original, tensor)

    def forward(self) -> Tensor:
        first, *others = self
        x: Tensor = first(*self._originals())
        for module in others:
            x = module(x)
        return x


def _parametrized_class(cls):
    """A class of its own for one module, which can carry the properties of that module alone."""
    def refuse(self):
        raise RuntimeError("Serialization of parametrized modules is only supported through state_dict(). See:\n"
                           "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
                           "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training")

    def copied(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        other = memo[id(self)] = cls.__new__(_parametrized_class(cls))
        other.__setstate__(deepcopy(cls.__getstate__(self), memo))
        for name in other.parametrizations:
            _inject_property(type(other), name)
        return other
    own = {"__getstate__": refuse}
    if not hasattr(cls, "__deepcopy__"):
        own["__deepcopy__"] = copied
    return type(f"Parametrized{cls.__name__}", (cls,), own)


def _inject_property(cls, name):
    def get(self):
        compute, values = self.parametrizations[name], _cache.get()
        if values is None:
            return compute()
        if compute not in values:
            values[compute] = compute()
        return values[compute]

    def put(self, value):
        self.parametrizations[name].right_inverse(value)
    setattr(cls, name, property(get, put))


def register_parametrization(module: M, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> M:
    """Replace a parameter or buffer by a function of it.

    ``module.weight`` then is ``parametrization(module.parametrizations.weight.original)``, computed whenever it is read, and
    gradients flow into the original.  Several parametrizations of one tensor are applied one after the other.

    Parameters
    ----------
    module : Module
        Its class becomes a subclass of its own, called ``Parametrized...``.
    tensor_name : str
    parametrization : Module
        Its `forward` takes the original and gives the tensor.  Where it has a ``right_inverse(tensor)``, that gives the original,
        at first and when the tensor is assigned to; it may give several tensors, which `forward` then takes.
    unsafe : bool, default False
        May dtype and shape change?  Nothing is checked then.

    Returns
    -------
    Module
        `module` itself.

    Raises
    ------
    ValueError
        If there is no such tensor, or dtype or shape change.

    Notes
    -----
    Parametrized modules can be copied by `copy.deepcopy` but not be pickled: save their `state_dict`.

    Examples
    --------
    >>> from fastnn import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all()), list(layer.state_dict())
    (True, ['bias', 'parametrizations.weight.original'])
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_further(module, tensor_name, parametrization)
        parametrizations: Any = module.parametrizations[tensor_name]
        parametrizations.append(parametrization)
        parametrizations.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        parametrizations = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            module.__class__ = _parametrized_class(type(module))
            module.add_module("parametrizations", ModuleDict())
        _inject_property(type(module), tensor_name)
        module.parametrizations[tensor_name] = parametrizations
    else:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'")
    return module


def _check_further(module, name, parametrization):
    """May this one come after those that the tensor has?"""
    before = getattr(module, name)
    after = parametrization(before)
    _check_result(f"module.{name}.{{name}}: {{before}}\nparametrization(module.{name}).{{name}}: {{after}}", after, before.dtype,
                  before.shape, "the `unsafe` flag")
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(after)
    except NotImplementedError:
        return
    if not isinstance(back, Tensor):
        raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}")
    for what in ("dtype", "shape"):
        if getattr(back, what) != getattr(before, what):
            raise ValueError(f"The tensor returned by parametrization.right_inverse must have the same {what} as module.{name}, unless "
                             f"the `unsafe` flag is enabled.\nmodule.{name}.{what}: {getattr(before, what)}\n"
                             f"returned {what}: {getattr(back, what)}")


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Has the module parametrizations, or that tensor of it?"""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module: M, tensor_name: str, leave_parametrized: bool = True) -> M:
    """Make a parametrized tensor an ordinary parameter or buffer again.

    Parameters
    ----------
    module : Module
    tensor_name : str
    leave_parametrized : bool, default True
        Keep the computed values; otherwise the tensor becomes the original again.

    Returns
    -------
    Module
        `module` itself, of its former class once nothing of it is parametrized.

    Raises
    ------
    ValueError
        If the tensor is not parametrized, or the original of a tensor made of several is wanted.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    parametrizations: Any = module.parametrizations[tensor_name]
    if parametrizations.is_tensor:
        original = parametrizations.original
        if leave_parametrized:
            with no_grad():
                _assign(original, getattr(module, tensor_name))
    elif leave_parametrized:
        tensor = getattr(module, tensor_name)       # it requires a gradient if one of its originals does
        original = Parameter(tensor) if tensor.requires_grad else tensor
    else:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
                         "sequence of tensors.")
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had before parametrizations were registered."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Module, to_module: M, tensor_name: str | None = None) -> M:
    """Give a module the parametrizations of another and the parameters they are computed from; both share these then.

    Parameters
    ----------
    from_module, to_module : Module
    tensor_name : str, optional
        By default all that are parametrized; what `to_module` does not have is made.

    Returns
    -------
    Module
        `to_module` itself.
    """
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        source = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.get_submodule(f"parametrizations.{name}")
        for original in (["original"] if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]):
            setattr(target, original, getattr(source, original))
    return to_module
