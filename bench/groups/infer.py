"""Inference of whole networks: the compiled model beside onnxruntime and torch."""
from bench import models
from bench.case import Case, draw, library

DENSE = ("mlp_tiny", "mlp_small", "mlp_middle", "autoencoder", "mlp_large")
CONVOLUTIONAL = ("lenet5", "vgg_small", "resnet20")


def inference(name, batch):
    def build(side, threads):
        lib = library("torch" if side == "onnxruntime" else side, threads)
        model, _, _, shape, *_ = models.CASES[name](lib.nn, lib.optim)
        model.eval()
        values = draw(batch, *shape)
        if side == "onnxruntime":
            from bench.onnx_peer import session
            run = session(model, shape, threads)
            return lambda: run(values), lambda: run(values)
        x = lib.from_numpy(values)
        forward = lib.compile(model) if side == "compiled" else model
        return lambda: forward(x), lambda: forward(x)
    return build


def cases():
    for name in DENSE:
        for batch in (1, 32, 1024):
            yield Case("infer", f"{name} batch {batch}", ("compiled", "onnxruntime", "torch"), inference(name, batch),
                       quick=batch < 1024 and name in ("mlp_small", "mlp_middle"))
    for name in CONVOLUTIONAL:
        for batch in (1, 32):
            yield Case("infer", f"{name} batch {batch}", ("compiled", "onnxruntime", "torch"), inference(name, batch), quick=batch == 1)
