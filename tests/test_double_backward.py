"""Gradients of gradients: every rule against torch in float64, chains of them, and where they go."""
import numpy as np
import pytest

import fastnn as fn
from fastnn import nn


def drawn(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


X, POSITIVE, UNIT = drawn(4, 6), drawn(4, 6, low=0.3), drawn(4, 6, low=0.1, high=0.9)
W = drawn(4, 6, seed=1)

# name: (function of the library and the inputs, the inputs)
CASES = {
    **{name: (lambda m, x, name=name: getattr(x, name)(), (X,)) for name in (
        "sigmoid", "tanh", "relu", "exp", "expm1", "exp2", "square", "neg", "abs", "sin", "cos", "tan", "sinh", "cosh", "asinh", "atan",
        "erf", "erfc", "sign", "floor", "mean", "sum", "t", "reciprocal")},
    **{name: (lambda m, x, name=name: getattr(x, name)(), (POSITIVE,)) for name in (
        "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "lgamma")},
    **{name: (lambda m, x, name=name: getattr(x, name)(), (UNIT,)) for name in ("asin", "acos", "atanh")},
    **{name: (lambda m, x, name=name: getattr(m.nn.functional, name)(x), (X,)) for name in (
        "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardtanh", "hardswish", "softplus", "softsign",
        "softshrink", "hardshrink", "tanhshrink", "logsigmoid", "relu6", "glu")},
    "acosh": (lambda m, x: (x + 1).acosh(), (POSITIVE,)),
    "gelu_tanh": (lambda m, x: m.nn.functional.gelu(x, approximate="tanh"), (X,)),
    "threshold": (lambda m, x: m.nn.functional.threshold(x, 0.1, 0.3), (X,)),
    "clamp": (lambda m, x: x.clamp(-1, 1), (X,)),
    "prelu": (lambda m, x, w: m.nn.functional.prelu(x, w), (X, drawn(6))),
    "add": (lambda m, x, y: (x + y) * (x + 2), (X, W)),
    "add broadcast": (lambda m, x, y: (x + y) * y, (X, drawn(6))),
    "sub": (lambda m, x, y: (x - y) * (3 - y) * x, (X, drawn(4, 1))),
    "mul": (lambda m, x, y: x * y, (X, drawn(1, 6))),
    "div": (lambda m, x, y: x / y, (X, POSITIVE)),
    "div numbers": (lambda m, x: x / 3 + 2 / x, (POSITIVE,)),
    "pow": (lambda m, x: x ** 3 + x ** 0.7 + 2.0 ** x + x ** -1, (POSITIVE,)),
    "pow of tensors": (lambda m, x, y: x ** y, (POSITIVE, X)),
    "maximum": (lambda m, x, y: m.maximum(x, y) * m.minimum(x, y), (X, W)),
    "where": (lambda m, x, y: m.where(x > 0, x * y, y * y), (X, W)),
    "masked_fill": (lambda m, x: x.masked_fill(x > 0, 1.0) * x, (X,)),
    "sums": (lambda m, x: x.sum(0) * x.mean(0) + (x * x).sum((0, 1)) + x.mean(1, keepdim=True).sum(), (X,)),
    "norm": (lambda m, x: x.norm(2, dim=1) + x.norm(1) + x.norm(3, dim=1, keepdim=True).sum(), (X,)),
    "var": (lambda m, x: x.var(1) + x.std(1) + x.var(), (X,)),
    "max": (lambda m, x: x.max(1).values ** 2, (X,)),
    "shapes": (lambda m, x: x.reshape(2, 12).t().unsqueeze(0).expand(3, 12, 2)[1, 2:5] ** 2, (X,)),
    "index": (lambda m, x: x[m.tensor([0, 2, 2])] ** 2, (X,)),
    "slice": (lambda m, x: x[1:3, ::2] ** 3, (X,)),
    "mask": (lambda m, x: x[m.tensor([True, False, True, True])] ** 3, (X,)),
    "cat": (lambda m, x, y: m.cat([x, y * y], 1) ** 2, (X, W)),
    "stack": (lambda m, x, y: m.stack([x, y], 1) ** 3, (X, W)),
    "gather": (lambda m, x: x.gather(1, m.tensor([[0, 1], [2, 2], [5, 0], [1, 1]])) ** 3, (X,)),
    "index_select": (lambda m, x: x.index_select(1, m.tensor([1, 1, 3])) ** 3, (X,)),
    "moved": (lambda m, x: m.flip(x, (0,)) ** 2 * m.roll(x, 1, 1) + x.tril() ** 2 + x.triu() ** 3, (X,)),
    "diagonal": (lambda m, x: x.diagonal() ** 3, (X,)),
    "repeat": (lambda m, x: x.repeat(2, 1) ** 3, (X,)),
    "pad": (lambda m, x: (m.nn.functional.pad(x, (1, 2), value=0.5) + 1) ** 3, (X,)),
    "split": (lambda m, x: x.split(2, 1)[1] * x.chunk(2, 0)[0][:2, :2].sum(), (X,)),
    "matmul": (lambda m, x, w: x @ w, (X, drawn(6, 3))),
    "vectors": (lambda m, x, w: (x @ w) * (w @ w), (X, drawn(6))),
    "batches": (lambda m, x, w: x.reshape(2, 2, 6) @ w, (X, drawn(2, 6, 3))),
    "shared matrix": (lambda m, x, w: x.reshape(2, 2, 6) @ w, (X, drawn(6, 3))),
    "linear": (lambda m, x, w, b: m.nn.functional.linear(x, w, b).tanh(), (X, drawn(3, 6), drawn(3))),
    "linear 3-d": (lambda m, x, w: m.nn.functional.linear(x.reshape(2, 2, 6), w) ** 2, (X, drawn(3, 6))),
    "softmax": (lambda m, x: x.softmax(1) ** 2 + x.softmax(0), (X,)),
    "log_softmax": (lambda m, x: x.log_softmax(1) ** 2, (X,)),
    "logsumexp": (lambda m, x: x.logsumexp(1) ** 2 + x.logsumexp((0, 1)), (X,)),
    "mse": (lambda m, x, y: m.nn.functional.mse_loss(x, y), (X, W)),
    "mse none": (lambda m, x, y: m.nn.functional.mse_loss(x, y, reduction="none"), (X, W)),
    "l1": (lambda m, x, y: m.nn.functional.l1_loss(x ** 2, y), (X, W)),
    "smooth_l1": (lambda m, x, y: m.nn.functional.smooth_l1_loss(x, y, reduction="sum"), (X, W)),
    "huber": (lambda m, x, y: m.nn.functional.huber_loss(x, y, delta=0.7), (X, W)),
    "bce": (lambda m, x, y: m.nn.functional.binary_cross_entropy(x, y), (UNIT, UNIT.T.reshape(4, 6).copy())),
    "bce weight": (lambda m, x: m.nn.functional.binary_cross_entropy(x, m.full_like(x, 0.3), m.full_like(x, 2.0)), (UNIT,)),
    "bce with logits": (lambda m, x, y: m.nn.functional.binary_cross_entropy_with_logits(x, y), (X, UNIT)),
    "bce pos_weight": (lambda m, x: m.nn.functional.binary_cross_entropy_with_logits(
        x, m.full_like(x, 0.3), pos_weight=m.full_like(x, 3.0)), (X,)),
    "gaussian_nll": (lambda m, x, v: m.nn.functional.gaussian_nll_loss(x, x * 0.3, v), (X, POSITIVE)),
    "kl_div": (lambda m, x, y: m.nn.functional.kl_div(x, y, reduction="batchmean", log_target=True), (X, W)),
    "hinge_embedding": (lambda m, x: m.nn.functional.hinge_embedding_loss(
        x ** 2, m.tensor([[1.0], [-1], [1], [-1]], dtype=m.float64).expand(4, 6)), (X,)),
    "margin_ranking": (lambda m, x, y: m.nn.functional.margin_ranking_loss(x * y, y, m.ones_like(x), 0.3), (X, W)),
    "soft_margin": (lambda m, x: m.nn.functional.soft_margin_loss(x, m.ones_like(x)), (X,)),
    "cross_entropy": (lambda m, x: m.nn.functional.cross_entropy(x, m.tensor([0, 5, 2, 2])), (X,)),
    "cross_entropy options": (lambda m, x: m.nn.functional.cross_entropy(
        x, m.tensor([0, 5, -100, 2]), m.linspace(0.5, 2, 6, dtype=m.float64), label_smoothing=0.2), (X,)),
    "cross_entropy none": (lambda m, x: m.nn.functional.cross_entropy(
        x.reshape(2, 3, 4), m.tensor([[0, 1, 2, 0], [1, 1, 0, 2]]), reduction="none"), (X,)),
    "cross_entropy shares": (lambda m, x, p: m.nn.functional.cross_entropy(x, p, label_smoothing=0.1), (X, UNIT)),
    "nll": (lambda m, x: m.nn.functional.nll_loss(x.log_softmax(1), m.tensor([0, 5, 2, 2]), reduction="sum"), (X,)),
    "layer_norm": (lambda m, x, w, b: m.nn.functional.layer_norm(x, (6,), w, b) ** 2, (X, drawn(6), drawn(6, seed=2))),
    "layer_norm 2 axes": (lambda m, x: m.nn.functional.layer_norm(x.reshape(2, 2, 6), (2, 6)) ** 2, (X,)),
    "rms_norm": (lambda m, x, w: m.nn.functional.rms_norm(x, (6,), w) ** 2, (X, drawn(6))),
    "batch_norm": (lambda m, x, w, b: m.nn.functional.batch_norm(x, None, None, w, b, training=True) ** 2,
                   (X, drawn(6), drawn(6, seed=2))),
    "batch_norm maps": (lambda m, x, w: m.nn.functional.batch_norm(x, None, None, w, training=True) ** 2, (drawn(3, 2, 2, 3), drawn(2))),
    "batch_norm eval": (lambda m, x, w: m.nn.functional.batch_norm(
        x, m.linspace(0, 1, 6, dtype=m.float64), m.linspace(1, 2, 6, dtype=m.float64), w) ** 2, (X, drawn(6))),
    "group_norm": (lambda m, x, w, b: m.nn.functional.group_norm(x.reshape(2, 4, 3), 2, w, b) ** 2,
                   (X, drawn(4), drawn(4, seed=2))),
    "normalize": (lambda m, x: m.nn.functional.normalize(x, dim=1) ** 2, (X,)),
    "cosine_similarity": (lambda m, x, y: m.nn.functional.cosine_similarity(x, y) ** 2, (X, drawn(6, seed=1).reshape(1, 6))),
    "cosine_embedding": (lambda m, x, y: m.nn.functional.cosine_embedding_loss(x, y, m.tensor([1, -1, 1, -1])), (X, W)),
    "pairwise_distance": (lambda m, x, y: m.nn.functional.pairwise_distance(x, y, 3.0) ** 2, (X, W)),
    "triplet": (lambda m, x, y: m.nn.functional.triplet_margin_loss(x, y, x.detach() + 1), (X, W)),
    "interpolate": (lambda m, x: m.nn.functional.interpolate(x.reshape(1, 4, 6), scale_factor=2, mode="linear") ** 3, (X,)),
    "conv1d": (lambda m, x, w, b: m.nn.functional.conv1d(x, w, b, padding=1), (drawn(2, 3, 7), drawn(4, 3, 3), drawn(4))),
    "conv2d": (lambda m, x, w, b: m.nn.functional.conv2d(x, w, b, stride=2, padding=1), (drawn(2, 3, 7, 6), drawn(4, 3, 3, 2), drawn(4))),
    "conv2d groups": (lambda m, x, w: m.nn.functional.conv2d(x, w, groups=2, dilation=2) ** 2, (drawn(2, 4, 7, 6), drawn(4, 2, 3, 2))),
    "conv2d one map": (lambda m, x, w: m.nn.functional.conv2d(x, w) ** 2, (drawn(3, 7, 6), drawn(4, 3, 3, 2))),
    "conv_transpose2d": (lambda m, x, w, b: m.nn.functional.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1) ** 2,
                         (drawn(2, 3, 4, 4), drawn(3, 2, 3, 3), drawn(2))),
    "max_pool2d": (lambda m, x: m.nn.functional.max_pool2d(x, 3, 2, 1) ** 3, (drawn(2, 3, 7, 6),)),
    "avg_pool2d": (lambda m, x: m.nn.functional.avg_pool2d(x, 3, 2, 1) ** 3, (drawn(2, 3, 7, 6),)),
    "adaptive": (lambda m, x: m.nn.functional.adaptive_avg_pool2d(x, 2) ** 3 + m.nn.functional.adaptive_max_pool2d(x, 2) ** 3,
                 (drawn(2, 3, 7, 6),)),
    "pool one map": (lambda m, x: m.nn.functional.max_pool1d(x, 2) ** 3, (drawn(3, 6),)),
    "embedding": (lambda m, w: m.nn.functional.embedding(m.tensor([0, 2, 2, 1]), w, padding_idx=1) ** 3, (drawn(4, 6),)),
    "widened": (lambda m, x: (x.float().double() * x) ** 2, (X,)),
}


def second(m, function, inputs, of, seed=5):
    """Gradients of the inputs `of`, and of a mix of these by all inputs."""
    inputs = [m.tensor(a, requires_grad=True) for a in inputs]
    y = function(m, *inputs)
    first = m.autograd.grad(y, [inputs[i] for i in of], m.tensor(drawn(*y.shape, seed=seed)), create_graph=True)
    mixed = sum((g * m.tensor(drawn(*g.shape, seed=seed + i))).sum() for i, g in enumerate(first))
    if not mixed.requires_grad:
        return first, [None] * len(inputs)
    return first, m.autograd.grad(mixed, inputs, allow_unused=True)


def values(t):
    return None if t is None else t.detach().numpy(force=True)


@pytest.mark.parametrize("name", CASES)
def test_against_torch(name):
    torch = pytest.importorskip("torch")
    function, inputs = CASES[name]
    tolerance = 1e-5 if name == "widened" else 1e-9
    everyone = range(len(inputs))
    for of in {tuple(everyone), *((i,) for i in everyone)}:
        for mine, theirs in zip(second(fn, function, inputs, of), second(torch, function, inputs, of)):
            for a, b in zip(mine, theirs):
                if a is None or b is None:      # no path, or one whose gradient is zero
                    assert not any(np.any(values(v)) for v in (a, b) if v is not None)
                else:
                    np.testing.assert_allclose(values(a), values(b), rtol=tolerance, atol=tolerance * 10)


DIFFERENCES = {
    "linear": lambda x: nn.functional.linear(x, fn.tensor(drawn(3, 6))).tanh(),
    "cross_entropy": lambda x: nn.functional.cross_entropy(x, fn.tensor([0, 5, 2, 2]), label_smoothing=0.1),
    "layer_norm": lambda x: nn.functional.layer_norm(x, (6,)),
    "convolution": lambda x: nn.functional.conv1d(x.reshape(1, 4, 6), fn.tensor(drawn(2, 4, 3))) ** 2,
    "hardsigmoid": lambda x: nn.functional.hardsigmoid(x) ** 2,
    "third": lambda x: fn.autograd.grad((x ** 4).sum(), x, create_graph=True)[0],
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_against_differences(name):
    assert fn.autograd.gradgradcheck(DIFFERENCES[name], fn.tensor(X, requires_grad=True))


def test_gradgradcheck_finds_a_wrong_rule():
    class Wrong(fn.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x ** 3

        @staticmethod
        def backward(ctx, grad):
            x, = ctx.saved_tensors
            return grad * 3 * x.detach() ** 2       # right, but its own gradient is cut off
    x = fn.tensor(X, requires_grad=True)
    assert fn.autograd.gradcheck(Wrong.apply, x)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        fn.autograd.gradgradcheck(Wrong.apply, x)
    assert not fn.autograd.gradgradcheck(Wrong.apply, x, raise_exception=False)


def test_user_function_with_setup_context():
    class Scale(fn.autograd.Function):
        @staticmethod
        def forward(x, factor):
            return x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.factor = inputs
            ctx.save_for_backward(x, output)

        @staticmethod
        def backward(ctx, grad):
            x, y = ctx.saved_tensors
            assert fn.equal(y, x * ctx.factor)
            return grad * ctx.factor, None
    x = fn.tensor(X, requires_grad=True)
    assert fn.autograd.gradgradcheck(lambda x: Scale.apply(x, 2.5) ** 2, x)


def test_a_rule_marked_as_differentiable_once():
    class Exp(fn.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.y = x.exp()
            return ctx.y

        @staticmethod
        @fn.autograd.function.once_differentiable
        def backward(ctx, grad):
            return fn.from_numpy(grad.detach().numpy() * ctx.y.numpy())
    x = fn.tensor(X, requires_grad=True)
    assert fn.autograd.gradcheck(Exp.apply, x)
    g, = fn.autograd.grad((Exp.apply(x) ** 2).sum(), x, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), 2 * np.exp(2 * X))
    with pytest.raises(RuntimeError, match="differentiate twice a function that was marked with @once_differentiable"):
        g.sum().backward()


def test_arguments_of_grad():
    x, unused = fn.tensor(X, requires_grad=True), fn.ones(3, requires_grad=True)
    g, = fn.autograd.grad(outputs=(x ** 2).sum(), inputs=x, create_graph=True, retain_graph=True, only_inputs=True)
    assert fn.equal(g.detach(), 2 * x.detach())
    g, zero = fn.autograd.grad((x ** 2).sum(), (x, unused), materialize_grads=True)
    assert zero.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="Expected allow_unused to be True or not passed"):
        fn.autograd.grad((x ** 2).sum(), (x, unused), allow_unused=False, materialize_grads=True)
    with pytest.raises(NotImplementedError, match="is_grads_batched"):
        fn.autograd.grad((x ** 2).sum(), x, is_grads_batched=True)


def test_hooks_after_the_gradient_has_been_added():
    x = fn.tensor(X, requires_grad=True)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda p: seen.append((p is x, p.grad.sum().item())))
    (x * 2).sum().backward()
    (x * x).sum().backward(create_graph=True)
    handle.remove()
    (x * 2).sum().backward()
    first = 2.0 * X.size
    assert seen == [(True, first), (True, pytest.approx(first + 2 * X.sum()))]
    for other, words in ((x * 2, "non-leaf"), (fn.ones(2), "doesn't require gradient")):
        with pytest.raises(RuntimeError, match=words):
            other.register_post_accumulate_grad_hook(print)


def test_user_function_that_saves_its_output():
    class Exp(fn.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, grad):
            y, = ctx.saved_tensors
            return grad * y
    assert fn.autograd.gradgradcheck(Exp.apply, fn.tensor(X, requires_grad=True))


def test_dropout_draws_once():
    x = fn.tensor(X, requires_grad=True)
    y = nn.functional.dropout(x, 0.5) ** 3
    first, = fn.autograd.grad(y.sum(), x, create_graph=True)
    second, = fn.autograd.grad(first.sum(), x)
    scale = np.where(y.detach().numpy() == 0, 0, 2)
    np.testing.assert_allclose(second.numpy(), 6 * X * scale ** 3)


def test_backward_with_create_graph_leaves_gradients_with_a_history():
    x = fn.tensor([1.0, 2.0], requires_grad=True)
    w = fn.tensor([3.0, 4.0], requires_grad=True)
    (x ** 3 * w).sum().backward(create_graph=True)
    assert x.grad.grad_fn is not None and x.grad.tolist() == [9.0, 48.0] and w.grad.tolist() == [1.0, 8.0]
    kept, x.grad, w.grad = x.grad, None, None
    kept.sum().backward()
    assert x.grad.tolist() == [18.0, 48.0] and w.grad.tolist() == [3.0, 12.0]
    (x ** 2).sum().backward(create_graph=True, inputs=[x])
    assert x.grad.tolist() == [20.0, 52.0]


def test_only_what_leads_to_the_inputs_is_computed():
    class Loud(fn.autograd.Function):
        calls = 0

        @staticmethod
        def forward(ctx, w):
            return w * 2

        @staticmethod
        def backward(ctx, grad):
            Loud.calls += 1
            return grad * 2
    x, w = fn.tensor(2.0, requires_grad=True), fn.tensor(3.0, requires_grad=True)
    y = x * Loud.apply(w)
    slope, = fn.autograd.grad(y, x, create_graph=True)
    assert slope.item() == 6 and Loud.calls == 0
    assert fn.autograd.grad(slope, w)[0].item() == 2 and Loud.calls == 1


def test_no_gradient_of_a_weight_is_made_for_that_of_an_input():
    class Slope(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x):
            x = x.detach().requires_grad_()
            return fn.autograd.grad((self.layer(x) ** 2).sum(), x, create_graph=True)[0]
    model = Slope()
    step = fn.compile(model, nn.MSELoss(), fn.optim.SGD(model.parameters(), lr=0.1), fullgraph=True)
    x = fn.randn(3, 4)
    for _ in range(3):
        step(x, x)
    # the layer, its dx; then of dx: of what went in and of the weight; of the layer: dx and dw
    assert step.explain().count(" matmul ") == 6


def test_inputs_on_the_way_and_hooks():
    x = fn.tensor(2.0, requires_grad=True)
    y = x * x
    z = y ** 3
    dx, dy = fn.autograd.grad(z, [x, y], create_graph=True)
    assert (dx.item(), dy.item()) == (192.0, 48.0)
    assert fn.autograd.grad(dy, x, retain_graph=True)[0].item() == 2 * 3 * 4 * 2 * 2
    y.register_hook(lambda g: g * 10)
    assert fn.autograd.grad(z, x, create_graph=True)[0].item() == 1920
    y.retain_grad()         # sees what the hook made, although it was asked for first
    y.register_hook(lambda g: g * 2)
    z.backward(create_graph=True)
    assert y.grad.item() == 48 * 20
    with pytest.raises(RuntimeError, match="appears to not have been used"):
        fn.autograd.grad(z, fn.tensor(1.0, requires_grad=True), create_graph=True)
    assert fn.autograd.grad(z, fn.tensor(1.0, requires_grad=True), create_graph=True, allow_unused=True) == (None,)


def test_what_cannot_says_so():
    x = fn.randn(5, 2, 3, requires_grad=True)
    y, _ = nn.LSTM(3, 4)(x)
    with pytest.raises(NotImplementedError, match="RecurrentBackward has no rule"):
        fn.autograd.grad(y.sum(), x, create_graph=True)
    z = (x * 2).sum()
    z.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        fn.autograd.grad((x * x).sum() * z, x, create_graph=True)
    w = fn.ones(3, requires_grad=True)
    s = w.exp()
    total = s.sum()
    s += 1
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        fn.autograd.grad(total, w, create_graph=True)


def network():
    fn.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))


class Residual(nn.Module):
    """u'' + 9 u of a network u, a differential equation's residual."""

    def __init__(self):
        super().__init__()
        self.u = network()

    def forward(self, x):
        x = x.detach().requires_grad_()
        u = self.u(x)
        du, = fn.autograd.grad(u.sum(), x, create_graph=True)
        ddu, = fn.autograd.grad(du.sum(), x, create_graph=True)
        return ddu + 9 * u


ACTIVATIONS = nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.Hardtanh, nn.ReLU6, nn.Softplus, nn.SiLU, nn.Sigmoid, nn.Hardswish, nn.Mish


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_penalty_of_the_gradient_compiles(activation):
    """And every step is the eager one."""
    class Penalty(nn.Module):
        def __init__(self):
            super().__init__()
            self.critic = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), activation(), nn.AvgPool2d(2), nn.Flatten(),
                                        nn.Linear(16, 8), nn.LayerNorm(8), activation(), nn.Dropout(0.2), nn.Linear(8, 1))

        def forward(self, x):
            x = x.detach().requires_grad_()
            y = self.critic(x)
            slope, = fn.autograd.grad(y.sum(), x, create_graph=True)
            return y.mean() + 10 * ((slope * slope).sum((1, 2, 3)) - 1).square().mean()
    x = fn.tensor(drawn(5, 1, 8, 8), dtype=fn.float32)
    losses = []
    for plan in (False, True):
        fn.manual_seed(0)
        model = Penalty()
        optimizer = fn.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
        step = fn.compile(model, lambda out, _: out, optimizer, fullgraph=True)
        losses.append([])
        for _ in range(6):
            if plan:
                losses[1].append(step(x, x).item())
            else:
                optimizer.zero_grad()
                loss = model(x)
                loss.backward()
                optimizer.step()
                losses[0].append(loss.item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("threads", [1, 2])
def test_compiled_steps_equal_eager_ones(threads, request):
    before = fn.get_num_threads()
    request.addfinalizer(lambda: fn.set_num_threads(before))
    fn.set_num_threads(threads)
    x, zero = fn.linspace(0, 1, 33).reshape(-1, 1), fn.zeros(33, 1)
    eager, planned = Residual(), Residual()
    optimizer = fn.optim.Adam(eager.parameters(), lr=1e-2)
    step = fn.compile(planned, nn.MSELoss(), fn.optim.Adam(planned.parameters(), lr=1e-2), fullgraph=True)
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(eager(x), zero)
        loss.backward()
        optimizer.step()
        assert step(x, zero).item() == loss.item()
    for a, b in zip(eager.parameters(), planned.parameters()):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_gradient_penalty_through_a_convolutional_critic():
    """|| dD/dx || of a critic with batch-free layers, differentiated by its weights (Gulrajani et al., 2017), against torch."""
    torch = pytest.importorskip("torch")
    found = []
    for m in (fn, torch):
        m.manual_seed(0)
        layers = m.nn
        critic = layers.Sequential(layers.Conv2d(1, 4, 3, stride=2, padding=1), layers.LeakyReLU(0.2), layers.Conv2d(4, 8, 3, padding=1),
                                   layers.LeakyReLU(0.2), layers.AvgPool2d(2), layers.Flatten(), layers.Linear(32, 1)).double()
        x = m.tensor(drawn(3, 1, 8, 8), requires_grad=True)
        slope, = m.autograd.grad(critic(x).sum(), x, create_graph=True)
        ((slope.reshape(3, -1).norm(2, dim=1) - 1) ** 2).mean().backward()
        found.append([np.zeros(tuple(p.shape)) if p.grad is None else p.grad.numpy() for p in critic.parameters()])
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-9)
