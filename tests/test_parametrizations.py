"""weight_norm, spectral_norm and orthogonal, in both forms: against torch under one seed, gradients, compiled steps."""
import warnings

import numpy as np
import pytest
from compile_runs import assert_equal_runs, batches, train

import fastnn
from fastnn import nn
from fastnn.autograd import gradcheck
from fastnn.nn.utils import parametrizations, parametrize

LAYERS = {"Linear": (5, 4), "Conv2d": (3, 4, 3), "Conv1d": (2, 3, 3), "ConvTranspose2d": (3, 4, 2), "Bilinear": (2, 3, 4)}
INPUTS = {"Linear": [(6, 5)], "Conv2d": [(2, 3, 5, 5)], "Conv1d": [(2, 2, 6)], "ConvTranspose2d": [(2, 3, 4, 4)],
          "Bilinear": [(6, 2), (6, 3)]}
OLD_WARNS = pytest.mark.filterwarnings("ignore:.*nn.utils.weight_norm:FutureWarning")


def values(t):
    return np.asarray(t.detach())


def steps(m, kind, wrap):
    """A few steps of SGD in training, then a result in eval: all that can be seen of them."""
    rng = np.random.default_rng(0)
    m.manual_seed(0)
    layer = wrap(m, getattr(m.nn, kind)(*LAYERS[kind]))
    optimizer = m.optim.SGD(layer.parameters(), lr=0.05)
    seen = [list(layer.state_dict()), [n for n, _ in layer.named_parameters()], [n for n, _ in layer.named_buffers()], repr(layer)]
    x = [m.from_numpy(rng.standard_normal(shape, np.float32)) for shape in INPUTS[kind]]
    for i in range(4):
        if i == 3:
            layer.eval()
        optimizer.zero_grad()
        loss = layer(*x).square().mean()
        loss.backward()
        optimizer.step()
        seen += [values(loss), *(values(t).copy() for t in layer.state_dict().values()), *(values(p.grad) for p in layer.parameters())]
    return [*seen, values(layer.weight)]


def compare(kind, wrap, **tolerance):
    torch = pytest.importorskip("torch")
    for w, f in zip(steps(torch, kind, wrap), steps(fastnn, kind, wrap), strict=True):
        if isinstance(w, np.ndarray):
            np.testing.assert_allclose(f, w, **{"rtol": 1e-4, "atol": 1e-5, **tolerance})
        else:
            assert f == w


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"dim": 1}, {"dim": None}], ids=str)
def test_weight_norm_as_torchs(kind, options):
    compare(kind, lambda m, layer: m.nn.utils.parametrizations.weight_norm(layer, **options))


@OLD_WARNS
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"dim": None}], ids=str)
def test_weight_norm_by_a_hook_as_torchs(kind, options):
    compare(kind, lambda m, layer: m.nn.utils.weight_norm(layer, **options))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"n_power_iterations": 3, "dim": 1}], ids=str)
def test_spectral_norm_as_torchs(kind, options):
    compare(kind, lambda m, layer: m.nn.utils.parametrizations.spectral_norm(layer, **options))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"n_power_iterations": 3, "dim": 1}], ids=str)
def test_spectral_norm_by_a_hook_as_torchs(kind, options):
    compare(kind, lambda m, layer: m.nn.utils.spectral_norm(layer, **options))


@pytest.mark.parametrize("form", ["parametrizations.spectral_norm", "spectral_norm"])
def test_two_calls_before_a_backward(form):
    """The second call changes the vectors that the first one used."""
    torch = pytest.importorskip("torch")
    results = []
    for m in (torch, fastnn):
        m.manual_seed(0)
        layer, x = eval(f"m.nn.utils.{form}", {"m": m})(m.nn.Linear(3, 2)), m.arange(6.0).reshape(2, 3)
        (layer(x).square().sum() + layer(-x).exp().sum()).backward()
        results.append([values(p.grad) for p in layer.parameters()])
    for w, f in zip(*results, strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("base", [True, False])
@pytest.mark.parametrize("map_", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)], ids=str)
def test_orthogonal_as_torchs(shape, map_, base):
    torch = pytest.importorskip("torch")
    results = []
    for m in (torch, fastnn):
        m.manual_seed(0)
        layer = m.nn.utils.parametrizations.orthogonal(m.nn.Linear(*shape), orthogonal_map=map_, use_trivialization=base)
        optimizer = m.optim.SGD(layer.parameters(), lr=0.1)
        target = m.arange(24.0)[:shape[0] * shape[1]].reshape(shape[1], shape[0]).sin()
        seen = [repr(layer), list(layer.state_dict()), values(layer.weight)]
        for _ in range(3):
            optimizer.zero_grad()
            (layer.weight * target).sum().backward()
            optimizer.step()
            seen += [values(layer.weight), *(values(t).copy() for t in layer.state_dict().values())]
        results.append(seen)
    for w, f in zip(*results, strict=True):
        if isinstance(w, np.ndarray):
            np.testing.assert_allclose(f, w, rtol=1e-4, atol=2e-5)
        else:
            assert f == w
    Q = values(layer.weight)
    np.testing.assert_allclose(Q.T @ Q if shape[0] < shape[1] else Q @ Q.T, np.eye(min(shape)), atol=1e-5)


def test_orthogonal_weights_are_assigned_to():
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0].astype(np.float32)
    for options in ({}, {"orthogonal_map": "cayley"}, {"orthogonal_map": "householder", "use_trivialization": False}):
        layer = parametrizations.orthogonal(nn.Linear(4, 4), **options)
        layer.weight = fastnn.from_numpy(Q)
        np.testing.assert_allclose(values(layer.weight), Q, atol=1e-5)
    layer = parametrizations.orthogonal(nn.Linear(4, 4), use_trivialization=False)
    with pytest.raises(NotImplementedError, match="It is not possible to assign"):
        layer.weight = fastnn.from_numpy(Q)
    with pytest.raises(ValueError, match="Expected a matrix or batch of matrices of shape"):
        layer.weight = fastnn.ones(3, 3)


def test_gradients_by_finite_differences():
    for make in (lambda: parametrizations.weight_norm(nn.Linear(3, 2).double()),
                 lambda: parametrizations.weight_norm(nn.Conv2d(2, 2, 2).double(), dim=None),
                 lambda: parametrizations.spectral_norm(nn.Linear(3, 2).double()).eval(),
                 lambda: parametrizations.spectral_norm(nn.Linear(3, 2).double(), "bias"),
                 lambda: parametrizations.orthogonal(nn.Linear(3, 3).double()),
                 lambda: parametrizations.orthogonal(nn.Linear(3, 3).double(), orthogonal_map="cayley"),
                 lambda: parametrizations.orthogonal(nn.Linear(4, 3).double(), use_trivialization=False)):
        fastnn.manual_seed(1)
        layer = make()
        (name, compute), = layer.parametrizations.items()
        originals = [p.detach().clone().requires_grad_() for p in compute.parameters()]
        still = fastnn.eye(*originals[0].shape).bool() if getattr(compute[0], "orthogonal_map", None) == "householder" else None

        def function(*x, f=compute[0], still=still):        # a diagonal of signs stays as it is
            return f(*x) if still is None else f(x[0].masked_fill(still, -1.0))
        assert gradcheck(function, originals), name


def test_a_vector_has_its_length_normalized():
    layer = parametrizations.spectral_norm(nn.Linear(3, 2), "bias")
    assert float(layer.bias.norm()) == pytest.approx(1) and list(layer.state_dict()) == ["weight", "parametrizations.bias.original"]


@OLD_WARNS
def test_old_state_dicts_of_weight_norm_load_into_the_new_form():
    model, old = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2))), nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)))
    assert str(model.load_state_dict(old.state_dict())) == "<All keys matched successfully>"
    np.testing.assert_allclose(values(model[0].weight), values(old[0].weight), rtol=1e-6)


@OLD_WARNS
def test_hooks_are_removed():
    x = fastnn.ones(2, 3)
    for wrap, remove in ((nn.utils.weight_norm, nn.utils.remove_weight_norm), (nn.utils.spectral_norm, nn.utils.remove_spectral_norm)):
        layer = wrap(nn.Linear(3, 2)).eval()
        y = values(layer(x))
        with pytest.raises(RuntimeError, match="Cannot register two"):
            wrap(layer)
        assert remove(layer) is layer and sorted(layer.state_dict()) == ["bias", "weight"]
        np.testing.assert_allclose(values(layer(x)), y, rtol=1e-6)
        with pytest.raises(ValueError, match="of 'weight' not found in Linear"):
            remove(layer)


def test_errors():
    layer = nn.Linear(3, 2)
    for call, kind, words in (
            (lambda: parametrizations.spectral_norm(layer, "wait"), ValueError, "has no parameter or buffer with name 'wait'"),
            (lambda: parametrizations.spectral_norm(layer, dim=2), IndexError, r"range of \[-2, 1\] but got 2"),
            (lambda: parametrizations.spectral_norm(layer, n_power_iterations=0), ValueError, "to be positive"),
            (lambda: nn.utils.spectral_norm(layer, n_power_iterations=0), ValueError, "to be positive"),
            (lambda: nn.utils.spectral_norm(nn.Linear(2, 2, bias=False), "bias"), ValueError, "parameter `bias` is None"),
            (lambda: parametrizations.orthogonal(layer, "bias"), ValueError, "Got a tensor of 1 dimensions"),
            (lambda: parametrizations.orthogonal(layer, orthogonal_map="qr"), ValueError, "orthogonal_map has to be one of"),
            (lambda: parametrizations.weight_norm(layer, "wait"), ValueError, "does not have a parameter, a buffer")):
        with pytest.raises(kind, match=words):
            call()


# ---- compiled steps ------------------------------------------------------------------------------------------------------
def network(wrap):
    return nn.Sequential(wrap(nn.Linear(20, 33)), nn.ReLU(), nn.Dropout(0.3), wrap(nn.Linear(33, 5)))


def pictures(wrap):
    return nn.Sequential(nn.Unflatten(1, (1, 4, 5)), wrap(nn.Conv2d(1, 6, 3, padding=1)), nn.ReLU(), nn.Flatten(), wrap(nn.Linear(120, 5)))


@pytest.mark.parametrize("make", [network, pictures])
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_steps_are_captured(name, make):
    """As one plan, with the very bits of the eager loop; spectral_norm with its power method."""
    wrap = getattr(parametrizations, name)
    eager = train(lambda: make(wrap), batches(8), False)
    compiled = train(lambda: make(wrap), batches(8), True)
    assert_equal_runs(eager, compiled)
    assert "kernel calls" in compiled[2].explain()


@OLD_WARNS
@pytest.mark.parametrize("wrap, what", [(nn.utils.weight_norm, "hooks"), (nn.utils.spectral_norm, "hooks"),
                                        (parametrizations.orthogonal, "linalg_matrix_exp|linalg_solve|tril")])
def test_steps_that_run_eagerly_say_so_once(wrap, what):
    def run(compiled):
        fastnn.manual_seed(0)
        model = network(lambda layer: wrap(layer))
        step = fastnn.compile(model, nn.CrossEntropyLoss(), fastnn.optim.SGD(model.parameters(), lr=0.1))
        losses = [(step(x, y) if compiled else step._run([x, y])[0]).item() for x, y in batches(8)]
        return losses, {k: v.numpy().copy() for k, v in model.state_dict().items()}
    eager = run(False)
    with pytest.warns(UserWarning, match=what) as caught:
        compiled = run(True)
    assert len([w for w in caught if "runs eagerly" in str(w.message)]) == 1
    assert_equal_runs(eager, compiled)


def test_inference_follows_the_originals():
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    infer, x = fastnn.compile(layer, fullgraph=True), fastnn.ones(4, 3)
    with fastnn.no_grad():
        for _ in range(4):
            infer(x)
        layer.parametrizations.weight.original0.mul_(2)
        np.testing.assert_array_equal(values(infer(x)), values(layer(x)))
        parametrize.remove_parametrizations(layer, "weight")
        np.testing.assert_array_equal(values(infer(x)), values(layer(x)))


def test_skip_init_draws_nothing():
    fastnn.manual_seed(0)
    layer = nn.utils.skip_init(nn.Linear, 3, 2, bias=False)
    assert isinstance(layer, nn.Linear) and layer.weight.shape == (2, 3) and layer.bias is None
    drawn = fastnn.rand(2)
    fastnn.manual_seed(0)
    np.testing.assert_array_equal(drawn.numpy(), fastnn.rand(2).numpy())
    for kind, words in ((dict, "Expected a Module"), (nn.ReLU, "'device' arg")):
        with pytest.raises(RuntimeError, match=words):
            nn.utils.skip_init(kind)


def test_warnings_are_torchs():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parametrizations.weight_norm(nn.Linear(2, 2))
        nn.utils.spectral_norm(nn.Linear(2, 2))
    with pytest.warns(FutureWarning, match="deprecated in favor of"):
        nn.utils.weight_norm(nn.Linear(2, 2))
