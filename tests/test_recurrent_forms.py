"""Recurrent layers: packed, transposed and empty input, states carried on from call to call, backward in pieces and twice."""
import numpy as np
import pytest
from recurrent_layers import KINDS, as_tuple, drawn, make, pair, states_for, values

import fastnn as fn
from fastnn import nn
from fastnn.nn.utils import rnn as packing

LENGTHS = [6, 4, 4, 1]


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["output", "input", "weight_ih_l0", "weight_hh_l0", "h0"])
def test_what_backward_reads_may_not_change_before(kind, what):
    layer, x, states = make(kind), fn.from_numpy(drawn(6, 4, 5)), [fn.from_numpy(s) for s in states_for(make(kind), 4)]
    output, _ = layer(x, pair(states))
    with fn.no_grad():
        {"output": output, "input": x, "h0": states[0], **dict(layer.named_parameters())}[what].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_what_backward_does_not_read_may_change(kind):
    layer, x = make(kind), fn.from_numpy(drawn(6, 4, 5))
    found = []
    for change in (False, True):
        output, last = layer(x)
        loss = output.sum() + as_tuple(last)[0].sum()
        if change:
            with fn.no_grad():
                layer.bias_ih_l0.mul_(2)
                as_tuple(last)[0].mul_(2)
        layer.zero_grad()
        loss.backward()
        found.append(values(layer.weight_hh_l0.grad).copy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 0, 5), (0, 4, 5)])
def test_empty_batch_has_gradients(kind, shape):
    layer = make(kind, num_layers=2, bidirectional=True, batch_first=shape[0] == 0)
    x = fn.from_numpy(np.zeros(shape, np.float32)).requires_grad_()
    output, last = layer(x)
    (output.sum() + as_tuple(last)[0].sum()).backward()
    assert tuple(x.grad.shape) == shape and all(not values(p.grad).any() for p in layer.parameters())


def as_parameters(layer, **arrays):
    """Replace parameters of a layer by new ones of these arrays."""
    for name, a in arrays.items():
        setattr(layer, name, nn.Parameter(fn.from_numpy(a)))
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_any_strides(kind):
    """Parameters that are every other element of something, or in the other order, count as their values do."""
    layer, x = make(kind), fn.from_numpy(drawn(6, 4, 5))
    given = {name: values(p).copy() for name, p in layer.named_parameters()}
    found = []
    for change in (lambda a: a, lambda a: np.repeat(a, 2, -1)[..., ::2], lambda a: np.repeat(a, 2, 0)[::2], np.asfortranarray):
        output, _ = as_parameters(layer, **{name: change(a) for name, a in given.items()})(x)
        layer.zero_grad()
        output.sum().backward()
        found.append([values(output), *(values(p.grad) for p in layer.parameters())])
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_allclose(a, b, 1e-5, 1e-5)


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_weights_of_another_size_or_dtype_are_refused(name):
    x = fn.from_numpy(drawn(6, 4, 5))
    for change in (lambda a: a[:-1].copy(), lambda a: a[..., :-1].copy(), lambda a: a[None]):
        layer = make("GRU")
        with pytest.raises(RuntimeError, match="GRU: expected (weight|bias)_.h of size"):
            as_parameters(layer, **{name: change(values(getattr(layer, name)))})(x)
    layer = make("GRU")
    with pytest.raises((RuntimeError, ValueError), match="dtype"):
        as_parameters(layer, **{name: values(getattr(layer, name)).astype("float64")})(x)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_cells_refuse_another_dtype(kind):
    """Kernels would read float64 where float32 lies."""
    cell, x, h = getattr(nn, kind + "Cell")(5, 7), fn.zeros(3, 5), fn.zeros(3, 7)
    for dtype in (fn.float64, fn.int64):
        with pytest.raises((RuntimeError, NotImplementedError), match="dtype|not implemented"):
            cell(x.to(dtype))
        with pytest.raises(RuntimeError, match="h_0 of dtype"):
            cell(x, (h.to(dtype), h) if kind == "LSTM" else h.to(dtype))


@pytest.mark.parametrize("options, error, message", [
    (dict(dropout=True), ValueError, "dropout should be a number"), (dict(dropout=1.5), ValueError, "dropout should be a number"),
    (dict(inputs=0), ValueError, "input_size must be greater than zero"),
    (dict(inputs=-1), ValueError, "input_size must be greater than zero"),
    (dict(inputs=2.0), TypeError, "input_size should be of type int"),
])
def test_constructor_errors(options, error, message):
    with pytest.raises(error, match=message):
        make("GRU", num_layers=2, **options)


@pytest.mark.parametrize("sizes", [[3, 2], [2, 3, 1], [3, 2, 1, 0], [4, 3, 1], []])
def test_packed_sequences_that_do_not_fit_are_refused(sizes):
    """Rows that are not there would be read."""
    packed = packing.PackedSequence(fn.zeros(6, 5), fn.tensor(sizes, dtype=fn.int64))
    with pytest.raises(RuntimeError, match="do not fit data of size"):
        make("GRU")(packed)
