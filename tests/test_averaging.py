"""Averages of weights over training."""
import numpy as np
import pytest

from fastnn.core.tensor import Parameter, from_array
from fastnn.nn.module import Module
from fastnn.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn


class Line(Module):
    def __init__(self):
        super().__init__()
        self.weight = Parameter(np.ones((2, 3)))
        self.register_buffer("seen", from_array(np.zeros(1)))

    def forward(self, x):
        return x


def values(averaged):
    return averaged.module.weight.detach().numpy()


def test_equal_weights():
    model = Line()
    averaged = AveragedModel(model)
    for value in (3, 6, 12):
        model.weight.array[...] = value
        model.seen.array[...] = value
        averaged.update_parameters(model)
    np.testing.assert_allclose(values(averaged), 7)
    assert averaged.module.seen.numpy()[0] == 12 and averaged.n_averaged.item() == 3
    assert list(averaged.state_dict()) == ["n_averaged", "module.weight", "module.seen"]


@pytest.mark.parametrize("use_buffers", [False, True])
def test_exponential_moving_average(use_buffers):
    model = Line()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(.9), use_buffers=use_buffers)
    averaged.update_parameters(model)
    model.weight.array[...] = 2
    model.seen.array[...] = 1
    averaged.update_parameters(model)
    np.testing.assert_allclose(values(averaged), 1.1)
    np.testing.assert_allclose(averaged.module.seen.numpy(), .1 if use_buffers else 1)


def test_own_function():
    model = Line()
    averaged = AveragedModel(model, avg_fn=lambda average, current, count: from_array(current.numpy() * 5))
    averaged.update_parameters(model)
    averaged.update_parameters(model)
    assert values(averaged)[0, 0] == 5
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        AveragedModel(model, avg_fn=max, multi_avg_fn=get_swa_multi_avg_fn())
    with pytest.raises(ValueError, match="Invalid decay value 2"):
        get_ema_multi_avg_fn(2)


def test_update_bn_without_batch_norm():
    update_bn([], Line())
