"""Random tensors and in-place fillings under torch's names; under one seed they equal torch's unless said otherwise.

`bernoulli` (and what is built on it) draws from the library's own stream: see ops/dropout.pyx.
"""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import random as draws
from fastnn.core.random import (
    Generator,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    rand,
    randint,
    randn,
    randperm,
    seed,
    set_rng_state,
)
from fastnn.core.tensor import Tensor, from_array, get_default_dtype, install
from fastnn.ops.dropout import bernoulli
from fastnn.ops.host import change, compute, tensor_of
from fastnn.ops.promotion import type_name, unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.types import Device, DTypeArgument

__all__ = ["Generator", "bernoulli", "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed",
           "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like",
           "randperm", "seed", "set_rng_state"]


def _float_check(name, dtype):
    if dtype not in (np.float32, np.float64):
        raise unsupported(name, dtype)


def _fill(name, tensor, write):
    """Overwrite the tensor by `write(array)`; no gradient passes."""
    return change(name, tensor, write, np.zeros_like)


def _from_uniforms(name, tensor, function, generator):
    """Fill with function(u), u uniform float64 numbers, one per element, in the order of its memory."""
    def write(array):
        view = draws.in_memory_order(array)
        view[...] = function(draws.rand64(view.size, generator)).reshape(view.shape)
    return _fill(name, tensor, write)


# ---- in place ------------------------------------------------------------------------------------------------------
def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers uniform in [a, b)."""
    _float_check("check_uniform_bounds", self.dtype)
    if not a <= b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    limit = float(np.finfo(self.dtype).max)
    if not (-limit <= a <= limit and -limit <= b <= limit and b - a <= limit):
        raise RuntimeError(f"uniform_ expects to-from <= std::numeric_limits<{type_name(self.dtype)}>::max(), but found "
                           f"to={b} and from={a} which result in to-from to exceed the limit")
    return _fill("uniform_", self, lambda array: draws.uniform_into(array, a, b, generator))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers; float32 from 16 elements on is close to torch's, not equal."""
    _float_check("normal_kernel_cpu", self.dtype)
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    return _fill("normal_", self, lambda array: draws.normal_into(array, mean, std, generator))


def _integer_range(dtype):
    """What random_() without bounds draws from: 0 up to the largest number that all before it can be told from."""
    if dtype.kind == "f":
        return 2**(np.finfo(dtype).nmant + 1) + 1
    return 2 if dtype.kind == "b" else np.iinfo(dtype).max + 1


def random_(self: Tensor, from_: int | None = None, to: int | None = None, *,
            generator: Generator | None = None) -> Tensor:
    """Fill with integers: random_() over the dtype's range, random_(to) in [0, to), random_(from_, to) in [from_, to)."""
    if to is None and from_ is not None:
        from_, to = 0, from_
    low = 0 if from_ is None else int(from_)
    high = _integer_range(self.dtype) if to is None else int(to)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")

    # over the whole range of int32, torch takes 32 bits of each draw
    narrow = to is None and self.dtype == np.int32

    def write(array):
        view = draws.in_memory_order(array)
        view[...] = draws.integers(view.shape, low, high - low, generator, narrow)
    return _fill("random_", self, write)


def bernoulli_(self: Tensor, p: float | Tensor = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 0 and 1, 1 with probability p (a number or a tensor): the library's own draws."""
    probabilities = tensor_of(p)
    if probabilities.ndim == 0 and not 0 <= float(probabilities) <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={float(probabilities)}")
    dtype = self.dtype if self.dtype.kind == "f" else np.dtype(np.float64)
    sample = bernoulli(from_array(np.broadcast_to(probabilities.array, self.shape).astype(dtype)), generator=generator)

    def write(array):
        array[...] = sample.array
    return change("bernoulli_", self, write, np.zeros_like)


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers of density lambd exp(-lambd x)."""
    _float_check("exponential_cpu", self.dtype)
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    return _from_uniforms("exponential_", self, lambda u: -np.log1p(-u) / lambd, generator)


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials up to the first success of probability p."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    return _from_uniforms("geometric_", self, lambda u: np.ceil(np.log(u) / math.log1p(-p)), generator)


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers of the Cauchy distribution."""
    _float_check("cauchy_cpu", self.dtype)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    return _from_uniforms("cauchy_", self, lambda u: median + sigma * np.tan(np.pi * (u - 0.5)), generator)


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exp of normal numbers."""
    _float_check("log_normal_cpu", self.dtype)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")

    def write(array):
        view = draws.in_memory_order(array)
        z = np.empty(view.shape, np.float64)
        draws.pairs_into(z, mean, std, generator)
        view[...] = np.exp(z)
    return _fill("log_normal_", self, write)


# ---- new tensors ---------------------------------------------------------------------------------------------------
def rand_like(input: Tensor, *, dtype: DTypeArgument = None, generator: Generator | None = None,
              requires_grad: bool = False, layout: object = None, device: Device = None,
              memory_format: object = None) -> Tensor:
    """`rand` of the input's shape and dtype."""
    return rand(input.shape, generator=generator, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: DTypeArgument = None, generator: Generator | None = None,
               requires_grad: bool = False, layout: object = None, device: Device = None,
               memory_format: object = None) -> Tensor:
    """`randn` of the input's shape and dtype."""
    return randn(input.shape, generator=generator, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: DTypeArgument = None,
                 generator: Generator | None = None, requires_grad: bool = False, layout: object = None,
                 device: Device = None, memory_format: object = None) -> Tensor:
    """`randint` of the input's shape and dtype; ``randint_like(input, high)`` starts at 0."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.shape, generator=generator, dtype=dtype or input.dtype, device=device,
                   requires_grad=requires_grad)


def normal(mean: float | Tensor, std: float | Tensor = 1.0, size: Sequence[int] | None = None, *,
           generator: Generator | None = None, out: Tensor | None = None, dtype: DTypeArgument = None,
           layout: object = None, device: Device = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """Normal numbers of the given means and standard deviations.

    Parameters
    ----------
    mean, std : float or Tensor
        Tensors broadcast.
    size : sequence of ints
        Needed when both are numbers.
    generator : Generator, default the default generator
    """
    deviations = tensor_of(std).array
    if (deviations < 0).any():
        raise RuntimeError("normal expects all elements of std >= 0.0" if deviations.ndim else
                           f"normal expects std >= 0.0, but found std {float(deviations):g}")
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        array = np.empty(draws.shape_of(() if size is None else (size,)), dtype or get_default_dtype())
        compute("normal", draws.normal_into, array, mean, std, generator)
        return draws.finish(array, out, requires_grad)
    means = tensor_of(mean).array
    kind = (means if isinstance(mean, Tensor) else deviations).dtype
    array = np.empty(np.broadcast_shapes(means.shape, deviations.shape), kind)
    compute("normal", draws.normal_into, array, 0.0, float(std) if not isinstance(std, Tensor) else 1.0, generator)
    if isinstance(std, Tensor):
        array *= deviations
    array += means.astype(kind, copy=False)
    return draws.finish(array, out, requires_grad)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None,
                out: Tensor | None = None) -> Tensor:
    """Draw category numbers with probabilities proportional to the rows of `input`.

    Parameters
    ----------
    input : Tensor (categories,) or (rows, categories)
        Weights, not negative, not all zero in a row.
    num_samples : int
        Per row.
    replacement : bool, default False
        May a category be drawn twice?
    generator : Generator, default the default generator
    """
    weights = tensor_of(input).array
    _float_check("multinomial", weights.dtype)
    if weights.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > weights.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (weights.sum(-1) == 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    function = _with_replacement if replacement and num_samples > 1 else _races
    return draws.finish(compute("multinomial", function, weights, num_samples, generator), out, False)


def _races(weights, count, generator):
    """Each category arrives at an exponential time of its rate: the first `count` to arrive are the sample."""
    times = -np.log1p(-draws.rand64(weights.size, generator)).astype(weights.dtype).reshape(weights.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        speed = weights / times
    if count == 1:
        return speed.argmax(-1, keepdims=True)
    return np.argsort(-speed, axis=-1, kind="stable")[..., :count]


def _with_replacement(weights, count, generator):
    rows = np.atleast_2d(weights)
    totals = np.cumsum(rows, axis=1)
    totals /= totals[:, -1:]
    u = draws.rand64(len(rows) * count, generator).reshape(len(rows), count)
    sample = np.stack([np.searchsorted(t, row) for t, row in zip(totals, u, strict=True)])
    return sample.reshape(*weights.shape[:-1], count)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draw Poisson numbers of the given rates: of a NumPy generator that the default generator seeds, not torch's."""
    rates = tensor_of(input).array
    _float_check("poisson", rates.dtype)
    if (rates < 0).any():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")

    def draw(rates):
        return np.random.Generator(np.random.Philox(draws.u64(generator))).poisson(rates).astype(rates.dtype)
    return from_array(compute("poisson", draw, rates))


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Sample categories so that gradients pass: softmax((logits + g) / tau), g from the Gumbel distribution.

    Parameters
    ----------
    logits : Tensor
        Logarithms of the categories' weights along `dim`.
    tau : float, default 1
        Temperature: the smaller, the nearer to one category.
    hard : bool, default False
        Return the greatest as 1 and the rest as 0; the gradient is that of the soft sample.
    eps : float
        Ignored, as in torch.
    dim : int, default -1

    References
    ----------
    E. Jang, S. Gu, B. Poole: Categorical Reparameterization with Gumbel-Softmax, ICLR 2017.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.functional.gumbel_softmax(fastnn.zeros(2, 5), hard=True).sum(1)
    tensor([1., 1.])
    """
    noise = -exponential_(logits.detach().clone()).log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    return soft.detach().mul(0).scatter(dim, soft.max(dim, keepdim=True)[1], 1.0) - soft.detach() + soft


for _method in (bernoulli, bernoulli_, cauchy_, exponential_, geometric_, log_normal_, multinomial, normal_, random_, uniform_):
    install(_method.__name__, _method)
