"""Recurrent layers over whole sequences, and one streaming step."""
from bench.case import Case, draw, library

# kind, steps, batch, inputs, hidden, layers
LAYERS = {
    "RNN T64 b32 32->64": ("RNN", 64, 32, 32, 64, 1),
    "GRU T64 b64 64->256 2 layers": ("GRU", 64, 64, 64, 256, 2),
    "LSTM T128 b32 64->128": ("LSTM", 128, 32, 64, 128, 1),
    "LSTM T50 b64 128->512": ("LSTM", 50, 64, 128, 512, 1),
}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ONE = ("LSTM", 128, 1, 64, 128, 1)


def whole(what, kind, steps, batch, inputs, hidden, layers):
    def build(side, threads):
        lib = library("torch" if side == "onnxruntime" else side, threads, recording=what == "training")
        layer = getattr(lib.nn, kind)(inputs, hidden, layers)
        values = draw(steps, batch, inputs)
        if side == "onnxruntime":
            from bench.onnx_peer import lstm_session
            run = lstm_session(layer, threads)
            return lambda: run(values), lambda: run(values)
        x = lib.from_numpy(values)
        if what == "forward":
            return lambda: layer(x), lambda: layer(x)[0]
        ones, parameters = lib.ones(steps, batch, hidden), list(layer.parameters())

        def step():
            for p in parameters:
                p.grad = None
            layer(x)[0].backward(ones)
            return parameters[0].grad
        return step, step
    return build


def streaming(side, threads):
    """One step of one sequence, the state carried from call to call."""
    lib = library(side, threads)
    layer, x = lib.nn.LSTM(64, 128), lib.from_numpy(draw(1, 1, 64))
    state = layer(x)[1]

    def call():
        nonlocal state
        y, state = layer(x, state)
        return y
    return call, lambda: layer(x)[0]


def arithmetic(kind, steps, batch, inputs, hidden, layers):
    """Operations of the products: (forward, training step without a gradient of the input)."""
    row = 2.0 * steps * batch * GATES[kind] * hidden
    forward = row * sum((hidden if i else inputs) + hidden for i in range(layers))
    return forward, 3 * forward - row * inputs


def cases():
    for name, shape in LAYERS.items():
        for what, flops in zip(("forward", "training"), arithmetic(*shape), strict=True):
            yield Case("recurrent", f"{name} {what}", ("fastnn", "torch"), whole(what, *shape), flops=flops, quick=name.startswith("RNN"))
    yield Case("recurrent", "LSTM T128 b1 64->128 forward", ("fastnn", "torch", "onnxruntime"), whole("forward", *ONE),
               flops=arithmetic(*ONE)[0], quick=True)
    yield Case("recurrent", "LSTM one streaming step b1 64->128", ("fastnn", "torch"), streaming, quick=True)
