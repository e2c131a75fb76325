"""Spectral normalization by a hook, torch's older form; `fastnn.nn.utils.parametrizations.spectral_norm` is the newer one."""
from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import Parameter
from fastnn.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from fastnn.nn.hooks import hooks_of, take_off
from fastnn.nn.module import Module
from fastnn.ops.distance import normalize
from fastnn.ops.linalg import dot, mv

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor

M = TypeVar("M", bound=Module)

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]


def output_dim(module: Module, dim: int | None) -> int:
    """The axis of a module's weight that its outputs belong to, where none is given."""
    if dim is None:
        return 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    return dim


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """A weight with one row for each index of an axis."""
    if dim != 0:
        weight = weight.permute(dim, *(d for d in range(weight.ndim) if d != dim))
    return weight.flatten(1)


def random_direction(matrix: Tensor, axis: int, eps: float) -> Tensor:
    """A vector of length one, as long as the matrix is along an axis."""
    return normalize(matrix.new_empty(matrix.shape[axis]).normal_(0, 1), dim=0, eps=eps)


def refine(direction: Tensor, matrix: Tensor, other: Tensor, eps: float) -> None:
    """Half a step of the power method: the direction that the matrix gives to the other one."""
    direction.copy_(normalize(mv(matrix, other), dim=0, eps=eps))


def check_iterations(n: int) -> int:
    """n, once it was found to be positive."""
    if n <= 0:
        raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n}")
    return n


class SpectralNorm:
    """The hook of `spectral_norm`: before each call of the module it computes the weight from ``..._orig``, ``..._u``, ``..._v``.

    Parameters
    ----------
    name : str, default "weight"
        Of the weight.
    n_power_iterations : int, default 1
        Steps of the power method before each call in training.
    dim : int, default 0
        The axis of the weight that the outputs belong to.
    eps : float, default 1e-12
        The least length that a vector is divided by.
    """

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        self.name = name
        self.dim = dim
        self.n_power_iterations = check_iterations(n_power_iterations)
        self.eps = eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight divided by its largest singular value."""
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    refine(v, matrix.t(), u, self.eps)
                    refine(u, matrix, v, self.eps)
            u, v = u.clone(), v.clone()     # backward needs them, and the next call changes them
        return weight / dot(u, mv(matrix, v))

    @staticmethod
    def apply(module: Module, name: str, n_power_iterations: int, dim: int, eps: float) -> SpectralNorm:
        """Put the hook on a module."""
        if hooks_of(module._forward_pre_hooks, SpectralNorm, name=name):
            raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        with no_grad():
            matrix = as_matrix(weight, dim)
            u, v = random_direction(matrix, 0, eps), random_direction(matrix, 1, eps)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        setattr(module, name, weight.data)
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again; the hook itself stays."""
        with no_grad():
            weight = self.compute_weight(module, False)
        for end in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + end)
        module.register_parameter(self.name, Parameter(weight))

    def __call__(self, module: Module, inputs: object) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> M:
    r"""Divide a weight by its largest singular value, ``W / sigma(W)``, before each call of the module.

    sigma is ``u^T W v``, whose vectors are refined by the power method: v <- W^T u / |W^T u|, u <- W v / |W v|.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
        A weight of more than two axes counts as a matrix with one row per index of `dim`.
    n_power_iterations : int, default 1
        Steps of the power method before each call in training.
    eps : float, default 1e-12
        The least length that a vector is divided by.
    dim : int, optional
        The axis that the outputs belong to: 0, and 1 for transposed convolutions.

    Returns
    -------
    Module
        `module` itself, with the parameter ``weight_orig`` and buffers ``weight_u`` and ``weight_v``.

    Notes
    -----
    A compiled step cannot replay hooks; it captures `parametrizations.spectral_norm`.

    References
    ----------
    T. Miyato et al.: Spectral normalization for generative adversarial networks, ICLR 2018.

    Examples
    --------
    >>> from fastnn import nn
    >>> list(nn.utils.spectral_norm(nn.Linear(2, 3)).state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    SpectralNorm.apply(module, name, n_power_iterations, output_dim(module, dim), eps)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Make a weight that `spectral_norm` replaced an ordinary parameter again, with its present values.

    Raises
    ------
    ValueError
        If there is no such hook.
    """
    return take_off(module, SpectralNorm, "spectral_norm", name)
