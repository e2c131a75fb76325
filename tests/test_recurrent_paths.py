"""Recurrent layers give one result, however it is computed: by more threads, in another batch, recorded, in a plan."""
import itertools

import numpy as np
import pytest
from recurrent_layers import KINDS, as_tuple, drawn, make, pair, states_for, values

import fastnn as fn
from fastnn import nn
from fastnn.nn.utils import rnn as packing


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


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("lengths", [[9] * 20, [9] * 70, [11] * 5 + [8] * 40 + [3] * 24 + [1]])
def test_threads_share_the_units_backward(kind, lengths):
    """A block of rows that the threads share by its units, with weights beyond the second-level cache: the gradients of one thread."""
    layer, found, before = make(kind, 33, 300, bidirectional=True), [], fn.get_num_threads()
    x = drawn(lengths[0], len(lengths), 33)

    def gradients(rows):
        states = [fn.from_numpy(s[:, :rows].copy()).requires_grad_() for s in states_for(layer, len(lengths))]
        layer.zero_grad()
        output, last = layer(packing.pack_padded_sequence(fn.from_numpy(x[:, :rows].copy()), lengths[:rows]), pair(states))
        ((output.data ** 2).sum() + sum((s ** 3).sum() for s in as_tuple(last))).backward()
        return [s.grad.numpy() for s in states], [p.grad.numpy() for p in layer.parameters()]
    try:
        for threads in (1, 2, 3):
            fn.set_num_threads(threads)
            found.append(gradients(len(lengths)))
    finally:
        fn.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(sum(found[0], []), sum(other, []), strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(found[0][0], gradients(19)[0], strict=True):        # sequences do not know of each other
        np.testing.assert_allclose(a[:, :19], b, rtol=0, atol=1e-5 * np.abs(b).max())


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
