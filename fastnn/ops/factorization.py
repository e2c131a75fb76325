"""Factorizations of matrices and what is made of them, by LAPACK through NumPy; batches of matrices everywhere.

The rules are those of M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), and of torch: a gradient of singular or eigenvectors is meaningful where the loss does not
depend on their signs and the values are distinct.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn.core.tensor import Tensor, from_array, install
from fastnn.ops.host import compute, result, results
from fastnn.ops.linear import matmul
from fastnn.ops.promotion import computed_dtype, require_tensors, type_name, unsupported

if TYPE_CHECKING:
    from typing import Any, Literal

__all__ = ["cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "pinverse", "slogdet"]


class LinAlgError(RuntimeError):
    """A matrix has no such factorization: it is singular, or not positive-definite."""


class SVD(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class OldSVD(NamedTuple):
    """What torch's older `svd` returns."""

    U: Tensor
    S: Tensor
    V: Tensor


class Eigh(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QR(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


class Slogdet(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


SVD.__name__, OldSVD.__name__, Eigh.__name__, QR.__name__, Slogdet.__name__ = (
    "linalg_svd", "svd", "linalg_eigh", "linalg_qr", "linalg_slogdet")


def matrices(name: str, A: Tensor, square: bool = False) -> Tensor:
    """A, once it was found to hold real matrices."""
    require_tensors(name, A=A)
    if A.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if A.dtype.kind != "f":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(A.dtype)}")
    if computed_dtype(A.dtype) != A.dtype:
        raise unsupported(name, A.dtype)
    if square and A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"{name}: A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices")
    return A


def _run(name, function, failure, *arrays):
    """function(*arrays), with LAPACK's refusal in torch's words."""
    try:
        return function(*arrays)
    except np.linalg.LinAlgError:
        raise LinAlgError(f"{name}: {failure}") from None


def _turned(a):
    return a.swapaxes(-1, -2)


def _eye(A):
    return from_array(np.eye(A.shape[-1], dtype=A.dtype))


_SINGULAR = "the inversion could not be completed because the input matrix is singular."


def _inverse(a, name="linalg.inv"):
    return compute("linalg_inv", lambda a: _run(name, np.linalg.inv, _SINGULAR, a), a)


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices.

    Raises
    ------
    LinAlgError
        If a matrix is singular.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.linalg.inv(fastnn.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    y = _inverse(matrices("linalg.inv", A, True).array)
    return result("linalg_inv", y, lambda g: -(_turned(y) @ g @ _turned(y)), A)


inverse = inv


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B where not `left`; a vector (or batch of vectors) B gives vectors.

    Raises
    ------
    LinAlgError
        If a matrix is singular.
    """
    name = "linalg.solve"
    matrices(name, A, True)
    require_tensors(name, A=A, B=B)
    if B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1]):
        if not left:
            raise RuntimeError(f"{name}: Vector broadcasting of the left hand side is not supported for left=False")
        return solve(A, B.unsqueeze(-1)).squeeze(-1)
    if not left:
        return solve(A.mT, B.mT).mT
    if B.shape[-2] != A.shape[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation AX = B "
                           f"({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})")
    if A.dtype != B.dtype:
        raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found A of type {type_name(A.dtype)} and B of type "
                           f"{type_name(B.dtype)} instead")
    batch = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    A, B = A.expand(*batch, *A.shape[-2:]), B.expand(*batch, *B.shape[-2:])
    failure = "The solver failed because the input matrix is singular."
    x = compute("linalg_solve", lambda a, b: _run(name, np.linalg.solve, failure, a, b), A.array, B.array)
    a = A.array

    def rule(grad):
        toward_b = np.linalg.solve(_turned(a), grad)
        return -(toward_b @ _turned(x)), toward_b
    return result("linalg_solve", x, rule, A, B, saved=(A,))


def det(A: Tensor) -> Tensor:
    """The determinants of square matrices."""
    a = matrices("linalg.det", A, True).array

    def rule(grad):     # by the cofactors, which a singular matrix has as well
        u, s, vh = np.linalg.svd(a)
        n = s.shape[-1]
        others = np.where(np.eye(n, dtype=bool), s.dtype.type(1), s[..., None, :]).prod(-1)
        return (grad * np.linalg.det(u) * np.linalg.det(vh))[..., None, None] * ((u * others[..., None, :]) @ vh)
    return result("linalg_det", compute("linalg_det", np.linalg.det, a), rule, A, saved=(A,))


def slogdet(A: Tensor) -> Slogdet:
    """The signs of determinants, and the logarithms of their sizes."""
    a = matrices("linalg.slogdet", A, True).array
    sign, size = map(np.asarray, np.linalg.slogdet(a))

    def rule(toward_sign, grad):
        return None if grad is None else grad[..., None, None] * _turned(_inverse(a, "linalg.slogdet"))
    return Slogdet(*results("linalg_slogdet", (sign, size), rule, A, saved=(A,)))


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where that is negative."""
    sign, size = slogdet(input)
    return size.masked_fill(sign < 0, float("nan"))


def cholesky(A: Tensor, upper: bool = False) -> Tensor:
    """The lower triangular L of A = L L^T (`upper`: its transpose), of symmetric positive-definite matrices.

    Raises
    ------
    LinAlgError
        If a matrix is not positive-definite.
    """
    failure = "The factorization could not be completed because the input is not positive-definite."
    a = matrices("linalg.cholesky", A, True).array
    factor = compute("linalg_cholesky", lambda a: _run("linalg.cholesky", np.linalg.cholesky, failure, a), a)

    def rule(grad):
        inner = np.tril(_turned(factor) @ grad)
        inner *= 1 - np.eye(inner.shape[-1], dtype=inner.dtype) / 2
        back = np.linalg.inv(factor)
        full = _turned(back) @ inner @ back
        return (full + _turned(full)) / 2
    lower = result("linalg_cholesky", factor, rule, A)
    return lower.mT if upper else lower


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B for A = L L^T (`upper`: L^T L)."""
    low = L.mT if upper else L
    return solve_triangular(low.mT, solve_triangular(low, B, upper=False), upper=True)


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A = L L^T (`upper`: L^T L)."""
    return inv(matmul(L.mT, L) if upper else matmul(L, L.mT))


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (or X A = B) for the upper or lower triangle of A, its diagonal taken as ones where `unitriangular`."""
    matrices("linalg.solve_triangular", A, True)
    require_tensors("linalg.solve_triangular", A=A, B=B)
    part = A.triu(int(unitriangular)) if upper else A.tril(-int(unitriangular))
    return solve(part + _eye(A) if unitriangular else part, B, left=left)


def pinv(A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    """The pseudo-inverse; singular values up to max(atol, rtol times the largest) count as zero.

    rtol is max(m, n) times the dtype's epsilon where neither is given.
    """
    a = matrices("linalg.pinv", A).array
    m, n = a.shape[-2:]
    if rtol is None:
        rtol = 0.0 if atol else float(max(m, n) * np.finfo(a.dtype).eps)

    def run(a):
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        kept = s > np.maximum(rtol * s.max(-1, keepdims=True, initial=0), atol or 0)
        with np.errstate(divide="ignore"):
            return (_turned(vh) * np.where(kept, 1 / s, 0).astype(s.dtype)[..., None, :]) @ _turned(u)
    p = compute("linalg_pinv", run, a)

    def rule(grad):     # G. Golub, V. Pereyra (1973): constant rank near A
        g, back = _turned(grad), _turned(p)
        if m <= n:
            k = g @ p
            outer = k @ back
            return -_turned(p @ k) + outer - (a @ p) @ outer + (back @ p) @ (g - k @ a)
        k = p @ g
        outer = back @ k
        return -_turned(k @ p) + (g - a @ k) @ p @ back + outer - (outer @ p) @ a
    return result("linalg_pinv", p, rule, A, saved=(A,))


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv` under its older name."""
    return pinv(input, rtol=rcond)


def _gaps(values):
    """E_ij = values_j - values_i, ones on the diagonal."""
    gaps = values[..., None, :] - values[..., :, None]
    return gaps + np.eye(values.shape[-1], dtype=values.dtype)


def svd(A: Tensor, full_matrices: bool = True) -> SVD:
    """U, S and V^T of A = U diag(S) V^T, S in descending order.

    Parameters
    ----------
    A : Tensor (*, m, n)
    full_matrices : bool, default True
        Orthogonal U (m, m) and V (n, n), whose additional columns have no gradient; else min(m, n) columns of both.
    """
    u, s, vh = np.linalg.svd(matrices("linalg.svd", A).array, full_matrices)
    k = s.shape[-1]

    def rule(toward_u, toward_s, toward_vh):
        if (toward_u is not None or toward_vh is not None) and full_matrices and u.shape[-1] != vh.shape[-1]:
            raise RuntimeError("svd_backward: The singular vectors in the case of full_matrices=True have no gradient; "
                               "use full_matrices=False")
        left, right = u[..., :k], vh[..., :k, :]
        inner = np.zeros((*s.shape, k), s.dtype)
        at = np.arange(k)
        if toward_s is not None:
            inner[..., at, at] = toward_s
        gaps = _gaps(s * s)
        if toward_u is not None:
            skew = _turned(left) @ toward_u
            inner += (skew - _turned(skew)) / gaps * s[..., None, :]
        if toward_vh is not None:
            skew = right @ _turned(toward_vh)
            inner += s[..., :, None] * ((skew - _turned(skew)) / gaps)
        full = left @ inner @ right
        if toward_u is not None and u.shape[-2] > k:
            beyond = toward_u / s[..., None, :]
            full += (beyond - left @ (_turned(left) @ beyond)) @ right
        if toward_vh is not None and vh.shape[-1] > k:
            beyond = toward_vh / s[..., :, None]
            full += left @ (beyond - (beyond @ _turned(right)) @ right)
        return full
    return SVD(*results("linalg_svd", (u, s, vh), rule, A))


def old_svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> OldSVD:
    """U, S and V of U diag(S) V^T, under torch's older name: `linalg.svd` gives V^T."""
    u, s, vh = svd(input, not some)
    return OldSVD(u, s, vh.mT) if compute_uv else OldSVD(u.new_zeros(u.shape), s, vh.new_zeros(vh.mT.shape))


def eigh(A: Tensor, UPLO: Literal["L", "U"] = "L") -> Eigh:
    """Eigenvalues in ascending order and eigenvectors (columns) of symmetric matrices, of which one triangle is read."""
    values, vectors = np.linalg.eigh(matrices("linalg.eigh", A, True).array, UPLO)

    def rule(toward_values, toward_vectors):
        inner = np.zeros_like(vectors)
        if toward_vectors is not None:
            inner += _turned(vectors) @ toward_vectors / _gaps(values)
        at = np.arange(values.shape[-1])
        inner[..., at, at] = 0 if toward_values is None else toward_values
        full = vectors @ inner @ _turned(vectors)
        return (full + _turned(full)) / 2
    return Eigh(*results("linalg_eigh", (values, vectors), rule, A))


def qr(A: Tensor, mode: Literal["reduced", "complete", "r"] = "reduced") -> QR:
    """Q with orthogonal columns and the upper triangular R of A = Q R; its gradient needs m >= n and mode "reduced"."""
    a = matrices("linalg.qr", A).array
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    found: Any = np.linalg.qr(a, mode)
    q, r = (np.zeros(0, a.dtype), found) if mode == "r" else found

    def rule(toward_q, toward_r):
        if mode == "r" or q.shape[-1] != a.shape[-1]:
            raise RuntimeError("linalg_qr: the derivative is implemented for matrices with at least as many rows as columns and "
                               "mode 'reduced' only")
        inner = np.zeros_like(r)
        if toward_r is not None:
            inner += r @ _turned(toward_r)
        if toward_q is not None:
            inner -= _turned(toward_q) @ q
        inner = np.tril(inner) + _turned(np.tril(inner, -1))
        full = q @ inner if toward_q is None else toward_q + q @ inner
        return _turned(np.linalg.solve(r, _turned(full)))
    return QR(*results("linalg_qr", (q, r), rule, A))


for _name in __all__:
    install(_name, globals()[_name])
install("svd", old_svd)
