"""What must be reached: every bar with a number in it, and how its figure comes from the results."""
import re
import statistics

from bench.bare import LOOP

FIGURES = "fraction", "memory", "us", "allocations"
JOINS = {"least": min, "most": max, "mean": statistics.geometric_mean}


class Bar:
    """`value(results)` is the figure, or None where something it needs was not measured.

    `value.reach(results)`, where there is one, is the figure that a program without loss would have: every case at its bound.
    """

    def __init__(self, issue, text, value, *, least=None, most=None, threads=2):
        self.issue, self.text, self.value, self.least, self.most, self.threads = issue, text, value, least, most, threads

    def passes(self, value):
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def reach(self, results):
        """What the bound leaves of a ratio, or None where that is not known or an algorithm passed it."""
        return self.value.reach(results) if hasattr(self.value, "reach") else None

    def wanted(self):
        return f">= {self.least:g}" if self.most is None else f"<= {self.most:g}"


def from_cases(group, names, figure, join="least", threads=2, side=None, per=1, bounded=True):
    """The joined figure of all cases whose name matches whole; None unless at least one was measured, and each that was has it.

    `figure` is one or several peers (ours against the fastest of "numpy|torch"), "fraction" (of the bound), "memory" (bytes moved
    per second, of the memory's bandwidth), "us" (microseconds divided by `per`) or "allocations" (of one call).  Not `bounded`: an
    algorithm of ours does less than the arithmetic of the bound.
    """
    def joined(results, figure_of_one):
        found = [r for r in results if re.fullmatch(group, r["group"]) and r["threads"] == threads and re.fullmatch(names, r["name"])]
        values = [figure_of_one(r) for r in found]
        return JOINS[join](values) if values and None not in values else None

    def value(results):
        return joined(results, lambda r: figure_of(r, figure, side or r["own"], per))

    def reach(results):
        return joined(results, lambda r: at_its_bound(r, figure, side or r["own"]))
    if figure not in FIGURES and bounded:
        value.reach = reach
    return value


def at_its_bound(result, peers, side):
    """A case's ratio to its peers if it took no longer than its bound, or None."""
    ratio, fraction = figure_of(result, peers, side, 1), result.get("fraction")
    if ratio is None or not fraction or fraction > 1 or result.get("passable") or side != result["own"]:
        return None
    return ratio / fraction


def figure_of(result, figure, side, per):
    """One case's figure, or None."""
    seconds = result.get("seconds", {})
    if side not in seconds:
        return None
    if figure == "fraction":
        return result["fraction"]
    if figure == "memory":
        return result["traffic"] / seconds[side] / result["bandwidth"]
    if figure == "us":
        return 1e6 * seconds[side] / per
    if figure == "allocations":
        return result["allocations"].get(side)
    ratios = [seconds[p] / seconds[side] if p in seconds else None for p in figure.split("|")]
    return None if None in ratios else min(ratios)


def beside(group, names, side, threads=2):
    """The least of the cases' medians of the rounds' own ratios: for sides whose pace is the machine's, which changes between rounds."""
    def value(results):
        found = [r for r in results if r["group"] == group and r["threads"] == threads and re.fullmatch(names, r["name"])]
        values = [r.get("median", {}).get(side) for r in found]
        return min(values) if values and None not in values else None
    return value


def from_values(group, names, side, over=None, join="most"):
    """The joined values of one side in the special measurements, or what they are of those of the side `over`."""
    def value(results):
        found = [r["values"] for r in results if r["group"] == group and re.fullmatch(names, r["name"]) and "values" in r]
        if not found or any(side not in v or (over and over not in v) for v in found):
            return None
        return JOINS[join]([v[side] / v[over] if over else v[side] for v in found])
    return value


def idle_over_hot(what):
    """A call after idleness on two threads over the hot one on a single thread."""
    def value(results):
        found = {(r["name"], r["threads"]): r["values"].get("compiled") for r in results if r["group"] == "states" and "values" in r}
        idle, hot = found.get((f"mlp_256 {what}, after 20 ms", 2)), found.get((f"mlp_256 {what}, hot", 1))
        return idle / hot if idle and hot else None
    return value


def memory_of(name):
    """Bytes moved per second by a function on a million elements, of the memory's bandwidth; its reach is what its arithmetic leaves."""
    def reach(results):
        found = {r["name"]: r for r in results if r["group"] == "pointwise" and "seconds" in r}
        whole, cached = found.get(name), found.get(f"{name} in cache")
        if not whole or not cached:
            return None
        memory = whole["traffic"] / whole["bandwidth"]
        arithmetic = cached["seconds"]["fastnn"] / cached["traffic"] * whole["traffic"] / whole["threads"]
        return memory / max(memory, arithmetic)
    value = from_cases("pointwise", name, "memory")
    value.reach = reach
    return value


BETTER = "numpy|torch"
POINTWISE = ("exp", "tanh", "sigmoid", "gelu", "softmax", "layer_norm", "adam", "dropout")
DENSE = "(mlp_tiny|mlp_small|mlp_middle|autoencoder|mlp_large)"
CNN = "(lenet5|vgg_small|resnet20)"

FOUNDATION = [
    *(Bar(2, f"GEMM {n}^3, fraction of the peak", from_cases("gemm", rf"{n}\^3", "fraction", threads=t), least=least, threads=t)
      for n in (512, 1024) for t, least in ((1, 0.92), (2, 0.88))),
    *(Bar(2, "GEMM 512^3 and 1024^3 against the better peer, least", from_cases("gemm", r".*\^3", BETTER, threads=t), least=1, threads=t)
      for t in (1, 2)),
    *(Bar(2, "GEMM of layers against the better peer, least", from_cases("gemm", ".*x.*", BETTER, threads=t), least=1, threads=t)
      for t in (1, 2)),
    *(Bar(2, "GEMM of layers, M <= 32, against the better peer, geometric mean",
          from_cases("gemm", "(1|8|32)x.*", BETTER, "mean", threads=t), least=2, threads=t) for t in (1, 2)),
    Bar(2, "GEMM of layers 784x256 and 1024x1024, M >= 32, fraction of the peak, least",
        from_cases("gemm", "(32|128)x(784x256|1024x1024) .*", "fraction", threads=1), least=0.9, threads=1),
    Bar(2, "functions, softmax, layer norm, Adam, dropout on 1e6 against torch, geometric mean",
        from_cases("pointwise", "|".join(POINTWISE), "torch", "mean"), least=1.5),
    *(Bar(2, f"{name} on 1e6, bytes moved, of the memory bandwidth", memory_of(name), least=0.9) for name in POINTWISE),
    *(Bar(2, f"{name}, ULP (sampled)", from_values("accuracy", name, "fastnn"), most=most)
      for name, most in (("exp", 2), ("log", 2), ("tanh", 4), ("sigmoid", 4), ("erf", 4))),
    Bar(2, "eager op with recording, us", from_cases("overhead", ".*, recording", "us", "most", per=100), most=1.0),
    Bar(2, "eager op without recording, us", from_cases("overhead", ".*, no_grad", "us", "most", per=100), most=0.5),
    *(Bar(2, f"eager step {name} against torch eager", from_cases("train", name, "torch", side="fastnn"), least=least)
      for name, least in (("mlp_tiny", 5), ("mlp_small", 5), ("mlp_512", 2), ("mlp_large", 1.25))),
    Bar(2, "import over NumPy, ms", from_values("start", "import over NumPy", "fastnn"), most=40, threads="-"),
    Bar(2, "memory over NumPy, MB", from_values("start", "memory over NumPy", "fastnn"), most=12, threads="-"),
    Bar(2, "installed size, MB", from_values("start", "installed size", "fastnn"), most=12, threads="-"),
    Bar(2, "DNN of the tour, % of held-out digits", from_values("accuracy", "tour dnn", "fastnn"), least=97),
]

COMPILED = [
    *(Bar(3, f"compiled step {name} against torch eager", from_cases("train", name, "torch"), least=least)
      for name, least in (("mlp_tiny", 40), ("mlp_small", 15), ("mlp_middle", 3.5), ("autoencoder", 2.3), ("mlp_large", 1.35))),
    Bar(3, "compiled step mlp_tiny against JAX jit", from_cases("train", "mlp_tiny", "jax"), least=8),
    Bar(3, "compiled step mlp_large, fraction of its bound", from_cases("train", "mlp_large", "fraction"), least=0.8),
    Bar(3, "inference batch 1 and 32 against onnxruntime, least", from_cases("infer", DENSE + " batch (1|32)", "onnxruntime"), least=1),
    Bar(3, "inference batch 1024 against onnxruntime, least", from_cases("infer", DENSE + " batch 1024", "onnxruntime"), least=0.95),
    Bar(3, "inference batch 1 and 32 against torch, geometric mean",
        from_cases("infer", DENSE + " batch (1|32)", "torch", "mean"), least=3),
    Bar(3, "compile time of an MLP, ms, most", from_values("compile", "mlp_.*", "compiled"), most=5),
    Bar(3, "compile time of LeNet-5, ms", from_values("compile", "lenet5", "compiled"), most=20),
    Bar(3, "allocations of a compiled step, most", from_cases("train", ".*", "allocations", "most"), most=0),
    Bar(3, "peak memory of training dense networks, of torch's, most",
        from_values("memory", "(mlp_.*|autoencoder) peak", "compiled", "torch"), most=0.7),
    Bar(3, "its growth over the import, of torch's, most",
        from_values("memory", "(mlp_.*|autoencoder) growth", "compiled", "torch"), most=0.7),
    Bar(3, "a busy process on one core: times the quiet step, most", from_values("states", ".*one core busy.*", "compiled"), most=2.5),
    *(Bar(3, f"{what} after 20 ms of idleness, times the hot one-thread {what}", idle_over_hot(what), most=1.5)
      for what in ("inference", "step")),
]

CONVOLUTION = [
    Bar(4, "3x3 stride 1 against torch, geometric mean", from_cases("conv", r"3x3 .*", "torch", "mean"), least=1.5),
    Bar(4, "3x3 stride 1 against torch, least", from_cases("conv", r"3x3 .*", "torch"), least=1.05),
    Bar(4, "1x1 against torch, least", from_cases("conv", "1x1 .*", "torch"), least=1.1),
    Bar(4, "1x1 batch 8, fraction of the peak, least", from_cases("conv", "1x1 .* batch 8 .*", "fraction"), least=0.85),
    *(Bar(4, f"first layer {name} against torch, least", from_cases("conv", f"first {name}.*", "torch"), least=1.3)
      for name in ("1x28x28", "3x224x224")),
    Bar(4, "depthwise 3x3 against torch, least", from_cases("conv", "depthwise .*", "torch"), least=1.5),
    Bar(4, "pooling and batch norm on large maps against torch, geometric mean",
        from_cases("pool|norm", "(max|average|adaptive|batch norm maps) .*", "torch", "mean"), least=1.5),
    Bar(4, "pooling forward on large maps, bytes moved, of what a bare loop of as many reads and writes moves in the same rounds, least",
        beside("pool", ".* forward", LOOP), least=0.85),
    Bar(4, "batch norm eval and train, fraction of the copy bandwidth, least",
        from_cases("norm", "batch norm maps (eval|train)", "fraction"), least=0.85),
    *(Bar(4, f"compiled step {name} against torch eager", from_cases("train", name, "torch"), least=least)
      for name, least in (("lenet5", 3), ("vgg_small", 1.8), ("resnet20", 1.8))),
    Bar(4, "compiled steps of the three against torch.compile, least", from_cases("train", CNN, "torch.compile"), least=1),
    *(Bar(4, f"inference {name}, batch 1, against onnxruntime", from_cases("infer", f"{name} batch 1", "onnxruntime"), least=1)
      for name in ("lenet5", "vgg_small", "resnet20")),
    Bar(4, "peak memory of training CNNs, of torch's, most", from_values("memory", CNN + " peak", "compiled", "torch"), most=0.7),
    Bar(4, "its growth over the import, of torch's, most", from_values("memory", CNN + " growth", "compiled", "torch"), most=0.7),
    Bar(4, "CNN of the tour, % of held-out digits", from_values("accuracy", "tour cnn", "fastnn"), least=98.5),
]

RECURRENT = [
    *(Bar(5, f"{name} {what} against torch", from_cases("recurrent", f"{name} {what}", "torch"), least=least)
      for name, least in (("RNN T64 b32 32->64", 8), ("GRU T64 b64 64->256 2 layers", 1.7), ("LSTM T128 b32 64->128", 1.7),
                          ("LSTM T50 b64 128->512", 1.3)) for what in ("forward", "training")),
    *(Bar(5, f"{name} forward and training, fraction of the FMA bound, least",
          from_cases("recurrent", f"{name}.*(forward|training)", "fraction"), least=least)
      for name, least in (("GRU T64 b64", 0.75), ("LSTM T128 b32", 0.7))),
    Bar(5, "LSTM batch 1 T128 forward against torch", from_cases("recurrent", "LSTM T128 b1 .*", "torch"), least=3),
    Bar(5, "LSTM batch 1 T128 forward against onnxruntime", from_cases("recurrent", "LSTM T128 b1 .*", "onnxruntime"), least=1),
    Bar(5, "one streaming LSTM step, us", from_cases("recurrent", "LSTM one streaming step.*", "us", "most"), most=6),
    Bar(5, "LSTM with decaying states, times the usual", from_values("states", "LSTM with decaying .*", "fastnn"), most=1.1),
    Bar(5, "LSTM of the tour, % of held-out digits", from_values("accuracy", "tour lstm", "fastnn"), least=96),
]

BOLTZMANN = [
    Bar(6, "CD-1 784x500 b100 update against torch by hand, digits", from_cases("rbm", "CD-1 .* b100, digits", "torch", bounded=False),
        least=2.5),
    Bar(6, "CD-1 784x500 b100 update against scikit-learn, digits", from_cases("rbm", "CD-1 .* plain, digits", "sklearn", bounded=False),
        least=20),
    Bar(6, "CD-1 784x500 b100 update, fraction of the GEMM bound, half ones", from_cases("rbm", "CD-1 .* b100, half ones", "fraction"),
        least=0.75),
    Bar(6, "epoch of 256 units, b10, against scikit-learn", from_cases("rbm", "plain epoch .*", "sklearn", bounded=False), least=20),
    Bar(6, "Bernoulli samples, ns per element", from_cases("rbm", "Bernoulli 1e6", "us", "most", threads=1, per=1000), most=0.6, threads=1),
]

BARS = [*FOUNDATION, *COMPILED, *CONVOLUTION, *RECURRENT, *BOLTZMANN]

# Bars of the same issues that take minutes, other data or a clean machine: where they are checked.
ELSEWHERE = [
    (2, "parity with torch, 100 %", "the parity scripts, run by .ci/run parity"),
    (2, "ULP over all float32 inputs", "FASTNN_EXHAUSTIVE=1 python -m pytest tests/test_vmath.py"),
    (2, "build under 3 minutes, tour under 10 s, Ctrl-C within 100 ms", ".ci/run fresh, tests/test_robustness.py"),
    (3, "compiled steps equal eager ones bit for bit", "tests/test_compile.py"),
    (4, "error of convolution with Winograd <= 1e-4, without <= 1e-5", "tests/test_convolution.py"),
    (4, "Fashion-MNIST: LeNet-5 >= 90 %, VGG >= 92.5 %", "examples/fashion_mnist.py"),
    (5, "speakers >= 95 %, characters <= 2.3 bits, forecast below the naive one", "examples/speakers.py, char_lstm.py, forecast.py"),
    (6, "likelihood, exactness, ratings, topics, determinism", "tests/test_rbm.py and the examples"),
]


def verdicts(data):
    """Rows (issue, text, threads, wanted, value or None, word): met, short, beyond the bound, or not measured."""
    return [(bar.issue, bar.text, bar.threads, bar.wanted(), value, word_of(bar, value, data["results"]))
            for bar in BARS for value in [bar.value(data["results"])]]


def word_of(bar, value, results):
    if value is None:
        return "not measured"
    if bar.passes(value):
        return "met"
    reach = bar.reach(results)
    return "short" if reach is None or bar.passes(reach) else f"beyond the bound, which leaves {reach:.3g}"
