"""Tensors that share memory: who notices an in-place change, and where its gradient goes, as in torch."""
import pytest

import fastnn as fn


def test_changes_through_data_are_not_counted():
    x = fn.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    before = x._version
    x.data.add_(1)
    x.data[0].mul_(2)
    assert x._version == before and x.tolist() == [4, 3]
    y.backward()            # the rule sees the changed values, which is what `.data` asks for
    assert x.grad.tolist() == [8, 6]
    z = (x * x).sum()
    with fn.no_grad():
        x.detach().add_(1)
    assert x._version == before + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_data_as_it_was_keeps_its_counter():
    x = fn.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    x.data = x.data
    with fn.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
