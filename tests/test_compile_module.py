"""Compiled modules: inference, and forward and backward as one node of the tape."""
import numpy as np
from compile_runs import assert_equal_runs, batches, classifier, optimizer_for

import fastnn
from fastnn import nn


def test_inference_equals_eager_and_keeps_its_results():
    fastnn.manual_seed(0)
    model, data = classifier().eval(), batches(8)
    compiled = fastnn.compile(model)
    with fastnn.no_grad():
        results = [compiled(x) for x, _ in data]
        for (x, _), y in zip(data, results):
            np.testing.assert_array_equal(model(x).numpy(), y.numpy())
        assert compiled(data[0][0].numpy()).shape == (24, 5)


def test_inference_with_several_inputs_and_outputs():
    class Pair(nn.Module):
        def forward(self, a, b):
            return {"sum": a + b, "list": [a * b, (a - b).tanh()]}
    compiled = fastnn.compile(Pair(), fullgraph=True)
    a, b = fastnn.randn(3, 4), fastnn.randn(3, 4)
    with fastnn.no_grad():
        for _ in range(5):
            answer = compiled(a, b)
            np.testing.assert_array_equal(answer["sum"].numpy(), (a + b).numpy())
            np.testing.assert_array_equal(answer["list"][1].numpy(), (a - b).tanh().numpy())


def test_module_forward_and_backward_as_one_node():
    """User-written loop over a compiled module: gradients of parameters and inputs equal eager's."""
    def run(compiled):
        fastnn.manual_seed(0)
        model = classifier()
        call = fastnn.compile(model, fullgraph=True) if compiled else model
        opt, gradients, losses = optimizer_for(model, "SGD"), [], []
        for x, y in batches(8):
            x = fastnn.from_numpy(x.numpy()).requires_grad_()
            opt.zero_grad()
            loss = nn.functional.cross_entropy(call(x * 2), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
            gradients.append(x.grad.numpy().copy())
        return losses, {**{k: v.numpy().copy() for k, v in model.state_dict().items()}, **dict(enumerate(gradients))}
    assert_equal_runs(run(False), run(True))


def test_two_forwards_before_a_backward():
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 1))
    call = fastnn.compile(model, fullgraph=True)
    data = [x for x, _ in batches(2)]
    for _ in range(6):
        model.zero_grad()
        (call(data[0]).sum() + 3 * call(data[1]).sum()).backward()
        found = [p.grad.numpy().copy() for p in model.parameters()]
        model.zero_grad()
        (model(data[0]).sum() + 3 * model(data[1]).sum()).backward()
        for a, p in zip(found, model.parameters()):
            np.testing.assert_allclose(a, p.grad.numpy(), rtol=1e-5, atol=1e-6)
