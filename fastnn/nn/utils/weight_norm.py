"""Weight normalization by a hook, torch's older form; `fastnn.nn.utils.parametrizations.weight_norm` is the newer one."""
from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeVar

from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import Parameter
from fastnn.nn.hooks import hooks_of, take_off
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor

M = TypeVar("M", bound=Module)

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


def norm_except_dim(v: Tensor, dim: int) -> Tensor:
    """The 2-norms of the slices along `dim`, of the shape that multiplies v; of all of it where dim is -1."""
    squares = v * v
    if dim == -1:
        return squares.sum().sqrt()
    axes = [d for d in range(v.ndim) if d != dim % v.ndim]
    return (squares.sum(axes, True) if axes else squares).sqrt()


def scaled(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """v, its slices along `dim` scaled to the norms g."""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The hook of `weight_norm`: before each call of the module it computes the weight from ``..._g`` and ``..._v``.

    Parameters
    ----------
    name : str
        Of the weight.
    dim : int or None
        Of the slices that have a norm each; all of the weight has one where it is None (or -1).
    """

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight."""
        return scaled(getattr(module, self.name + "_v"), getattr(module, self.name + "_g"), self.dim)

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Put the hook on a module."""
        warnings.warn("`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
                      FutureWarning, stacklevel=3)
        if hooks_of(module._forward_pre_hooks, WeightNorm, name=name):
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        del module._parameters[name]
        with no_grad():
            norms = norm_except_dim(weight, hook.dim)
        module.register_parameter(name + "_g", Parameter(norms))
        module.register_parameter(name + "_v", Parameter(weight.data))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again; the hook itself stays."""
        with no_grad():
            weight = self.compute_weight(module)
        for name in (self.name, self.name + "_g", self.name + "_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight))

    def __call__(self, module: Module, inputs: object) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    r"""Replace a weight by a length and a direction, ``w = g v / |v|``, computed before each call of the module.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
    dim : int or None, default 0
        The axis along which each slice has a length of its own; None: all of the weight has one.

    Returns
    -------
    Module
        `module` itself, with parameters ``weight_g`` and ``weight_v``.

    Warns
    -----
    FutureWarning
        As torch: `parametrizations.weight_norm` takes its place, and a compiled step cannot replay hooks.

    References
    ----------
    T. Salimans, D. Kingma: Weight normalization, NeurIPS 2016.
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Make a weight that `weight_norm` replaced an ordinary parameter again.

    Raises
    ------
    ValueError
        If there is no such hook.
    """
    return take_off(module, WeightNorm, "weight_norm", name)
