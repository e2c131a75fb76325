"""torch.linalg's names: norms, factorizations, equations, functions of matrices.

Eigenvalues of general matrices are complex: there are none here.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn.core.tensor import Tensor, from_array
from fastnn.ops.aliases import into, numpy_names
from fastnn.ops.creation import diagonal, vander
from fastnn.ops.factorization import (
    LinAlgError,
    cholesky,
    det,
    eigh,
    inv,
    matrices,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
)
from fastnn.ops.linalg import chain_matmul, cross
from fastnn.ops.linear import matmul
from fastnn.ops.matrix_functions import householder_product, matrix_exp, matrix_power
from fastnn.ops.promotion import require_tensors, type_name
from fastnn.ops.reduction import norm as _norm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Unpack

    from fastnn.core.types import Dims, DTypeArgument
    from fastnn.ops.aliases import AxesNames, AxisName

__all__ = ["LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "householder_product", "inv",
           "lstsq", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet",
           "solve", "solve_triangular", "svd", "svdvals", "vander", "vecdot", "vector_norm"]


class LeastSquares(NamedTuple):
    """What `lstsq` returns."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


LeastSquares.__name__ = "linalg_lstsq"


def svdvals(A: Tensor) -> Tensor:
    """Singular values in descending order."""
    return svd(A, full_matrices=False).S


def eigvalsh(A: Tensor, UPLO: Literal["L", "U"] = "L") -> Tensor:
    """Eigenvalues of symmetric matrices in ascending order."""
    return eigh(A, UPLO).eigenvalues


def matrix_rank(A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    """How many singular values are above max(atol, rtol times the largest) (rtol: max(m, n) times the dtype's epsilon)."""
    s = svdvals(A).array
    if rtol is None:
        rtol = 0.0 if atol else float(max(A.shape[-2:]) * np.finfo(s.dtype).eps)
    return from_array((s > np.maximum(rtol * s.max(-1, keepdims=True, initial=0), atol or 0)).sum(-1))


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> LeastSquares:
    """X that minimizes |A X - B|, the smallest where there are several; the residuals where A has more rows than columns and full rank.

    torch leaves the residuals empty under its default driver; it is named and means nothing here.
    """
    require_tensors("linalg.lstsq", A=A, B=B)
    matrices("linalg.lstsq", A)
    if B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]):
        found = lstsq(A, B.unsqueeze(-1), rcond)
        return found._replace(solution=found.solution.squeeze(-1))
    solution = matmul(pinv(A, rtol=rcond), B)
    rank = matrix_rank(A.detach(), rtol=rcond)
    residuals = solution.new_zeros(0)
    if A.shape[-2] > A.shape[-1] and driver in ("gels", "gelsd", "gelss") and bool((rank == A.shape[-1]).all()):
        residuals = (matmul(A, solution) - B).square().sum(-2)
    return LeastSquares(solution, residuals, rank, svdvals(A.detach()) if driver in ("gelsd", "gelss") else solution.new_zeros(0))


def _floats(name, x, dtype):
    require_tensors(name, x=x)
    x = x if dtype is None else x.to(dtype)
    if x.dtype.kind != "f":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(x.dtype)}")
    return x


@numpy_names
def vector_norm(x: Tensor, ord: float = 2, dim: Dims | None = None, keepdim: bool = False, *, dtype: DTypeArgument = None,
                out: Tensor | None = None, **names: Unpack[AxesNames]) -> Tensor:
    """(sum |x|^ord)^(1/ord) over axes (default all); ord may be inf, -inf or 0 (how many are not zero).

    Examples
    --------
    >>> import fastnn
    >>> fastnn.linalg.vector_norm(fastnn.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = _floats("linalg.vector_norm", x, dtype)
    if isinstance(ord, str):
        raise RuntimeError("linalg.vector_norm: order must be a number")
    return _norm(x, ord, dim, keepdim, out)


@numpy_names
def matrix_norm(A: Tensor, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *,
                dtype: DTypeArgument = None, out: Tensor | None = None, **names: Unpack[AxesNames]) -> Tensor:
    """The norm of matrices: "fro", "nuc" (sum of singular values), 2 and -2 (largest and smallest), 1 and -1 (of the columns' sums of
    sizes), inf and -inf (of the rows')."""
    A = _floats("linalg.matrix_norm", A, dtype)
    if A.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    row, column = (d % A.ndim for d in dim)
    if row == column:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({row}, {column})")
    if ord == "fro":
        y = _norm(A, 2, (row, column), keepdim)
    elif ord in ("nuc", 2, -2):
        s = svdvals(A.movedim((row, column), (-2, -1)))
        y = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
        if keepdim:
            for axis in sorted((row, column)):
                y = y.unsqueeze(axis)
    elif ord in (1, -1, float("inf"), float("-inf")):
        summed, kept = (row, column) if abs(float(ord)) == 1 else (column, row)
        sums = A.abs().sum(summed, keepdim=True)
        y = sums.amax((row, column), keepdim) if float(ord) > 0 else sums.amin((row, column), keepdim)
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    return y if out is None else into(out, y)


@numpy_names
def norm(A: Tensor, ord: float | str | None = None, dim: Dims | None = None, keepdim: bool = False, *, out: Tensor | None = None,
         dtype: DTypeArgument = None, **names: Unpack[AxesNames]) -> Tensor:
    """`vector_norm` of everything or over one axis, `matrix_norm` over two; `ord` and no `dim` goes by the number of axes."""
    A = _floats("linalg.norm", A, dtype)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, out=out)
    if dim is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D.")
        dim = (0,) if A.ndim == 1 else (0, 1)
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) == 1 and not isinstance(ord, str):
        return vector_norm(A, ord, dims, keepdim, out=out)
    if len(dims) != 2:
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got [{', '.join(map(str, dims))}]")
    return matrix_norm(A, ord, dims, keepdim, out=out)


def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number |A| |A^-1|; by default the largest singular value over the smallest; inf for a singular matrix."""
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    matrices("linalg.cond", A, True)
    try:
        return matrix_norm(A, p) * matrix_norm(inv(A), p)
    except LinAlgError:
        if A.ndim > 2:
            raise
        return A.new_full((), float("inf"))


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Product of several matrices, from the left; the first and the last may be vectors."""
    return chain_matmul(*tensors)


@numpy_names
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, **names: Unpack[AxisName]) -> Tensor:
    """Sum of products along an axis."""
    return (x * y).sum(dim)
