"""Ratios as bars, and the roofline: PNG by matplotlib, which only these functions need."""
import statistics

COLOURS = {"torch": "#d1592a", "torch.compile": "#f2a07e", "numpy": "#3b75af", "onnxruntime": "#519e3e", "jax": "#8d69b8",
           "sklearn": "#c9a227"}


def ratios(data, target):
    """How many times as fast as each peer, on a logarithmic axis; the many matrix products as quartiles."""
    from matplotlib.figure import Figure
    points = list(joined(data["results"]))
    figure = Figure(figsize=(9, 1.2 + 0.17 * len(points)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, peer, low, value, high) in enumerate(points):
        axes.barh(place, value - 1, left=1, color=COLOURS.get(peer, "black"), height=0.8)
        axes.plot([low, high], [place, place], color="black", linewidth=0.7)
    axes.set_yticks(range(len(points)), [f"{name} / {peer}" for name, peer, *_ in points], fontsize=6)
    axes.set(xscale="log", xlabel="times as fast as the peer (line: range of the rounds)", ylim=(len(points), -1))
    axes.axvline(1, color="black", linewidth=0.8)
    figure.savefig(target, dpi=110, format="png")


def joined(results):
    """(name, peer, low, ratio, high) of every case; of gemm one line per product and batch, over the layers."""
    gemm = {}
    for r in results:
        for peer, value in r.get("ratio", {}).items():
            if r["group"] == "gemm" and "^" not in r["name"]:
                batch, rest = r["name"].split("x", 1)
                gemm.setdefault((f"gemm batch {batch} {rest.split()[1]}, median of layers, {r['threads']} t", peer), []).append(value)
            else:
                yield (f"{r['group']} {r['name']}, {r['threads']} t", peer, r["range"][peer][0], value, r["range"][peer][1])
    for (name, peer), values in gemm.items():
        yield name, peer, min(values), statistics.median(values), max(values)


def roofline(data, target):
    """Speed against arithmetic per byte of operands and results, under the two roofs of the machine."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    points = [r for r in data["results"] if r.get("flops") and r.get("traffic") and "seconds" in r]
    for group in dict.fromkeys(r["group"] for r in points):
        mine = [r for r in points if r["group"] == group]
        axes.plot([r["flops"] / r["traffic"] for r in mine], [1e-9 * r["flops"] / r["seconds"][r["own"]] for r in mine], "o", markersize=4,
                  label=group)
    rates = {r["threads"]: r["peak"] for r in points}
    for threads, bandwidth in data.get("bandwidth", {}).items():
        peak = rates.get(int(threads))
        if peak:
            x = [0.05, peak / bandwidth, 2000]
            axes.plot(x, [1e-9 * min(peak, v * bandwidth) for v in x], color="black", linewidth=0.5 + 0.5 * int(threads),
                      label=f"multiply-adds and memory, {threads} threads")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s")
    if points:
        axes.legend(fontsize=7)
    figure.savefig(target, dpi=110, format="png")
