"""RNN, LSTM, GRU and their cells against NumPy loops, torch and finite differences; dropout; what they refuse."""
import itertools

import numpy as np
import pytest
from recurrent_layers import KINDS, as_tuple, drawn, make, pair, states_for, torch, values

import fastnn as fn
from fastnn import nn
from fastnn.nn.utils import rnn as packing

needs_torch = pytest.mark.skipif(torch is None, reason="torch is the reference, and is not installed")


@pytest.fixture(autouse=True)
def torch_on_one_thread():
    """Its spinning workers would slow the tests tenfold on a small machine."""
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- against plain NumPy ------------------------------------------------------------------------------------------
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def one_step(kind, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr=None):
    a, b = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
    if kind.startswith("RNN"):
        return (np.maximum(a + b, 0) if "relu" in kind else np.tanh(a + b)), c
    if kind == "GRU":
        (r, z, n), (hr, hz, hn) = np.split(a, 3, 1), np.split(b, 3, 1)
        update = sigmoid(z + hz)
        return (1 - update) * np.tanh(n + sigmoid(r + hr) * hn) + update * h, c
    i, f, g, o = np.split(a + b, 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h if w_hr is None else h @ w_hr.T), c


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps, batch, inputs, hidden", [(6, 4, 5, 7), (1, 1, 1, 4), (3, 37, 33, 65), (20, 17, 8, 16)])
def test_numpy_loop(kind, steps, batch, inputs, hidden, dtype, tolerance):
    layer = make(kind, inputs, hidden, dtype=getattr(fn, dtype))
    weights = [values(p) for p in layer.parameters()]
    x, states = drawn(steps, batch, inputs, dtype=dtype), states_for(layer, batch, dtype)
    h, c = states[0][0], states[-1][0]
    found, last = layer(fn.from_numpy(x), pair([fn.from_numpy(s) for s in states]))
    for t in range(steps):
        h, c = one_step(kind, x[t], h, c, *weights)
        np.testing.assert_allclose(values(found[t]), h, rtol=0, atol=20 * tolerance)
    last = as_tuple(last)
    np.testing.assert_allclose(values(last[0])[0], h, rtol=0, atol=20 * tolerance)
    if layer.mode == "LSTM":
        np.testing.assert_allclose(values(last[1])[0], c, rtol=0, atol=40 * tolerance)


# ---- against torch ------------------------------------------------------------------------------------------------
def compare(ours, theirs, run):
    """Outputs, states, and the gradients of everything under one random upstream gradient."""
    leaves, sums = [], []
    for library, layer in ((fn, ours), (torch, theirs)):
        inputs, outputs = run(library, layer)
        sums.append([values(o) for o in outputs])
        loss = sum((o * library.from_numpy(drawn(*o.shape, dtype=values(o).dtype, seed=50 + i))).sum()
                   for i, o in enumerate(outputs))
        loss.backward()
        leaves.append([p.grad.numpy() for p in [*inputs, *layer.parameters()]])
    tolerance = 1e-12 if sums[0][0].dtype == np.float64 else 2e-5
    for a, b in zip(sums[0] + leaves[0], sums[1] + leaves[1]):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max()))


@needs_torch
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers, bidirectional", [(1, False), (1, True), (2, False), (2, True)])
def test_every_option_as_torch(kind, layers, bidirectional):
    for bias, batch_first, given, form, dtype in itertools.product(
            (True, False), (True, False), (True, False), ("batch", "single", "packed"), ("float32", "float64")):
        more = dict(num_layers=layers, bidirectional=bidirectional, bias=bias, batch_first=batch_first)
        ours, theirs = make(kind, **more), make(kind, library=torch.nn, **more)
        assert repr(ours) == repr(theirs)
        if dtype == "float64":
            ours, theirs = ours.double(), theirs.double()
        for (name, p), (other, q) in zip(ours.named_parameters(), theirs.named_parameters()):
            assert name == other
            np.testing.assert_array_equal(values(p), values(q))
        batch = 1 if form == "single" else 4
        x = drawn(6, batch, 5, dtype=dtype)
        if form == "single":
            x = x[:, 0]
        elif batch_first:
            x = np.ascontiguousarray(x.swapaxes(0, 1))
        states = [s[:, 0] if form == "single" else s for s in states_for(ours, batch, dtype)] if given else []

        def run(library, layer, x=x, states=states, form=form, batch_first=batch_first):
            inputs = [library.from_numpy(a.copy()).requires_grad_() for a in [x, *states]]
            sequence, rnn = inputs[0], library.nn.utils.rnn
            if form == "packed":
                sequence = rnn.pack_padded_sequence(sequence, [4, 6, 1, 4], batch_first=batch_first, enforce_sorted=False)
            output, last = layer(sequence, pair(inputs[1:])) if states else layer(sequence)
            if form == "packed":
                output = rnn.pad_packed_sequence(output, batch_first=batch_first)[0]
            return inputs, [output, *as_tuple(last)]

        compare(ours, theirs, run)


@needs_torch
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_as_torch(name):
    for bias, given, single, dtype in itertools.product((True, False), (True, False), (True, False), ("float32", "float64")):
        fn.manual_seed(0)
        torch.manual_seed(0)
        ours, theirs = getattr(nn, name)(5, 7, bias=bias), getattr(torch.nn, name)(5, 7, bias=bias)
        assert repr(ours) == repr(theirs)
        if dtype == "float64":
            ours, theirs = ours.double(), theirs.double()
        x = drawn(5, dtype=dtype) if single else drawn(9, 5, dtype=dtype)
        states = [drawn(*x.shape[:-1], 7, dtype=dtype, seed=s) for s in range(2 if name == "LSTMCell" else 1)] if given else []

        def run(library, layer, x=x, states=states):
            inputs = [library.from_numpy(a.copy()).requires_grad_() for a in [x, *states]]
            return inputs, list(as_tuple(layer(inputs[0], pair(inputs[1:])) if states else layer(inputs[0])))

        compare(ours, theirs, run)


@needs_torch
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_not_a_number_goes_where_torchs_goes(kind):
    x = drawn(5, 3, 5)
    x[2, 1, 0] = np.nan
    x[3, 0, 1] = np.inf
    found, expected = (values(make(kind, library=library.nn)(library.from_numpy(x))[0]) for library in (fn, torch))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.isnan(found[2:, 1]).all() and not np.isnan(found[:, 2]).any()


# ---- gradients by finite differences ------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_gradients(kind, packed):
    layer = make(kind, 2, 4, bidirectional=True, dtype=fn.float64)
    inputs = [fn.from_numpy(a).requires_grad_() for a in [drawn(3, 2, 2, dtype="float64"), *states_for(layer, 2, "float64")]]

    def run(x, *rest):
        sequence = packing.pack_padded_sequence(x, [3, 2]) if packed else x
        output, last = layer(sequence, pair(rest[:len(inputs) - 1]))
        return (output.data if packed else output, *as_tuple(last))

    assert fn.autograd.gradcheck(run, (*inputs, *layer.parameters()))


def test_dropout_between_layers_only_in_training():
    layer, x = make("GRU", num_layers=2, dropout=0.5), fn.from_numpy(drawn(6, 4, 5))
    a, b = (values(layer(x)[0]) for _ in range(2))
    assert not np.array_equal(a, b)
    layer.eval()
    np.testing.assert_array_equal(values(layer(x)[0]), values(make("GRU", num_layers=2)(x)[0]))
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        nn.LSTM(3, 4, dropout=0.1)


# ---- bad input ----------------------------------------------------------------------------------------------------
def bad_states(layer, batch=4):
    return pair([fn.from_numpy(s) for s in states_for(layer, batch)])


@pytest.mark.parametrize("run, error, words", [
    (lambda m: m(fn.zeros(6, 4, 6)), RuntimeError, "input.size(-1) must be equal to input_size. Expected 5, got 6"),
    (lambda m: m(fn.zeros(6, 4, 2, 5)), ValueError, "Expected input to be 2D or 3D, got 4D"),
    (lambda m: m(fn.zeros(6, 3, 5), bad_states(m)), RuntimeError, "Expected hidden[0] size (1, 3, 7), got [1, 4, 7]"),
    (lambda m: m(fn.zeros(6, 5), bad_states(m)), RuntimeError, "hx and cx should also be 2-D but got (3-D, 3-D) tensors"),
    (lambda m: m(fn.zeros(0, 4, 5)), RuntimeError, "Expected sequence length to be larger than 0 in RNN"),
    (lambda m: m(fn.zeros(6, 4, 5, dtype=fn.float64)), ValueError, "does not match weight dtype"),
    (lambda m: packing.pack_padded_sequence(fn.zeros(6, 3, 5), [3, 4, 1]), RuntimeError, "must be sorted in decreasing order"),
    (lambda m: packing.pack_padded_sequence(fn.zeros(6, 3, 5), [3, 2, 0]), RuntimeError, "greater than 0, but found"),
    (lambda m: packing.pack_padded_sequence(fn.zeros(6, 3, 5), [3, 2]), RuntimeError, "`len(lengths)` to be equal to batch_size"),
    (lambda m: nn.LSTMCell(5, 7)(fn.zeros(2, 6)), RuntimeError, "input has inconsistent input_size: got 6 expected 5"),
    (lambda m: nn.GRUCell(5, 7)(fn.zeros(2, 5), fn.zeros(3, 7)), RuntimeError, "Input batch size 2 doesn't match hidden0 batch size 3"),
    (lambda m: nn.GRUCell(5, 7)(fn.zeros(2, 5), fn.zeros(2, 6)), RuntimeError, "hidden0 has inconsistent hidden_size: got 6, expected 7"),
    (lambda m: nn.LSTM(5, 0), ValueError, "hidden_size must be greater than zero"),
    (lambda m: nn.LSTM(5, 4, proj_size=4), ValueError, "proj_size has to be smaller than hidden_size"),
    (lambda m: nn.RNN(5, 4, nonlinearity="elu"), ValueError, "Unknown nonlinearity 'elu'. Select from 'tanh' or 'relu'."),
])
def test_bad_input(run, error, words):
    with pytest.raises(error) as found:
        run(make("LSTM"))
    assert words in str(found.value)
