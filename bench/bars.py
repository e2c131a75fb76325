"""What must be reached: each bar names the cases it covers, the figure, how they are joined, and the least value."""
import re
import statistics


class Bar:
    """`figure` is a peer (its time over ours), "fraction" (of the bound), or "us" (ours per call, divided by `per`)."""

    def __init__(self, issue, text, group, names, figure, join, least=None, most=None, threads=2, side=None, per=1):
        self.issue, self.text, self.group, self.names, self.figure, self.join = issue, text, group, names, figure, join
        self.least, self.most, self.threads, self.side, self.per = least, most, threads, side, per

    def value(self, results):
        """The figure from the results, or None where a case was not measured."""
        found = [r for r in results if r["group"] == self.group and r["threads"] == self.threads
                 and re.fullmatch(self.names, r["name"]) and "seconds" in r]
        values = [v for v in map(self.figure_of, found) if v is not None]
        return JOINS[self.join](values) if values else None

    def figure_of(self, result):
        seconds = result["seconds"]
        side = self.side or result["own"]
        if side not in seconds:
            return None
        if self.figure == "fraction":
            return result["fraction"]
        if self.figure == "us":
            return 1e6 * seconds[side] / self.per
        if side == result["own"]:           # the median of the rounds' ratios
            peers = [result["ratio"].get(p) for p in self.figure.split("|")]
        else:
            peers = [seconds[p] / seconds[side] if p in seconds else None for p in self.figure.split("|")]
        return None if None in peers else min(peers)

    def passes(self, value):
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def wanted(self):
        return f">= {self.least:g}" if self.most is None else f"<= {self.most:g}"


JOINS = {"least": min, "most": max, "mean": statistics.geometric_mean}
SKINNY = "(1|8|32)x.*"
BETTER = "numpy|torch"

BARS = [
    *(Bar(2, f"GEMM {n}^3, fraction of the peak", "gemm", rf"{n}\^3", "fraction", "least", least, threads=t)
      for n in (512, 1024) for t, least in ((1, 0.92), (2, 0.88))),
    *(Bar(2, "GEMM 512^3 and 1024^3, against the better peer, least", "gemm", r".*\^3", BETTER, "least", 1.0, threads=t) for t in (1, 2)),
    *(Bar(2, "GEMM of layers, against the better peer, least", "gemm", r".*x.*", BETTER, "least", 1.0, threads=t) for t in (1, 2)),
    *(Bar(2, "GEMM of layers, M <= 32, geometric mean", "gemm", SKINNY, BETTER, "mean", 2.0, threads=t) for t in (1, 2)),
    Bar(2, "GEMM of layers 784x256, 1024x1024, M >= 32, fraction of the peak, least", "gemm", "(32|128)x(784x256|1024x1024) .*",
        "fraction", "least", 0.9, threads=1),
    Bar(2, "elementwise on 1e6, torch, geometric mean", "pointwise", ".*", "torch", "mean", 1.5),
    *(Bar(2, f"{name} on 1e6, fraction of the copy bandwidth", "pointwise", name, "fraction", "least", 0.9)
      for name in ("exp", "tanh", "sigmoid", "gelu", "softmax", "layer_norm", "adam", "dropout")),
    Bar(2, "eager op with recording, us", "overhead", ".*, recording", "us", "most", most=1.0, per=100),
    Bar(2, "eager op without recording, us", "overhead", ".*, no_grad", "us", "most", most=0.5, per=100),
    *(Bar(2, f"eager step {name}, torch eager", "train", name, "torch", "least", least, side="fastnn")
      for name, least in (("mlp_tiny", 5), ("mlp_small", 5), ("mlp_512", 2), ("mlp_large", 1.25))),
    *(Bar(3, f"compiled step {name}, torch eager", "train", name, "torch", "least", least)
      for name, least in (("mlp_tiny", 40), ("mlp_small", 15), ("mlp_middle", 3.5), ("autoencoder", 2.3), ("mlp_large", 1.35))),
    Bar(3, "inference batch 1 and 32, onnxruntime, least", "infer", ".* (1|32)", "onnxruntime", "least", 1.0),
    Bar(3, "inference batch 1024, onnxruntime, least", "infer", ".* 1024", "onnxruntime", "least", 0.95),
    Bar(3, "inference batch 1 and 32, torch, geometric mean", "infer", ".* (1|32)", "torch", "mean", 3.0),
]

STARTS = [(2, "import over NumPy, ms", "import ms", 40), (2, "import over NumPy, MB", "import MB", 12),
          (2, "installed size, MB", "installed MB", 12)]
# Bars of the same issues that no case measures yet; the report says so.
MISSING = [(3, "MLP 16-32-32-4 against JAX jit (8x)"), (3, "mlp_large at 80 % of its bound"), (3, "compile time"),
           (3, "allocations per step"), (3, "peak memory against torch"), (3, "a busy process on one core"),
           (3, "a call after 20 ms of idleness")]


def verdicts(data):
    """Rows (issue, text, threads, wanted, value or None, passes or None)."""
    rows = []
    for bar in BARS:
        value = bar.value(data["results"])
        rows.append((bar.issue, bar.text, bar.threads, bar.wanted(), value, None if value is None else bar.passes(value)))
    for issue, text, key, most in STARTS:
        value = data["start"].get(key)
        rows.append((issue, text, "-", f"<= {most}", value, None if value is None else value <= most))
    rows += [(issue, text, "-", "", None, None) for issue, text in MISSING]
    return sorted(rows, key=lambda row: row[0])
