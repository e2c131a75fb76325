"""Parametrizations of weights: a length and a direction, a largest singular value of one, orthogonal matrices."""
from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import Tensor, from_array
from fastnn.nn.module import Module
from fastnn.nn.utils.parametrize import register_parametrization
from fastnn.nn.utils.spectral_norm import as_matrix, check_iterations, output_dim, random_direction, refine
from fastnn.nn.utils.weight_norm import norm_except_dim, scaled
from fastnn.ops.creation import eye
from fastnn.ops.distance import normalize
from fastnn.ops.factorization import qr, solve
from fastnn.ops.joining import cat
from fastnn.ops.linalg import dot, mv
from fastnn.ops.linear import matmul
from fastnn.ops.matrix_functions import geqrf, householder_product, matrix_exp
from fastnn.ops.random import randn

if TYPE_CHECKING:
    from typing import Any

M = TypeVar("M", bound=Module)

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _tensor_of(module, name):
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# ---- a length and a direction ---------------------------------------------------------------------------------------------
class _WeightNorm(Module):
    """g v / |v|."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return scaled(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


class _OldNames:
    """Lets a module load what the older `fastnn.nn.utils.weight_norm` calls its parameters."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, state_dict: dict[str, Any], prefix: str, *others: object) -> None:
        old = [f"{prefix}{self.name}_g", f"{prefix}{self.name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{self.name}.original{i}"] = state_dict.pop(key)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    r"""Replace a weight by a length and a direction, ``w = g v / |v|``.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
    dim : int or None, default 0
        The axis along which each slice has a length of its own; None: all of the weight has one.

    Returns
    -------
    Module
        `module` itself; g is ``parametrizations.weight.original0`` and v ``parametrizations.weight.original1``.

    References
    ----------
    T. Salimans, D. Kingma: Weight normalization, NeurIPS 2016.

    Examples
    --------
    >>> from fastnn import nn
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(20, 40))
    >>> layer
    ParametrizedLinear(
      in_features=20, out_features=40, bias=True
      (parametrizations): ModuleDict(
        (weight): ParametrizationList(
          (0): _WeightNorm()
        )
      )
    )
    >>> layer.parametrizations.weight.original0.shape
    torch.Size([40, 1])
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module._register_load_state_dict_pre_hook(_OldNames(name))
    return module


# ---- the largest singular value -------------------------------------------------------------------------------------------
class _SpectralNorm(Module):
    """W / sigma(W)."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{weight.ndim}, {weight.ndim - 1}] but got {dim})")
        self.dim = dim % weight.ndim
        self.n_power_iterations = check_iterations(n_power_iterations)
        self.eps = eps
        if weight.ndim > 1:
            with no_grad():
                matrix = as_matrix(weight, self.dim)
                u, v = random_direction(matrix, 0, eps), random_direction(matrix, 1, eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix, n):
        for _ in range(n):      # in place, so that a compiled step knows where they lie
            refine(self._u, matrix, self._v, self.eps)
            refine(self._v, matrix.t(), self._u, self.eps)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()     # backward needs them, and the next call changes them
        return weight / dot(u, mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> M:
    r"""Divide a weight by its largest singular value, ``W / sigma(W)``; a vector by its length.

    sigma is ``u^T W v``, whose vectors are refined by the power method: u <- W v / |W v|, v <- W^T u / |W^T u|.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
        A weight of more than two axes counts as a matrix with one row per index of `dim`.
    n_power_iterations : int, default 1
        Steps of the power method each time that the weight is read in training; 15 at first.
    eps : float, default 1e-12
        The least length that a vector is divided by.
    dim : int, optional
        The axis that the outputs belong to: 0, and 1 for transposed convolutions.

    Returns
    -------
    Module
        `module` itself; u and v are buffers ``parametrizations.weight.0._u`` and ``_v``.

    References
    ----------
    T. Miyato et al.: Spectral normalization for generative adversarial networks, ICLR 2018.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import nn
    >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2), n_power_iterations=50)
    >>> round(fastnn.linalg.matrix_norm(layer.weight, 2).item(), 4)
    1.0
    """
    weight = _tensor_of(module, name)
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, output_dim(module, dim), eps))


# ---- orthogonal matrices --------------------------------------------------------------------------------------------------
MAPS = ("matrix_exp", "cayley", "householder")


def _is_orthogonal(Q):
    n, k = Q.shape[-2:]
    return matmul(Q.mT, Q).allclose(eye(k, dtype=Q.dtype), atol=10.0 * n * float(np.finfo(Q.dtype).eps))


def _make_orthogonal(A):
    """Q of A = Q R for a tall A, with a diagonal of R that is not negative."""
    Q, R = qr(A)
    return Q * R.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


class _Orthogonal(Module):
    """An orthogonal matrix, times a fixed one where there is a `base`."""

    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        turned = X.shape[-2] < X.shape[-1]
        X = X.mT if turned else X
        n, k = X.shape[-2:]
        if self.orthogonal_map == "householder":
            A = X.tril(-1)
            Q = householder_product(A, 2.0 / (1.0 + (A * A).sum(-2)))
            Q = Q * X.diagonal(dim1=-2, dim2=-1).detach().trunc().unsqueeze(-2)      # its values are 1 and -1
        else:
            X = X.tril()
            if n != k:
                X = cat([X, X.new_zeros(*X.shape[:-1], n - k)], -1)
            A = X - X.mT
            one = eye(n, dtype=A.dtype)
            Q = matrix_exp(A) if self.orthogonal_map == "matrix_exp" else solve(one - A * 0.5, one + A * 0.5)
            if n != k:
                Q = Q[..., :k]
        if hasattr(self, "base"):
            Q = matmul(self.base, Q)
        return Q.mT if turned else Q

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.")
        start = Q
        turned = Q.shape[-2] < Q.shape[-1]
        Q = Q.mT if turned else Q
        n, k = Q.shape[-2:]
        if hasattr(self, "base"):
            if n != k:
                Q = _make_orthogonal(cat([Q, randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype)], -1))
            else:
                Q = Q.clone() if _is_orthogonal(Q) else _make_orthogonal(Q)
            self.base = Q
            return from_array(np.zeros(start.shape, start.dtype) - np.eye(*start.shape[-2:], dtype=start.dtype))
        if self.orthogonal_map != "householder":
            raise NotImplementedError("It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                                      "use_trivialization=False.")
        A, tau = (t.array for t in geqrf(Q))
        signs = np.sign(np.diagonal(A, 0, -2, -1)) * np.where(tau == 0, -1, 1)
        A = np.tril(A, -1) + np.triu(A, 1)
        A[..., np.arange(k), np.arange(k)] = signs
        return from_array(A).mT if turned else from_array(A)


def orthogonal(module: M, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True) -> M:
    r"""Make a matrix orthogonal, or a batch of matrices: ``Q^T Q = I``, or ``Q Q^T = I`` where it has more columns than rows.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
        Of a tensor (*, m, n).
    orthogonal_map : {"matrix_exp", "cayley", "householder"}, optional
        How Q is made of the original X.  With A = X - X^T of the part of X on and below the diagonal: exp(A), or Cayley's
        (I - A/2)^-1 (I + A/2); or a product of Householder reflections by the columns of X.  By default "matrix_exp" for a square
        matrix, else "householder".
    use_trivialization : bool, default True
        Keep the first Q as a buffer `base`, which the rest is multiplied by.  Without it a weight can only be assigned to with
        "householder".

    Returns
    -------
    Module
        `module` itself; its weight stays as it was if it was orthogonal and is made so by a QR factorization otherwise.

    Raises
    ------
    ValueError
        If there is no such matrix or no such map.

    Notes
    -----
    Compiled steps run it eagerly: LAPACK does its arithmetic, through NumPy.

    References
    ----------
    M. Lezcano Casado: Trivializations for gradient-based optimization on manifolds, NeurIPS 2019.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn import nn
    >>> Q = nn.utils.parametrizations.orthogonal(nn.Linear(3, 5)).weight
    >>> (Q.T @ Q).allclose(fastnn.eye(3), atol=1e-6)
    True
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    parametrization = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, parametrization, unsafe=True)
