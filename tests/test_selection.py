"""Products whose left operand is mostly zeros or binary, against NumPy in float64: by rows, by tables of sums, dense."""
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

# Imported for what they declare: `call` finds kernels by name.
import fastnn.kernels.gemm
import fastnn.kernels.selection
import fastnn.kernels.statistics
import fastnn.kernels.update  # noqa: F401
from fastnn.kernels.native import call, instruction_set, instruction_sets

# rows, inner, columns: single elements, tails of words and vectors, several panels, more rows than a chunk, or than tables serve at a
# time; one thread alone, and two
SHAPES = [(1, 1, 1), (10, 784, 256), (100, 200, 500), (7, 13, 17), (3, 100, 65), (1300, 300, 33), (65, 0, 5), (70, 9, 3), (100, 500, 130),
          (1500, 100, 300)]
SHARES = [0, 0.02, 0.15, 0.5, 1]


def selected(x, b, bias=None, threads=1, turned=False):
    (rows, inner), columns = x.shape, b.shape[1]
    c = np.full((rows, columns), np.nan, x.dtype)
    strides = (1, inner) if turned else (columns, 1)
    call("selected_matmul", [x, np.ascontiguousarray(b.T if turned else b), bias, c], [rows, columns, inner, *strides], threads=threads)
    return c


def states(rng, shape, share, binary, dtype):
    x = (rng.random(shape) < share).astype(dtype)
    return x if binary else x * rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_product(shape, dtype):
    rng = np.random.default_rng(0)
    rows, inner, columns = shape
    b, bias = rng.standard_normal((inner, columns)).astype(dtype), rng.standard_normal(columns).astype(dtype)
    for share, binary, turned in product(SHARES, (True, False), (True, False)):
        x = states(rng, (rows, inner), share, binary, dtype)
        c = selected(x, b, bias, 1, turned)
        np.testing.assert_allclose(c, x.astype(float) @ b + bias.astype(float), rtol=0, atol=2e-4 if dtype == "float32" else 1e-12)
        assert c.tobytes() == selected(x, b, bias, 2, turned).tobytes()


def statistics(v, p, w, q, g, factors, threads=1):
    dw, dc = np.full((v.shape[1], p.shape[1]), np.nan, v.dtype), np.full(p.shape[1], np.nan, v.dtype)
    sizes = [len(v), len(w), v.shape[1], p.shape[1]]
    call("contrast_statistics", [v, p, w, q, g, dw, dc], sizes, factors, threads=threads)
    return dw, dc


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (10, 10, 784, 256), (100, 100, 784, 130), (7, 9, 13, 17), (5, 130, 100, 65),
                                   (301, 2, 33, 300), (3, 5, 70, 9), (900, 1000, 300, 70), (3, 5, 9000, 9)], ids=str)
def test_statistics(shape, dtype):
    rng = np.random.default_rng(1)
    rows, samples, visible, hidden = shape
    p, q = rng.random((rows, hidden)).astype(dtype), rng.random((samples, hidden)).astype(dtype)
    g, factors = np.array([1.5], dtype), (-0.5, 0.25)
    for share, binary in product(SHARES, (True, False)):
        v = states(rng, (rows, visible), share, binary, dtype)
        w = states(rng, (samples, visible), share / 2, True, dtype)
        ours = statistics(v, p, w, q, g, factors)
        exact = (-0.75 * (v.T.astype(float) @ p) + 0.375 * (w.T.astype(float) @ q),
                 -0.75 * p.sum(0, dtype=float) + 0.375 * q.sum(0, dtype=float))
        for found, expected, again in zip(ours, exact, statistics(v, p, w, q, g, factors, 2), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 if dtype == "float32" else 1e-11)
            assert found.tobytes() == again.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (10, 10, 784, 256), (100, 100, 784, 130), (7, 9, 13, 17), (301, 2, 33, 300),
                                   (3, 5, 70, 9), (900, 1000, 300, 70), (2, 2, 9, 5000), (3, 5, 9000, 9)], ids=str)
def test_a_step_by_the_statistics_has_the_bits_of_both(shape, dtype):
    """Few ones step from registers, more rows than a stretch by the gradient's memory before that, many values by the dense product."""
    rng = np.random.default_rng(3)
    rows, samples, visible, hidden = shape
    p, q = rng.random((rows, hidden)).astype(dtype), rng.random((samples, hidden)).astype(dtype)
    g, factors, size = np.array([1.5], dtype), (-0.5, 0.25), visible * hidden
    for share, binary, decay, maximize in product((0, 0.1, 1), (True, False), (0, 0.1), (0, 1)):
        v, w = states(rng, (rows, visible), share, binary, dtype), states(rng, (samples, visible), share, True, dtype)
        hyper = np.array([0.3, decay, maximize])
        start = rng.standard_normal((visible, hidden)).astype(dtype)
        start[0] = -0.0
        weight = start.copy()
        dw, dc = statistics(v, p, w, q, g, factors)
        call("sgd", [weight, dw, hyper], [size])
        for threads in (1, 2):
            ours, ours_dc, sizes = start.copy(), np.empty_like(dc), [rows, samples, visible, hidden]
            call("contrast_step", [v, p, w, q, g, ours, ours_dc, hyper], sizes, factors, threads=threads)
            assert ours.tobytes() == weight.tobytes() and ours_dc.tobytes() == dc.tobytes()


def test_a_rate_that_is_not_finite_reaches_every_weight():
    v, p = np.zeros((2, 30), np.float32), np.ones((2, 8), np.float32)
    weight, hyper = np.ones((30, 8), np.float32), np.zeros(3)
    hyper[0] = np.inf
    call("contrast_step", [v, p, v, p, np.ones(1, np.float32), weight, None, hyper], [2, 2, 30, 8], (1.0, 1.0))
    assert np.isnan(weight).all()


def test_few_ones_give_the_bits_of_the_dense_product():
    """Adding the selected rows in order is the dense chain with its zeros left out."""
    rng = np.random.default_rng(2)
    b = rng.standard_normal((784, 500)).astype(np.float32)
    for binary in (True, False):
        x, dense = states(rng, (100, 784), 0.1, binary, "float32"), np.empty((100, 500), np.float32)
        call("matmul", [x, b, None, dense], [100, 500, 784, 784, 1, 500, 1, 500, 1])
        if instruction_set() == "amx":      # whose dense product is other sums
            np.testing.assert_allclose(selected(x, b), dense, rtol=1e-5, atol=1e-5)
        else:
            assert selected(x, b).tobytes() == dense.tobytes()


def test_zeros_are_skipped_and_nan_is_not():
    x, b = np.zeros((2, 50), np.float32), np.ones((50, 3), np.float32)
    b[7] = np.inf
    assert (selected(x, b) == 0).all()
    x[1, 3] = np.nan
    c = selected(x, b)
    assert (c[0] == 0).all() and np.isnan(c[1]).all()


@pytest.mark.parametrize("isa", [s for s in instruction_sets() if s != instruction_set()])
def test_other_instruction_sets(isa):
    chosen = [__file__, "-q", "-k", "product or statistics or zeros or rate", "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, "-m", "pytest", *chosen], env={**os.environ, "FASTNN_ISA": isa}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
