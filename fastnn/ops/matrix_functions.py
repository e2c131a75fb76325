"""Functions of matrices: powers, the exponential, products of Householder reflections; batches of matrices everywhere."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn.core.tape import no_derivative
from fastnn.core.tensor import Tensor, install
from fastnn.ops.creation import eye
from fastnn.ops.factorization import inv, matrices, solve
from fastnn.ops.host import compute, result, results
from fastnn.ops.linear import matmul
from fastnn.ops.promotion import require_tensors

if TYPE_CHECKING:
    from fastnn.core.types import Array

__all__ = ["geqrf", "matrix_exp", "matrix_power", "orgqr"]

# Numerator and denominator (odd powers negative) of the approximant of order 13, divided by the first.
PADE = np.cumprod([1.0, *((14 - j) / ((27 - j) * j) for j in range(1, 14))])
RADIUS = {np.dtype(np.float32): 3.9, np.dtype(np.float64): 5.37}     # of the norms for which it is exact to rounding


class Geqrf(NamedTuple):
    """What `geqrf` returns."""

    a: Tensor
    tau: Tensor


Geqrf.__name__ = "geqrf"


def matrix_power(input: Tensor, n: int) -> Tensor:
    """Square matrices to the power n; negative n takes the inverse."""
    base = matrices("linalg.matrix_power", input, True)
    if n < 0:
        return matrix_power(inv(base), -n)
    power = None
    while n:
        if n % 2:
            power = base if power is None else matmul(power, base)
        n //= 2
        base = matmul(base, base) if n else base
    return eye(base.shape[-1], dtype=base.dtype).expand(base.shape).clone() if power is None else power


def _exponential(a: Array) -> Array:
    """By halving s times, a Padé approximant, and squaring s times."""
    norm = np.abs(a).sum(-2).max(-1, initial=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        halvings = np.ceil(np.log2(norm / RADIUS[a.dtype]))
        halvings = np.where(np.isfinite(norm), np.maximum(halvings, 0), 0)[..., None, None]
        a = a * np.exp2(-halvings).astype(a.dtype)
        one, b = np.eye(a.shape[-1], dtype=a.dtype), PADE.astype(a.dtype)
        a2 = a @ a
        a4 = a2 @ a2
        a6 = a2 @ a4
        odd = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
        even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
        y = np.linalg.solve(even - odd, even + odd)
        for i in range(int(halvings.max(initial=0))):
            y = np.where(i < halvings, y @ y, y)
    return y


def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices, ``sum A^k / k!``.

    Parameters
    ----------
    A : Tensor (*, n, n)

    References
    ----------
    N. Higham: The scaling and squaring method for the matrix exponential revisited, SIAM J. Matrix Anal. Appl. 26 (2005); the
    gradient by R. Mathias, ibid. 17 (1996): the upper right block of exp([[A^T, G], [0, A^T]]).

    Examples
    --------
    >>> import fastnn
    >>> fastnn.matrix_exp(fastnn.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    a = matrices("linalg.matrix_exp", A, True).array

    def rule(grad):
        n, turned = a.shape[-1], a.swapaxes(-1, -2)
        blocks = np.zeros((*a.shape[:-2], 2 * n, 2 * n), a.dtype)
        blocks[..., :n, :n] = blocks[..., n:, n:] = turned
        blocks[..., :n, n:] = grad
        return _exponential(blocks)[..., :n, n:]
    return result("linalg_matrix_exp", compute("linalg_matrix_exp", _exponential, a), rule, A, saved=(A,))


def geqrf(input: Tensor) -> Geqrf:
    """LAPACK's form of a QR factorization: R and below it the Householder vectors, and their factors `tau`; it has no gradient.

    `householder_product` makes Q of them.
    """
    def rule(toward_a, toward_tau):
        raise no_derivative("geqrf")
    h, tau = np.linalg.qr(matrices("geqrf", input).array, "raw")
    return Geqrf(*results("geqrf", (h.swapaxes(-1, -2), tau), rule, input))


def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of H_1 H_2 ... H_k, where ``H_i = I - tau_i v_i v_i^T``.

    Parameters
    ----------
    A : Tensor (*, m, n), m >= n
        v_i is column i below the diagonal, with 1 on it and 0 above.
    tau : Tensor (*, k), k <= n

    References
    ----------
    T. Joffrain et al.: Accumulating Householder transformations, revisited, ACM Trans. Math. Softw. 32 (2006): the product is
    ``I - V D (I + U D)^-1 V^T`` with D = diag(tau) and U the part of V^T V above the diagonal.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.linalg.householder_product(fastnn.tensor([[1.0], [1.0]]), fastnn.tensor([1.0]))
    tensor([[ 0.],
            [-1.]])
    """
    name = "linalg.householder_product"
    matrices(name, A)
    require_tensors(name, tau=tau)
    (m, n), k = A.shape[-2:], tau.shape[-1]
    if m < n:
        raise RuntimeError(f"torch.{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if n < k:
        raise RuntimeError(f"torch.{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    if A.dtype != tau.dtype:
        raise RuntimeError(f"torch.{name}: tau dtype {tau.dtype} does not match input dtype {A.dtype}")
    v = A[..., :k].tril(-1) + eye(m, k, dtype=A.dtype)
    above = matmul(v.mT, v).triu(1)
    weights = tau.unsqueeze(-1) * solve(above * tau.unsqueeze(-2) + eye(k, dtype=A.dtype), v[..., :n, :].mT)
    return eye(m, n, dtype=A.dtype) - matmul(v, weights)


orgqr = householder_product

for _name in __all__:
    install(_name, globals()[_name])
