"""The gradients of a recurrent layer's weights: pieces of both matrices, groups of strips read in place or copied, steps from h0."""
import numpy as np
import pytest

import fastnn.ops.recurrent  # noqa: F401  declares the kernel
from fastnn.kernels.native import call

# steps, batch, inputs, hidden, columns, distance of rows of the output
SHAPES = {
    "narrow": (5, 3, 4, 7, 7, 7),
    "in place": (30, 8, 33, 48, 192, 96),
    "copied, far rows, in pieces": (9, 25, 300, 272, 1088, 544),
    "wide, a short last group": (3, 70, 20, 400, 1609, 400),
    "one step": (1, 40, 260, 260, 70, 260),
    "two steps of many rows": (2, 230, 5, 9, 27, 18),
    "inputs alone far": (4, 50, 513, 16, 64, 32),
    "by parts where there are": (7, 64, 70, 160, 640, 320),
    "by parts, ragged": (5, 37, 3, 131, 393, 131),
}


def drawn(seed, *shape, dtype):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def gradients(shape, dtype, two_sides, reverse, whole, biases, threads):
    steps, batch, inputs, hidden, columns, stride = SHAPES[shape]
    rows, own = steps * batch, columns // 3
    x, states = drawn(1, rows, inputs, dtype=dtype), drawn(2, rows, hidden if whole else stride, dtype=dtype)
    h0, dgates, dhidden = (drawn(3 + i, n, m, dtype=dtype) for i, (n, m) in enumerate([(batch, hidden), (rows, columns), (rows, own)]))
    found = [np.full((inputs, columns), 7, dtype), np.full((hidden, columns), 7, dtype)]
    found += [np.full(columns, 7, dtype), np.full(columns, 7, dtype)] if biases else [None, None]
    call("recurrent_weights", [x, states, h0, dgates, dhidden if two_sides else None, *found],
         [rows, batch, inputs, hidden, columns, reverse, stride, whole, own], dtype=dtype, threads=threads)
    before = states[:, :hidden]
    if not whole:
        before = np.concatenate([before[batch:], h0] if reverse else [h0, before[:-batch]])
    other = np.concatenate([dgates[:, :columns - own], dhidden], axis=1) if two_sides else dgates
    exact = [x.T.astype("float64") @ dgates, before.T.astype("float64") @ other, dgates.sum(0, "float64"), other.sum(0, "float64")]
    return found, exact


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reverse, whole", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("two_sides", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_with_the_states_before(shape, two_sides, reverse, whole, dtype):
    found, exact = gradients(shape, dtype, two_sides, reverse, whole, True, 1)
    for f, e in zip(found, exact, strict=True):
        np.testing.assert_allclose(f, e, rtol=0, atol=(2e-6 if dtype == "float32" else 4e-15) * max(1, np.abs(e).max()))


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("two_sides", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_threads_do_not_change_a_bit(shape, two_sides, biases):
    one, two = (gradients(shape, "float32", two_sides, False, False, biases, threads)[0] for threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
