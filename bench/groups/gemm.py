"""Matrix products as a user writes them: cubes, and the three products of a Linear layer on its own weight."""
from bench.case import Case, draw, library

LAYERS = ((64, 128), (784, 256), (256, 10), (1024, 1024), (2048, 1000))
BATCHES = (1, 8, 32, 128)
SIDES = ("fastnn", "numpy", "torch")


def cube(n):
    def build(side, threads):
        a, b = draw(n, n), draw(n, n, seed=1)
        if side != "numpy":
            lib = library(side, threads)
            a, b = lib.from_numpy(a), lib.from_numpy(b)
        return lambda: a @ b, lambda: a @ b
    return build


def layer(product, batch, inputs, outputs):
    """The weight lies as the side's own `nn.Linear` keeps it; NumPy has torch's layout.  No side is given a place for the result."""
    def build(side, threads):
        x, dy, w = draw(batch, inputs), draw(batch, outputs), draw(outputs, inputs)
        if side == "numpy":
            call = {"forward": lambda: x @ w.T, "dX": lambda: dy @ w, "dW": lambda: dy.T @ x}[product]
            return call, call
        lib = library(side, threads)
        linear = lib.nn.Linear(inputs, outputs, bias=False)
        linear.weight.copy_(lib.from_numpy(w))
        x, dy, w, f = lib.from_numpy(x), lib.from_numpy(dy), linear.weight, lib.nn.functional.linear
        call = {"forward": lambda: f(x, w), "dX": lambda: dy @ w, "dW": lambda: dy.T @ x}[product]
        return call, call
    return build


def cases():
    for n in (512, 1024):
        yield Case("gemm", f"{n}^3", SIDES, cube(n), flops=2.0 * n ** 3, traffic=12.0 * n * n, threads=(2, 1), quick=n == 512)
    for inputs, outputs in LAYERS:
        for batch in BATCHES:
            for product in ("forward", "dX", "dW"):
                yield Case("gemm", f"{batch}x{inputs}x{outputs} {product}", SIDES, layer(product, batch, inputs, outputs),
                           flops=2.0 * batch * inputs * outputs, threads=(2, 1), quick=inputs == 784 and batch == 32,
                           traffic=4.0 * (batch * (inputs + outputs) + inputs * outputs))
