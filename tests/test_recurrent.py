"""RNN, LSTM, GRU and their cells: NumPy loops, torch, finite differences, packing, states, streaming, plans, threads."""
import itertools

import numpy as np
import pytest

import fastnn as fn
from fastnn import nn
from fastnn.nn.utils import rnn as packing

torch = None
try:
    import torch
except ImportError:
    pass
needs_torch = pytest.mark.skipif(torch is None, reason="torch is the reference, and is not installed")

KINDS = ["RNN", "RNN relu", "LSTM", "LSTM projected", "GRU"]
LENGTHS = [6, 4, 4, 1]


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


def options(kind):
    name, *variant = kind.split()
    more = {"relu": {"nonlinearity": "relu"}, "projected": {"proj_size": 3}}
    return name, (more[variant[0]] if variant else {})


def make(kind, inputs=5, hidden=7, seed=0, library=nn, **more):
    name, fixed = options(kind)
    fn.manual_seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
    return getattr(library, name)(inputs, hidden, **fixed, **more)


def values(t):
    return t.detach().numpy()


def drawn(*shape, dtype="float32", seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def as_tuple(states):
    return states if isinstance(states, tuple) else (states,)


def states_for(layer, batch, dtype="float32", seed=2):
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    wide = [layer.proj_size or layer.hidden_size] + [layer.hidden_size] * (layer.mode == "LSTM")
    return [drawn(count, batch, w, dtype=dtype, seed=seed + i) for i, w in enumerate(wide)]


def pair(states):
    return tuple(states) if len(states) == 2 else states[0]


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


# ---- forms of input -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_is_each_sequence_alone(kind, bidirectional):
    layer = make(kind, num_layers=2, bidirectional=bidirectional)
    x, states = drawn(6, 4, 5), states_for(layer, 4)
    packed, last = layer(packing.pack_padded_sequence(fn.from_numpy(x), LENGTHS), pair([fn.from_numpy(s) for s in states]))
    padded, lengths = packing.pad_packed_sequence(packed)
    assert lengths.tolist() == LENGTHS
    for b, length in enumerate(LENGTHS):
        alone, ends = layer(fn.from_numpy(x[:length, b:b + 1]), pair([fn.from_numpy(s[:, b:b + 1].copy()) for s in states]))
        np.testing.assert_allclose(values(padded[:length, b:b + 1]), values(alone), atol=1e-6)
        assert not values(padded[length:, b]).any()
        for a, e in zip(as_tuple(last), as_tuple(ends)):
            np.testing.assert_allclose(values(a[:, b:b + 1]), values(e), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_of_equal_lengths_is_padded(kind):
    layer, x = make(kind, num_layers=2), fn.from_numpy(drawn(6, 4, 5))
    packed, last = layer(packing.pack_padded_sequence(x, [6] * 4))
    whole, ends = layer(x)
    np.testing.assert_array_equal(values(packing.pad_packed_sequence(packed)[0]), values(whole))
    for a, e in zip(as_tuple(last), as_tuple(ends)):
        np.testing.assert_array_equal(values(a), values(e))


def test_packing_there_and_back():
    sequences = [fn.from_numpy(drawn(n, 2, seed=n)) for n in (2, 5, 1)]
    padded = packing.pad_sequence(sequences, padding_value=9.0)
    assert tuple(padded.shape) == (5, 3, 2) and (values(padded)[1:, 2] == 9).all()
    packed = packing.pack_sequence(sequences, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1, 1] and packed.sorted_indices.tolist() == [1, 0, 2]
    for a, b in zip(packing.unpack_sequence(packed), sequences):
        np.testing.assert_array_equal(values(a), values(b))
    again, lengths = packing.pad_packed_sequence(packed, batch_first=True, total_length=7)
    assert tuple(again.shape) == (3, 7, 2) and lengths.tolist() == [2, 5, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_forms_agree(kind):
    """Batch first, without a batch, transposed and strided input: the same numbers."""
    layer, x = make(kind), drawn(6, 4, 5)
    whole = values(layer(fn.from_numpy(x))[0])
    first = make(kind, batch_first=True)
    np.testing.assert_array_equal(values(first(fn.from_numpy(x).transpose(0, 1))[0]).swapaxes(0, 1), whole)
    wide = np.zeros((12, 4, 10), np.float32)
    wide[::2, :, ::2] = x
    np.testing.assert_array_equal(values(layer(fn.from_numpy(wide)[::2, :, ::2])[0]), whole)
    alone, last = layer(fn.from_numpy(x[:, 2]))
    assert tuple(alone.shape) == whole[:, 2].shape and all(s.dim() == 2 for s in as_tuple(last))
    np.testing.assert_allclose(values(alone), whole[:, 2], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows(kind):
    output, last = make(kind)(fn.zeros(3, 0, 5))
    assert output.shape[:2] == (3, 0) and as_tuple(last)[0].shape[1] == 0


# ---- states carried on --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 4])
def test_streaming_is_the_whole_sequence(kind, batch):
    layer, x = make(kind, num_layers=2), fn.from_numpy(drawn(6, batch, 5))
    whole, ends = layer(x)
    state = None
    with fn.no_grad():
        for t in range(6):
            output, state = layer(x[t:t + 1], state)
            np.testing.assert_allclose(values(output[0]), values(whole[t]), atol=1e-6)
    for a, e in zip(as_tuple(state), as_tuple(ends)):
        np.testing.assert_allclose(values(a), values(e), atol=1e-6)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("turned", [False, True])
def test_streaming_in_a_row_is_one_thread_alone(kind, turned):
    """Steps close behind each other are shared by two threads; (out, in) memory of the weights goes another way."""
    layer, x = make(kind, 64, 136), fn.from_numpy(drawn(60, 1, 64))
    if turned:
        for p in layer.parameters():
            p.data = fn.from_numpy(np.ascontiguousarray(values(p)))
    before, found = fn.get_num_threads(), []
    try:
        for threads in (1, 2):
            fn.set_num_threads(threads)
            state, outputs = None, []
            with fn.no_grad():
                for t in range(60):
                    output, state = layer(x[t:t + 1], state)
                    outputs.append(output)
            found.append(np.concatenate([values(o) for o in outputs]))
    finally:
        fn.set_num_threads(before)
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(found[0], values(layer(x)[0]))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_cell_is_one_step_of_the_layer(name):
    layer, cell = make(name), getattr(nn, name + "Cell")(5, 7)
    for p, q in zip(cell.parameters(), layer.parameters()):
        p.data.copy_(q.data)
    x, state = fn.from_numpy(drawn(6, 3, 5)), None
    whole = values(layer(x)[0])
    for t in range(6):
        state = cell(x[t], state)
        np.testing.assert_allclose(values(as_tuple(state)[0]), whole[t], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_backpropagation(kind):
    """After detach() the gradients are those of the second half alone."""
    layer, x = make(kind), drawn(6, 2, 5)
    early, state = layer(fn.from_numpy(x[:3]))
    state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
    layer(fn.from_numpy(x[3:]), state)[0].sum().backward()
    grads = [p.grad.numpy().copy() for p in layer.parameters()]
    layer.zero_grad()
    fresh = pair([fn.from_numpy(values(s).copy()) for s in as_tuple(state)])
    layer(fn.from_numpy(x[3:]), fresh)[0].sum().backward()
    for g, p in zip(grads, layer.parameters()):
        np.testing.assert_array_equal(g, p.grad.numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_backward_twice(kind):
    layer, x = make(kind, num_layers=2, bidirectional=True), fn.from_numpy(drawn(5, 3, 5)).requires_grad_()
    loss = (layer(x)[0] ** 2).sum()
    found = []
    for keep in (True, False):
        layer.zero_grad()
        x.grad = None
        loss.backward(retain_graph=keep)
        found.append([t.grad.numpy().copy() for t in (x, *layer.parameters())])
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)


# ---- one result, however it is computed ---------------------------------------------------------------------------
def trained(kind, threads, steps=19, batch=70, inputs=33, hidden=48):
    before = fn.get_num_threads()
    fn.set_num_threads(threads)
    try:
        layer, x = make(kind, inputs, hidden, bidirectional=True), fn.from_numpy(drawn(steps, batch, inputs)).requires_grad_()
        output, last = layer(x)
        ((output ** 2).sum() + sum(s.sum() for s in as_tuple(last))).backward()
        return [values(output), *(values(s) for s in as_tuple(last)), *(t.grad.numpy() for t in (x, *layer.parameters()))]
    finally:
        fn.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_do_not_change_a_bit(kind):
    for a, b in zip(trained(kind, 1), trained(kind, 2)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("lengths", [[40], [40] * 6, [40, 31, 31, 7, 1], [12] * 20])
def test_threads_share_the_units_of_few_rows(kind, lengths):
    """One block of rows: two threads meet in every step; and what is kept for backward changes nothing."""
    layer, found = make(kind, 33, 272, bidirectional=True), []
    x = packing.pack_padded_sequence(fn.from_numpy(drawn(lengths[0], len(lengths), 33)), lengths)
    before = fn.get_num_threads()
    try:
        for threads, recording in itertools.product((1, 2, 3), (True, False)):
            fn.set_num_threads(threads)
            with fn.set_grad_enabled(recording):
                output, last = layer(x)
            found.append([values(output.data), *(values(s) for s in as_tuple(last))])
    finally:
        fn.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)
    alone = layer(fn.from_numpy(drawn(lengths[0], len(lengths), 33)[:, :1].copy()))[0]
    padded = packing.pad_packed_sequence(packing.PackedSequence(fn.from_numpy(found[0][0]), x.batch_sizes))[0]
    np.testing.assert_array_equal(values(alone[:, 0]), values(padded[:, 0]))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("steps, inputs, hidden, dtype, bias", [
    (40, 33, 128, "float32", True), (17, 5, 64, "float32", False), (16, 300, 192, "float32", True), (23, 64, 96, "float64", True)])
def test_one_row_has_the_bits_of_two(kind, steps, inputs, hidden, dtype, bias):
    """A row alone multiplies the input side of steps to come beside the hidden side of this one."""
    layer = make(kind, inputs, hidden, bias=bias, bidirectional=True, dtype=dtype)
    x, states = drawn(steps, 2, inputs, dtype=dtype), states_for(layer, 2, dtype)
    before = fn.get_num_threads()

    def run(rows):
        with fn.no_grad():
            output, last = layer(fn.from_numpy(x[:, :rows].copy()), pair([fn.from_numpy(s[:, :rows].copy()) for s in states]))
        return [values(t)[:, :1] for t in (output, *as_tuple(last))]
    both = run(2)
    try:
        for threads in (1, 2, 3):
            fn.set_num_threads(threads)
            for a, b in zip(run(1), both):
                np.testing.assert_array_equal(a, b)
    finally:
        fn.set_num_threads(before)
    x[steps - 2, 0, 1] = np.nan         # goes where the steps from there on go, not to those before
    there = np.isnan(run(1)[0][:, 0])
    assert there[steps - 2:, :hidden].all() and there[:steps - 1, hidden:].all() and there.sum() == (steps + 1) * hidden


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_its_batch(kind):
    layer, x = make(kind, 33, 48), drawn(9, 70, 33)
    whole = values(layer(fn.from_numpy(x))[0])
    for rows in (slice(0, 1), slice(3, 8), slice(11, 52), slice(69, 70)):
        np.testing.assert_array_equal(values(layer(fn.from_numpy(x[:, rows].copy()))[0]), whole[:, rows])


class Reader(nn.Module):
    """Reads a sequence and judges it by its last step."""

    def __init__(self, kind, dropout=0.0):
        super().__init__()
        self.rnn = make(kind, num_layers=2, bidirectional=True, dropout=dropout)
        self.head = nn.Linear((3 if "projected" in kind else 7) * 2, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_step_is_the_eager_step(kind):
    x, y = fn.from_numpy(drawn(6, 4, 5)), fn.tensor([0, 2, 1, 1])
    found = []
    for compiled in (False, True):
        fn.manual_seed(0)
        model = Reader(kind)
        optimizer, criterion = fn.optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
        step = fn.compile(model, criterion, optimizer) if compiled else None
        losses = []
        for k in range(5):
            batch = x * (1 + 0.1 * k)
            if compiled:
                losses.append(float(step(batch, y)))
            else:
                optimizer.zero_grad()
                loss = criterion(model(batch), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        found.append((losses, [values(p).copy() for p in model.parameters()]))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1]):
        np.testing.assert_array_equal(a, b)


def test_compiled_forward_of_new_values():
    layer = make("LSTM")
    plan = fn.compile(layer)
    with fn.no_grad():
        for seed in range(4):
            x = fn.from_numpy(drawn(6, 4, 5, seed=seed))
            np.testing.assert_array_equal(values(plan(x)[0]), values(layer(x)[0]))


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
