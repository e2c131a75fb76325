"""What is measured: a case names its group and builds, for one side, a call and the result that the sides must agree on."""
import numpy as np

from bench import gemm, models

LAYERS = ((64, 128), (784, 256), (256, 10), (1024, 1024), (2048, 1000))
POINTWISE = ("exp", "tanh", "sigmoid", "gelu", "softmax", "layer_norm", "dropout", "adam")
INFERENCE = ("mlp_tiny", "mlp_small", "mlp_middle", "autoencoder", "mlp_large")
MILLION = 1000, 1000


class Case:
    """One measurement: `build(side, threads)` gives (call, result or None); `flops` and `nbytes` are of one call."""

    def __init__(self, group, name, sides, build, flops=0.0, nbytes=0.0, tolerance=1e-3):
        self.group, self.name, self.sides, self.build = group, name, sides, build
        self.flops, self.nbytes, self.tolerance = flops, nbytes, tolerance


def library(side, threads):
    """The module of a side, set to so many threads."""
    if side == "torch":
        import torch as module
    else:
        import fastnn as module
    module.set_num_threads(threads)
    return module


def product(operands):
    """The builder of one matrix product: fastnn as the bare kernel, the peers with their dispatch."""
    def build(side, threads):
        a, b, out = operands()
        if side == "numpy":
            return lambda: np.matmul(a, b, out=out), lambda: out
        module = library(side, threads)
        if side == "torch":
            x, y, z = (module.from_numpy(v) for v in (a, b, out))
            return lambda: module.mm(x, y, out=z), lambda: out
        import fastnn.kernels.gemm  # noqa: F401  declares the kernels
        from fastnn.kernels import native
        flops = 2.0 * out.size * a.shape[1]
        sizes = [*out.shape, a.shape[1], *(s // v.itemsize for v in (a, b, out) for s in v.strides), 0, 1, 0, 0, 0]
        return lambda: native.call("matmul_batched", [a, b, None, out], sizes, threads=threads, flops=flops, nbytes=0), lambda: out
    return build


def pick(generator, name):
    return lambda: next(operands for found, *operands in generator() if found == name)


def products():
    for n in (512, 1024):
        yield Case("gemm", f"{n}^3", ("fastnn", "numpy", "torch"), product(pick(lambda n=n: gemm.cube(n), "cube nn")), 2.0 * n ** 3)
    for inputs, outputs in LAYERS:
        for batch in (1, 8, 32, 128):
            for name in ("forward", "dX", "dW"):
                operands = pick(lambda s=(batch, inputs, outputs): gemm.linear(*s), f"{name} rows")
                yield Case("gemm", f"{batch}x{inputs}x{outputs} {name}", ("fastnn", "numpy", "torch"), product(operands),
                           2.0 * batch * inputs * outputs)


def pointwise(name):
    def build(side, threads):
        lib = library(side, threads)
        f = lib.nn.functional
        x = lib.from_numpy(np.random.default_rng(0).standard_normal(MILLION, np.float32))
        if name == "adam":
            p = lib.nn.Parameter(x)
            p.grad = lib.ones_like(x)
            return lib.optim.Adam([p], lr=1e-3).step, lambda: p.detach().numpy()
        call = {"exp": lambda: lib.exp(x), "tanh": lambda: lib.tanh(x), "sigmoid": lambda: lib.sigmoid(x), "gelu": lambda: f.gelu(x),
                "softmax": lambda: f.softmax(x, -1), "layer_norm": lambda: f.layer_norm(x, (1000,)),
                "dropout": lambda: f.dropout(x, 0.5)}[name]
        # Masks of dropout come from different generators.
        return without_gradient(lib, call), None if name == "dropout" else lambda: call().numpy()
    return build


def without_gradient(lib, call):
    def run():
        with lib.no_grad():
            return call()
    return run


def overhead(recording, many=100):
    """Additions of 8 numbers; the peak of the figure is the call, not the arithmetic."""
    def build(side, threads):
        lib = library(side, threads)
        x, y = lib.ones(8), lib.ones(8)
        x.requires_grad = recording

        def run():
            for _ in range(many):
                z = x + y
            return z
        return run if recording else without_gradient(lib, run), lambda: run().detach().numpy()
    return build


def training(name):
    def build(side, threads):
        step = models.prepare({"fastnn": "eager"}.get(side, side), name, threads)
        return step, lambda: np.array([float(step().item()) for _ in range(8)])
    return build


def inference(name, batch):
    def build(side, threads):
        lib = library("torch" if side in ("torch", "onnxruntime") else "fastnn", threads)
        lib.manual_seed(0)
        model, _, _, shape, *_ = models.CASES[name](lib.nn, lib.optim)
        model.eval()
        values = np.random.default_rng(0).standard_normal((batch, *shape), np.float32)
        if side == "onnxruntime":
            from bench.onnx_peer import session
            run = session(model, values.shape[1], threads)
            return lambda: run(values), lambda: run(values)
        x = lib.from_numpy(values)
        forward = lib.compile(model) if side == "compiled" else model
        call = without_gradient(lib, lambda: forward(x))
        return call, lambda: call().numpy()
    return build


def all_cases():
    """Every case, in the order of the report."""
    yield from products()
    for name in POINTWISE:
        words = 7 if name == "adam" else 2
        yield Case("pointwise", name, ("fastnn", "torch"), pointwise(name), nbytes=4.0 * words * 1e6)
    yield Case("overhead", "100 additions, recording", ("fastnn", "torch"), overhead(True))
    yield Case("overhead", "100 additions, no_grad", ("fastnn", "torch"), overhead(False))
    for name in models.CASES:
        # Dropout's masks differ between the libraries, so the losses of these two agree only roughly.
        yield Case("train", name, ("compiled", "fastnn", "torch"), training(name),
                   tolerance=0.3 if name in ("mlp_middle", "mlp_512") else 1e-2)
    for name in INFERENCE:
        for batch in (1, 32, 1024):
            yield Case("infer", f"{name} batch {batch}", ("compiled", "onnxruntime", "torch"), inference(name, batch))
