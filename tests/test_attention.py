"""Attention and transformers: torch's parameters under one seed, values, gradients, masks, errors."""
import numpy as np
import pytest

import fastnn
from fastnn.autograd import gradcheck
from fastnn.nn import functional as F
from fastnn.ops import attention

RNG = np.random.default_rng(0)
INF = float("inf")


def pair(kind, *args, **kwargs):
    """torch's module and ours, made under one seed: the same parameters under the same names."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    fastnn.manual_seed(0)
    theirs = getattr(torch.nn, kind)(*args, **{**kwargs, **({"enable_nested_tensor": False} if kind == "TransformerEncoder" else {})})
    ours = getattr(fastnn.nn, kind)(*args, **kwargs)
    compare_state(theirs, ours)
    return torch, theirs, ours


def compare_state(theirs, ours):
    wanted, found = theirs.state_dict(), ours.state_dict()
    assert list(found) == list(wanted)
    for name in wanted:
        np.testing.assert_allclose(found[name].numpy(), wanted[name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


def compare(torch, theirs, ours, inputs, masks, pick=lambda y: y):
    results = []
    for m, module in ((torch, theirs), (fastnn, ours)):
        x = [m.tensor(a, requires_grad=True) for a in inputs]
        y = pick(module(*x, **{k: m.tensor(v) if isinstance(v, np.ndarray) else v for k, v in masks.items()}))
        (y * y.sin()).sum().backward()
        results.append([np.asarray(y.detach()), *(np.asarray(t.grad) for t in x),
                        *(None if p.grad is None else np.asarray(p.grad) for p in module.parameters())])
    for w, f in zip(*results, strict=True):
        assert (w is None) == (f is None)
        if w is not None:
            np.testing.assert_allclose(f, w, rtol=1e-4, atol=2e-5)


CAUSAL = np.triu(np.full((5, 5), -INF, np.float32), 1)
PADDING = np.arange(5) >= np.array([[5], [3], [4]])
SDPA = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
    "bool": {"attn_mask": RNG.random((4, 6)) < 0.7},
    "a query that looks nowhere": {"attn_mask": np.arange(4)[:, None] > np.zeros(6, int)},
    "float": {"attn_mask": RNG.standard_normal((2, 1, 4, 6))},
    "float, nowhere": {"attn_mask": np.where(np.arange(4)[:, None] > np.zeros(6, int), 0.0, -INF)},
}


@pytest.mark.parametrize("case", SDPA)
def test_scaled_dot_product_attention(case):
    q, k, v = RNG.standard_normal((2, 3, 4, 8)), RNG.standard_normal((2, 3, 6, 8)), RNG.standard_normal((2, 3, 6, 7))
    options = {n: fastnn.tensor(o) if isinstance(o, np.ndarray) else o for n, o in SDPA[case].items()}
    leaves = [fastnn.tensor(a[:, :2, :, :3], requires_grad=True) for a in (q, k, v)]
    assert gradcheck(lambda *x: F.scaled_dot_product_attention(*x, **options), leaves)
    torch = pytest.importorskip("torch")
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.tensor, (q, k, v)), **{n: torch.tensor(o) if isinstance(o, np.ndarray) else o for n, o in SDPA[case].items()})
    found = F.scaled_dot_product_attention(*map(fastnn.tensor, (q, k, v)), **options)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 3, 64])
def test_causal_attention_by_blocks(rows, monkeypatch):
    """All lengths beside the size of a block, fewer and more keys than queries, no query at all."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(attention, "ROWS", rows)
    for length in (0, 1, 2, 5, 6, 7, 9, 17):
        for keys in (1, 4, 6, 7, 20):
            q, k, v = (RNG.standard_normal((2, n, 3)) for n in (length, keys, keys))
            results = []
            for m, function in ((torch, torch.nn.functional.scaled_dot_product_attention), (fastnn, F.scaled_dot_product_attention)):
                x = [m.tensor(a, requires_grad=True) for a in (q, k, v)]
                y = function(*x, is_causal=True, scale=0.7)
                (y * y.sin()).sum().backward()
                results.append([np.asarray(y.detach()), *(np.asarray(t.grad) for t in x)])
            for w, f in zip(*results, strict=True):
                np.testing.assert_allclose(f, w, rtol=1e-6, atol=1e-9, err_msg=f"{length}, {keys}")


class Attending(fastnn.nn.Module):
    """Attention of one kind over the positions of a sequence."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.project, self.attention = kind, fastnn.nn.Linear(8, 24), fastnn.nn.MultiheadAttention(8, 2, batch_first=True)
        self.register_buffer("mask", fastnn.tril(fastnn.ones(6, 6)))

    def forward(self, x):
        q, k, v = self.project(x).chunk(3, -1)
        if self.kind == "by hand":
            return (q @ k.mT).masked_fill(self.mask[:6, :6] == 0, -INF).softmax(-1) @ v
        if self.kind == "module":
            return self.attention(q, k, v, key_padding_mask=self.mask[4:5] == 0, attn_mask=self.mask == 0)[0]
        options = {"causal": {"is_causal": True}, "bool": {"attn_mask": self.mask == 1}, "float": {"attn_mask": self.mask}}
        return F.scaled_dot_product_attention(q, k, v, **options[self.kind])


@pytest.mark.parametrize("rows", [2, 64])
@pytest.mark.parametrize("kind", ["by hand", "module", "causal", "bool", "float"])
def test_compiled_steps_capture_attention(kind, rows, monkeypatch):
    monkeypatch.setattr(attention, "ROWS", rows)

    def run(compiled):
        fastnn.manual_seed(0)
        model = fastnn.nn.Sequential(Attending(kind), fastnn.nn.Flatten(0), fastnn.nn.Unflatten(0, (6, 8)))
        step = fastnn.compile(model, fastnn.nn.CrossEntropyLoss(), fastnn.optim.SGD(model.parameters(), lr=0.5), fullgraph=True)
        x, y = fastnn.randn(1, 6, 8), fastnn.arange(6)
        return [(step(x, y) if compiled else step._run([x, y])[0]).item() for _ in range(6)]
    assert run(True) == run(False)


def test_grouped_heads_share_keys():
    q, k = fastnn.randn(2, 4, 5, 3), fastnn.randn(2, 2, 6, 3)
    y = F.scaled_dot_product_attention(q, k, k, enable_gqa=True)
    np.testing.assert_array_equal(y[:, 1].numpy(), F.scaled_dot_product_attention(q[:, 1], k[:, 0], k[:, 0]).numpy())


def test_attention_refuses():
    x = fastnn.ones(2, 3)
    for call, words in ((lambda: F.scaled_dot_product_attention(x, x, x, fastnn.ones(2, 2), is_causal=True), "should not be set"),
                        (lambda: F.scaled_dot_product_attention(x, x.double(), x), "same dtype"),
                        (lambda: F.scaled_dot_product_attention(x[0], x, x), "at least 2 dimensional"),
                        (lambda: F.scaled_dot_product_attention(x, x, x, fastnn.ones(2, 2).long()), "attn_mask dtype")):
        with pytest.raises(RuntimeError, match=words):
            call()
    with pytest.raises(AssertionError, match="divisible by num_heads"):
        fastnn.nn.MultiheadAttention(5, 2)
    layer = fastnn.nn.MultiheadAttention(4, 2)
    x = fastnn.ones(3, 1, 4)
    with pytest.raises(RuntimeError, match=r"The shape of the 2D attn_mask is torch.Size\(\[2, 2\]\), but should be \(3, 3\)"):
        layer(x, x, x, attn_mask=fastnn.ones(2, 2))
    with pytest.raises(RuntimeError, match="is_causal hint"):
        layer(x, x, x, is_causal=True)
    with pytest.raises(AssertionError, match="embedding dimension of 4, but got 3"):
        layer(x[..., :3], x, x)
    with pytest.raises(AssertionError, match="received 4-D"):
        layer(x[None], x, x)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True, "add_zero_attn": True}, {"kdim": 6, "vdim": 7}])
def test_multihead_attention(first, options):
    torch, theirs, ours = pair("MultiheadAttention", 8, 2, batch_first=first, **options)
    turn = (lambda a: a.swapaxes(0, 1).copy()) if first else (lambda a: a)
    q = turn(RNG.standard_normal((5, 3, 8)).astype("f"))
    k, v = (turn(RNG.standard_normal((5, 3, options.get(n, 8))).astype("f")) for n in ("kdim", "vdim"))
    for masks in ({}, {"need_weights": False}, {"key_padding_mask": PADDING}, {"attn_mask": CAUSAL, "average_attn_weights": False},
                  {"attn_mask": CAUSAL, "key_padding_mask": np.where(PADDING, -INF, 0).astype("f"), "need_weights": False},
                  {"attn_mask": np.tile(CAUSAL, (6, 1, 1)) == -INF}):
        compare(torch, theirs, ours, (q, k, v), masks, lambda y: y[0])
        found = [m_module(*map(m.tensor, (q, k, v)), **{n: m.tensor(o) if isinstance(o, np.ndarray) else o for n, o in masks.items()})[1]
                 for m, m_module in ((torch, theirs), (fastnn, ours))]
        assert (found[0] is None) == (found[1] is None)
        if found[0] is not None:
            np.testing.assert_allclose(found[1].detach().numpy(), found[0].detach().numpy(), rtol=1e-5, atol=1e-6)


def test_multihead_attention_of_one_tensor_and_without_a_batch():
    torch, theirs, ours = pair("MultiheadAttention", 8, 2)
    x, y = RNG.standard_normal((5, 3, 8)).astype("f"), RNG.standard_normal((4, 3, 8)).astype("f")

    class Fed:
        """The module, called on tensors of which some are the same."""

        def __init__(self, module):
            self.module, self.parameters = module, module.parameters

        def __call__(self, x, memory=None):
            return self.module(x, x, x) if memory is None else self.module(x, memory, memory)
    compare(torch, Fed(theirs), Fed(ours), (x,), {}, lambda y: y[0])
    compare(torch, Fed(theirs), Fed(ours), (x, y), {}, lambda y: y[0])
    single = ours(*[fastnn.tensor(x[:, 0])] * 3)
    batch = ours(*[fastnn.tensor(x)] * 3)
    np.testing.assert_allclose(single[0].detach().numpy(), batch[0][:, 0].detach().numpy(), rtol=1e-5, atol=1e-6)
    assert single[1].shape == (5, 5)


@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu"}, {"batch_first": True, "bias": False}])
def test_encoder_and_decoder_layers(options):
    first = options.get("batch_first", False)
    x, memory = RNG.standard_normal((5, 3, 8)).astype("f"), RNG.standard_normal((4, 3, 8)).astype("f")
    if first:
        x, memory = x.swapaxes(0, 1).copy(), memory.swapaxes(0, 1).copy()
    torch, theirs, ours = pair("TransformerEncoderLayer", 8, 2, 16, dropout=0.0, **options)
    for masks in ({}, {"src_mask": CAUSAL}, {"src_key_padding_mask": PADDING}):
        compare(torch, theirs, ours, (x,), masks)
    torch, theirs, ours = pair("TransformerDecoderLayer", 8, 2, 16, dropout=0.0, **options)
    for masks in ({}, {"tgt_mask": CAUSAL, "memory_key_padding_mask": PADDING[:, :4]}):
        compare(torch, theirs, ours, (x, memory), masks)


def test_transformer_and_its_stacks():
    torch, theirs, ours = pair("Transformer", 8, 2, 2, 1, 16, dropout=0.0, batch_first=True)
    source, target = RNG.standard_normal((3, 4, 8)).astype("f"), RNG.standard_normal((3, 5, 8)).astype("f")
    compare(torch, theirs, ours, (source, target), {"tgt_mask": CAUSAL, "src_key_padding_mask": PADDING[:, :4]})
    np.testing.assert_array_equal(fastnn.nn.Transformer.generate_square_subsequent_mask(5).numpy(), CAUSAL)
    with pytest.raises(RuntimeError, match="equal to d_model"):
        ours(fastnn.ones(3, 4, 7), fastnn.ones(3, 5, 8))
    with pytest.raises(RuntimeError, match="batch number"):
        ours(fastnn.ones(3, 4, 8), fastnn.ones(2, 5, 8))


def test_state_goes_to_torch_and_back():
    torch, theirs, ours = pair("TransformerEncoderLayer", 8, 2, 16)
    theirs.load_state_dict({k: torch.from_numpy(v.numpy()) for k, v in ours.state_dict().items()})
    fresh = fastnn.nn.TransformerEncoderLayer(8, 2, 16)
    fresh.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    compare_state(theirs, fresh)


def test_copies_in_a_stack_are_copies():
    encoder = fastnn.nn.TransformerEncoder(fastnn.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 2)
    a, b = encoder.layers
    assert a.linear1.weight is not b.linear1.weight and bool((a.linear1.weight == b.linear1.weight).all())
    encoder(fastnn.ones(3, 2, 8)).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_a_compiled_step_has_the_bits_of_the_eager_one():
    def run(compiled):
        fastnn.manual_seed(0)
        model = fastnn.nn.Sequential(fastnn.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True), fastnn.nn.Flatten(),
                                     fastnn.nn.Linear(40, 3))
        optimizer, loss = fastnn.optim.Adam(model.parameters(), lr=1e-2), fastnn.nn.CrossEntropyLoss()
        x, y = fastnn.randn(6, 5, 8), fastnn.arange(6) % 3
        step = fastnn.compile(model, loss, optimizer)
        losses = []
        for _ in range(6):
            if compiled:
                losses.append(float(step(x, y)))
                continue
            optimizer.zero_grad()
            found = loss(model(x), y)
            found.backward()
            optimizer.step()
            losses.append(float(found))
        return losses
    assert run(True) == run(False)
