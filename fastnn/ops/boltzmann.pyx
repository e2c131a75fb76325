# cython: allow_none_for_extension_args=False
"""Sampling of Boltzmann units and the contrastive loss of the binary machine, as kernel calls a plan can replay."""
cimport cython
cimport numpy as np
from libc.stdint cimport int64_t

import numpy as np

import fastnn.kernels.boltzmann  # no-cython-lint: declares the kernels
import fastnn.kernels.random  # no-cython-lint: declares the kernels
import fastnn.kernels.selection  # no-cython-lint: declares the kernels
import fastnn.kernels.statistics  # no-cython-lint: declares the kernels

from fastnn.core.launch cimport Launch, begin, fn_dtype_of, launch, put
from fastnn.core.random cimport generator_of
from fastnn.core.storage cimport empty, empty_1d, empty_2d, empty_like
from fastnn.core.tape cimport Node, grad_enabled
from fastnn.core.tensor cimport Tensor, attach_list, wrap
from fastnn.kernels.native cimport fn_kernel, kernel_named
from fastnn.ops.layout cimport contiguous
from fastnn.ops.linear cimport column_sums, multiply

np.import_array()

cdef const fn_kernel* BERNOULLI_UNITS = kernel_named("bernoulli_units")
cdef const fn_kernel* CATEGORICAL_UNITS = kernel_named("categorical_units")
cdef const fn_kernel* MULTINOMIAL_UNITS = kernel_named("multinomial_units")
cdef const fn_kernel* CONTRAST_VALUE = kernel_named("contrast_value")
cdef const fn_kernel* CONTRAST_ROWS = kernel_named("contrast_rows")
cdef const fn_kernel* ACCUMULATE = kernel_named("accumulate")
cdef const fn_kernel* HALF_SQUARES = kernel_named("half_squares")
cdef const fn_kernel* NORMAL = kernel_named("normal")
cdef const fn_kernel* SELECTED_MATMUL = kernel_named("selected_matmul")
cdef const fn_kernel* CONTRAST_STATISTICS = kernel_named("contrast_statistics")


# ---- samples -------------------------------------------------------------------------------------------------------
cdef int run_units(const fn_kernel* kernel, np.ndarray x, object generator, object mean, object sample, object energy,
                   object last, int64_t third) except -1:
    cdef Launch L
    begin(&L, kernel, fn_dtype_of(x))
    put(&L, 0, x)
    if sample is not None:
        put(&L, 1, generator_of(generator).rng)
    put(&L, 2, mean)
    put(&L, 3, sample)
    put(&L, 4, energy)
    put(&L, 5, last)
    L.call.size[0], L.call.size[1], L.call.size[2] = np.PyArray_DIM(x, 0), np.PyArray_DIM(x, 1), third
    L.call.flops = 30.0 * np.PyArray_SIZE(x)
    L.call.bytes = 3.0 * np.PyArray_NBYTES(x)
    return launch(&L)


def bernoulli_units(Tensor x, generator=None, bint sample=True):
    """(sigmoid(x), draws of that probability or None) of a matrix of inputs; no gradient."""
    cdef np.ndarray a = contiguous(x.array), mean = empty_like(a), drawn = empty_like(a) if sample else None
    run_units(BERNOULLI_UNITS, a, generator, mean, drawn, None, None, 0)
    return wrap(mean), wrap(drawn) if sample else None


def categorical_units(Tensor x, int64_t categories, present=None, generator=None, bint sample=True):
    """(softmax of every `categories` columns, one-hot draws or None); units whose `present` is 0 give zeros."""
    cdef np.ndarray a = contiguous(x.array), mean = empty_like(a), drawn = empty_like(a) if sample else None
    there = None if present is None else contiguous((<Tensor>present).array)
    run_units(CATEGORICAL_UNITS, a, generator, mean, drawn, None, there, categories)
    return wrap(mean), wrap(drawn) if sample else None


def multinomial_units(Tensor x, Tensor lengths, generator=None, bint sample=True):
    """(length softmax(x), counts of `length` draws or None) of every row."""
    cdef np.ndarray a = contiguous(x.array), mean = empty_like(a), drawn = empty_like(a) if sample else None
    cdef np.ndarray n = contiguous(lengths.array)
    most = int((<object>n).max()) if np.PyArray_SIZE(n) else 0
    run_units(MULTINOMIAL_UNITS, a, generator, mean, drawn, None, n, most)
    return wrap(mean), wrap(drawn) if sample else None


def normal_noise(Tensor like, generator=None):
    """Standard normal numbers of the library's own stream, in the shape of `like`."""
    return wrap(noise(like.array, generator))


cdef np.ndarray noise(np.ndarray like, object generator):
    cdef Launch L
    cdef np.ndarray y = empty(np.PyArray_NDIM(like), np.PyArray_DIMS(like), np.PyArray_TYPE(like))
    if np.PyArray_SIZE(y) == 0:
        return y
    begin(&L, NORMAL, fn_dtype_of(y))
    put(&L, 0, generator_of(generator).rng)
    put(&L, 1, y)
    L.call.size[0] = np.PyArray_SIZE(y)
    L.call.scalar[0], L.call.scalar[1] = 0, 1
    L.call.flops = 30.0 * np.PyArray_SIZE(y)
    L.call.bytes = <double>np.PyArray_NBYTES(y)
    launch(&L)
    return y


# ---- contrastive loss ----------------------------------------------------------------------------------------------
cdef np.ndarray scaled(np.ndarray x, double factor, np.ndarray g):
    cdef Launch L
    cdef np.ndarray y = empty_like(x)
    begin(&L, CONTRAST_ROWS, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, g)
    put(&L, 2, y)
    L.call.size[0] = np.PyArray_SIZE(x)
    L.call.scalar[0] = factor
    L.call.flops = <double>np.PyArray_SIZE(x)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(x)
    launch(&L)
    return y


cdef np.ndarray added(np.ndarray a, np.ndarray b):
    """a + b, in a."""
    cdef Launch L
    begin(&L, ACCUMULATE, fn_dtype_of(a))
    put(&L, 0, b)
    put(&L, 1, a)
    L.call.size[0] = np.PyArray_SIZE(a)
    L.call.scalar[0] = 1
    L.call.flops = <double>np.PyArray_SIZE(a)
    L.call.bytes = 2.0 * np.PyArray_NBYTES(a)
    launch(&L)
    return a


@cython.final
cdef class ContrastBackward(Node):
    """Gradient of mean F(data) - mean F(samples), samples constant.  a, b: v and p(h) of the data; c, d: of the samples;
    extra: difference of the mean v."""

    cdef object backward(self, np.ndarray grad):
        cdef np.ndarray v = self.a, p = self.b, w = self.c, q = self.d, g = contiguous(grad), dw = None, dc = None, db = None
        cdef int64_t rows = np.PyArray_DIM(v, 0), samples = np.PyArray_DIM(w, 0)
        cdef int64_t V = np.PyArray_DIM(v, 1), H = np.PyArray_DIM(p, 1)
        cdef Launch L
        if self.nodes[2] is not None:
            db = scaled(self.extra, -1.0, g)
        if self.nodes[0] is not None or self.nodes[1] is not None:
            dw = empty_2d(V, H, np.PyArray_TYPE(v)) if self.nodes[0] is not None else None     # in the memory order of the weight
            dc = empty_1d(H, np.PyArray_TYPE(v)) if self.nodes[1] is not None else None
            begin(&L, CONTRAST_STATISTICS, fn_dtype_of(v))
            put(&L, 0, v)
            put(&L, 1, p)
            put(&L, 2, w)
            put(&L, 3, q)
            put(&L, 4, g)
            put(&L, 5, dw)
            put(&L, 6, dc)
            L.call.size[0], L.call.size[1], L.call.size[2], L.call.size[3] = rows, samples, V, H
            L.call.scalar[0], L.call.scalar[1] = -1.0 / rows, 1.0 / samples
            L.call.flops = 2.0 * (rows + samples) * V * H
            L.call.bytes = <double>np.PyArray_ITEMSIZE(v) * ((rows + samples) * (V + H) + V * H)
            launch(&L)              # the last: the update of the weight follows, and a plan may join the two (core/fusion.pyx)
        return None if dw is None else (<object>dw).T, dc, db


cdef np.ndarray from_states(np.ndarray x, np.ndarray b, np.ndarray bias):
    """x b + bias where x are states of units, for the most part 0 or 1."""
    cdef Launch L
    cdef int64_t M = np.PyArray_DIM(x, 0), K = np.PyArray_DIM(x, 1), N = np.PyArray_DIM(b, 1), item = np.PyArray_ITEMSIZE(x)
    cdef np.ndarray c = empty_2d(M, N, np.PyArray_TYPE(x))
    begin(&L, SELECTED_MATMUL, fn_dtype_of(x))
    put(&L, 0, x)
    put(&L, 1, b)
    put(&L, 2, bias)
    put(&L, 3, c)
    L.call.size[0], L.call.size[1], L.call.size[2] = M, N, K
    L.call.size[3], L.call.size[4] = np.PyArray_STRIDE(b, 0) // item, np.PyArray_STRIDE(b, 1) // item
    L.call.flops = 2.0 * M * N * K
    L.call.bytes = <double>item * (M * K + K * N + M * N)
    launch(&L)
    return c


cdef np.ndarray hidden(np.ndarray v, np.ndarray weight, np.ndarray hbias, object generator, object sample, object energy,
                       bint gaussian):
    """Means of the hidden units given v; draws and sums of softplus where asked for."""
    cdef np.ndarray w = (<object>weight).T, x = multiply(v, w, hbias) if gaussian else from_states(v, w, hbias), mean = empty_like(x)
    run_units(BERNOULLI_UNITS, x, generator, mean, sample, energy, None, 0)
    return mean


cdef np.ndarray visible(np.ndarray h, np.ndarray weight, np.ndarray vbias, object generator, bint gaussian):
    """A draw of the visible units given h."""
    cdef np.ndarray x = from_states(h, weight, vbias), v
    if gaussian:
        return added(noise(x, generator), x)
    v = empty_like(x)
    run_units(BERNOULLI_UNITS, x, generator, None, v, None, None, 0)
    return v


cdef int half_squares(np.ndarray v, np.ndarray energy) except -1:
    """energy -= |v|^2 / 2 of every row: the part of F that the biases leave out."""
    cdef Launch L
    begin(&L, HALF_SQUARES, fn_dtype_of(v))
    put(&L, 0, v)
    put(&L, 1, energy)
    L.call.size[0], L.call.size[1] = np.PyArray_DIM(v, 0), np.PyArray_DIM(v, 1)
    return launch(&L)


def contrastive_loss(Tensor data, Tensor weight, Tensor hbias, Tensor vbias, int k, Tensor chains=None, generator=None,
                     bint gaussian=False):
    """mean F(data) - mean F(sample) of a machine with Bernoulli hidden units, the sample taken as constant.

    Parameters
    ----------
    data : Tensor (rows, visible)
    weight, hbias, vbias : Tensor (hidden, visible), (hidden,), (visible,)
    k : int
        Gibbs steps.
    chains : Tensor (chains, hidden), optional
        Hidden states to start from and to leave the last ones in; without them the chains start at the data.
    generator : Generator, default the default generator
    gaussian : bool
        Visible units of variance 1 instead of Bernoulli ones.
    """
    cdef np.ndarray v = contiguous(data.array), w = weight.array, c = contiguous(hbias.array), b = contiguous(vbias.array)
    cdef int type = np.PyArray_TYPE(v), i
    cdef int64_t rows = np.PyArray_DIM(v, 0), H = np.PyArray_DIM(w, 0), samples
    cdef np.ndarray energy = empty_1d(rows, type), h, s, p, q, sample_energy, start
    h = empty_2d(rows, H, type) if chains is None else None
    p = hidden(v, w, c, generator, h, energy, gaussian)
    start = h if chains is None else chains.array
    samples = np.PyArray_DIM(start, 0)
    sample_energy = empty_1d(samples, type)
    s, q = None, None
    for i in range(k):
        s = visible(start if i == 0 else h, w, b, generator, gaussian)
        last = i == k - 1
        h = None if last and chains is None else chains.array if last else empty_2d(samples, H, type)
        q = hidden(s, w, c, generator, h, sample_energy if last else None, gaussian)
    if gaussian:
        half_squares(v, energy)
        half_squares(s, sample_energy)
    if chains is not None:
        chains.touch()
    return finish(v, p, energy, s, q, sample_energy, b, weight, hbias, vbias)


cdef Tensor finish(np.ndarray v, np.ndarray p, np.ndarray energy, np.ndarray s, np.ndarray q, np.ndarray sample_energy,
                   np.ndarray b, Tensor weight, Tensor hbias, Tensor vbias):
    """The value of the loss and its node, from the statistics of both phases."""
    cdef Launch L
    cdef int type = np.PyArray_TYPE(v)
    cdef int64_t rows = np.PyArray_DIM(v, 0), samples = np.PyArray_DIM(s, 0), V = np.PyArray_DIM(v, 1)
    cdef np.ndarray sums = column_sums(v, rows, V), sample_sums = column_sums(s, samples, V)
    cdef np.ndarray value = empty(0, NULL, type), change = empty_1d(V, type)
    cdef ContrastBackward node
    begin(&L, CONTRAST_VALUE, fn_dtype_of(v))
    put(&L, 0, sums)
    put(&L, 1, energy)
    put(&L, 2, sample_sums)
    put(&L, 3, sample_energy)
    put(&L, 4, b)
    put(&L, 5, value)
    put(&L, 6, change)
    L.call.size[0], L.call.size[1], L.call.size[2] = rows, samples, V
    launch(&L)
    if not grad_enabled():
        return wrap(value)
    node = ContrastBackward.__new__(ContrastBackward)
    node.a, node.b, node.c, node.d, node.extra = v, p, s, q, change
    return attach_list(value, node, [weight, hbias, vbias])
