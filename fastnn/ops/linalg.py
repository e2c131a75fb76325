"""Products and sums of products beyond matmul."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import install
from fastnn.ops.host import compute, result, tensor_of
from fastnn.ops.linear import matmul
from fastnn.ops.promotion import require_tensors, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Number

__all__ = ["addbmm", "addmm", "addmv", "addr", "baddbmm", "bilinear", "bmm", "chain_matmul", "cross", "dot", "einsum", "ger",
           "inner", "kron", "mm", "mv", "outer", "tensordot", "trace", "vdot"]


def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Product of two matrices."""
    require_tensors("mm", input=input, mat2=mat2)
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError(f"{'self' if input.ndim != 2 else 'mat2'} must be a matrix")
    return matmul(input, mat2, out=out)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix and a vector."""
    require_tensors("mv", input=input, vec=vec)
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {vec.ndim}, {input.ndim}, {vec.ndim}")
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(f"size mismatch, got input ({input.shape[0]}), mat ({input.shape[0]}x{input.shape[1]}), vec "
                           f"({vec.shape[0]})")
    return matmul(input, vec)


def bmm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Product of two batches of matrices."""
    if input.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor")
    if mat2.ndim != 3:
        raise RuntimeError("batch2 must be a 3D tensor")
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{input.shape[0]}, "
                           f"{input.shape[2]}] but got: [{mat2.shape[0]}, {mat2.shape[1]}].")
    return matmul(input, mat2, out=out)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Sum of the products of two vectors."""
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    if input.dtype != tensor.dtype:
        raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {type_name(input.dtype)} and "
                           f"{type_name(tensor.dtype)}")
    if input.shape != tensor.shape:
        raise RuntimeError("inconsistent tensor size, expected tensor "
                           f"{list(input.shape)} and src {list(tensor.shape)} to have the same number of elements, but got "
                           f"{input.numel()} and {tensor.numel()} elements respectively")
    return matmul(input, tensor)


vdot = dot


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sum of products over the last axes."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    return tensordot(input, other, dims=([-1], [-1]))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of the elements of two vectors."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer: Expected 1-D argument {'self' if input.ndim != 1 else 'vec2'}, but got "
                           f"{(input if input.ndim != 1 else vec2).ndim}-D")
    return input.unsqueeze(1) * vec2.unsqueeze(0)


ger = outer


def _scaled_sum(input, product, beta, alpha):
    """beta * input + alpha * product; with beta 0 the input counts for nothing, NaN included."""
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product if product.shape == input.shape or input.ndim <= product.ndim else product.expand(input.shape)
    return (input if beta == 1 else input * beta) + product


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * mat1 @ mat2."""
    return _scaled_sum(input, mm(mat1, mat2), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * mat @ vec."""
    return _scaled_sum(input, mv(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    return _scaled_sum(input, outer(vec1, vec2), beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * batch1 @ batch2, batch by batch."""
    return _scaled_sum(input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * the sum of batch1 @ batch2 over the batch."""
    return _scaled_sum(input, bmm(batch1, batch2).sum(0), beta, alpha)


def chain_matmul(*matrices: Tensor) -> Tensor:
    """Product of several matrices, from the left."""
    product = matrices[0]
    for m in matrices[1:]:
        product = matmul(product, m)
    return product


def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Any] = 2) -> Tensor:
    """Sum of products over pairs of axes: the last `dims` of a with the first of b, or two lists."""
    a, b = tensor_of(a), tensor_of(b)
    if isinstance(dims, int):
        first, second = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        first, second = (list(d) if isinstance(d, list | tuple) else [d] for d in dims)
    first, second = [d % a.ndim for d in first], [d % b.ndim for d in second]
    for i, j in zip(first, second):
        if a.shape[i] != b.shape[j]:
            raise RuntimeError(f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and second has "
                               f"size {b.shape[j]} in dim {j}")
    free_a, free_b = [d for d in range(a.ndim) if d not in first], [d for d in range(b.ndim) if d not in second]
    inner_size = int(np.prod([a.shape[d] for d in first], dtype=np.int64))
    shape = [a.shape[d] for d in free_a] + [b.shape[d] for d in free_b]
    left = a.permute(free_a + first).reshape(int(np.prod([a.shape[d] for d in free_a], dtype=np.int64)), inner_size)
    right = b.permute(second + free_b).reshape(inner_size, int(np.prod([b.shape[d] for d in free_b], dtype=np.int64)))
    return matmul(left, right).reshape(shape)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker product."""
    a, b = tensor_of(input), tensor_of(other)
    n = a.ndim if a.ndim > b.ndim else b.ndim
    m, k = [1] * (n - a.ndim) + list(a.shape), [1] * (n - b.ndim) + list(b.shape)
    left = a.reshape([v for pair in zip(m, [1] * n) for v in pair])
    right = b.reshape([v for pair in zip([1] * n, k) for v in pair])
    return (left * right).reshape([p * q for p, q in zip(m, k)])


def cross(input: Tensor, other: Tensor, dim: int = -1) -> Tensor:
    """Cross product of vectors of three elements along an axis."""
    a, b = input, other
    if a.shape[dim] != 3 or b.shape[dim] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {a.shape[dim]} and {b.shape[dim]}")
    return a.roll(-1, dim) * b.roll(-2, dim) - a.roll(-2, dim) * b.roll(-1, dim)


def trace(input: Tensor) -> Tensor:
    """Sum of the diagonal of a matrix."""
    if input.ndim != 2:
        raise RuntimeError("trace: expected a matrix")
    return input.diagonal().sum()


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_k = x1^T A_k x2 + b_k.

    Parameters
    ----------
    input1 : Tensor (*, in1)
    input2 : Tensor (*, in2)
    weight : Tensor (out, in1, in2)
    bias : Tensor (out,), optional
    """
    x, y, w = tensor_of(input1), tensor_of(input2), tensor_of(weight)
    if x.shape[:-1] != y.shape[:-1]:
        raise RuntimeError(f"bilinear(): input batch dimensions do not match: got {list(x.shape[:-1])} and {list(y.shape[:-1])}")
    if x.shape[-1] != w.shape[1]:
        raise RuntimeError(f"bilinear(): input1 size does not match weight size: got {x.shape[-1]} but expected {w.shape[1]}")
    if y.shape[-1] != w.shape[2]:
        raise RuntimeError(f"bilinear(): input2 size does not match weight size: got {y.shape[-1]} but expected {w.shape[2]}")
    out, in1, in2 = w.shape
    rows = x.reshape(-1, in1) if in1 else x.reshape(x.numel(), 0)
    left = matmul(rows, w.permute(1, 0, 2).reshape(in1, out * in2)).reshape(rows.shape[0], out, in2)
    found = matmul(left, y.reshape(rows.shape[0], in2, 1)).reshape(*x.shape[:-1], out)
    return found if bias is None else found + bias


# ---- einsum -----------------------------------------------------------------------------------------------------------
def _parse(equation, operands):
    """The subscripts of each operand and of the result, with ... written out in capitals of their own."""
    equation = equation.replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise RuntimeError(f"einsum(): {'more' if len(terms) < len(operands) else 'fewer'} operands were provided than specified "
                           "in the equation")
    used = set(equation) - set(",->.")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in used]
    widest = 0
    for term, x in zip(terms, operands):
        named = len(term.replace("...", ""))
        if ("..." not in term and named != x.ndim) or named > x.ndim:
            raise RuntimeError(f"einsum(): the number of subscripts in the equation ({named}) does not match the number of "
                               f"dimensions ({x.ndim}) for operand {terms.index(term)}"
                               + (" and no ellipsis was given" if "..." not in term else ""))
        widest = max(widest, x.ndim - named) if "..." in term else widest
    dots = "".join(spare[:widest])
    filled = [t.replace("...", dots[widest - (x.ndim - len(t.replace("...", ""))):]) for t, x in zip(terms, operands)]
    if arrow:
        return filled, right.replace("...", dots)
    letters = "".join(left).replace(",", "").replace(".", "")
    return filled, dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))


def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """Sum of products in Einstein's notation.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.einsum("ij,j->i", fastnn.ones(2, 3), fastnn.ones(3))
    tensor([3., 3.])
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    tensors = [tensor_of(x) for x in operands]
    terms, out = _parse(equation, tensors)
    sizes: dict[str, int] = {}
    for term, x in zip(terms, tensors):
        for c, n in zip(term, x.shape):
            if sizes.setdefault(c, n) == 1:
                sizes[c] = n
            elif n not in (1, sizes[c]):
                raise RuntimeError(f"einsum(): subscript {c} has size {n} for operand which does not broadcast with previously "
                                   f"seen size {sizes[c]}")
    arrays = [x.array for x in tensors]

    def run(target, wanted, *values):
        return np.einsum(",".join(target) + "->" + wanted, *values, optimize=len(values) > 1)
    array = compute("einsum", lambda *a: np.asarray(run(terms, out, *a), order="C"), *arrays)

    def rule(grad):
        return tuple(_operand_gradient(i, grad, terms, out, arrays, sizes, run) if tensors[i].requires_grad else None
                     for i in range(len(terms)))
    return result("einsum", array, rule, *tensors, saved=tuple(tensors[:3]))


def _operand_gradient(i, grad, terms, out, arrays, sizes, run):
    """The gradient of operand i: the same sum with the result's gradient in its place."""
    term, own = terms[i], arrays[i]
    others = [(t, a) for j, (t, a) in enumerate(zip(terms, arrays)) if j != i]
    distinct = "".join(dict.fromkeys(term))
    present = set(out).union(*(t for t, _ in others)) if others else set(out)
    inside = "".join(c for c in distinct if c in present)
    g = run([out] + [t for t, _ in others], inside, grad, *(a for _, a in others))
    full = np.zeros([sizes[c] for c in distinct], own.dtype)
    full += g.reshape([g.shape[inside.index(c)] if c in inside else 1 for c in distinct])
    for axis, c in enumerate(distinct):     # an axis that was broadcast
        if own.shape[term.index(c)] == 1 and sizes[c] != 1:
            full = full.sum(axis, keepdims=True)
    if len(distinct) == len(term):
        return full
    spread = np.zeros(own.shape, own.dtype)     # a repeated subscript reads a diagonal
    grid = np.ogrid[tuple(slice(n) for n in full.shape)]
    spread[tuple(grid[distinct.index(c)] for c in term)] = full
    return spread


for _function in (mm, mv, bmm, dot, vdot, inner, outer, addmm, addmv, addr, baddbmm, addbmm, kron, cross, trace):
    install(_function.__name__, _function)
install("ger", outer)
install("vdot", dot)
