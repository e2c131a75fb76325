"""Results as text: lines while measuring, the Markdown report, what became slower, a picture."""
import re

from bench.bars import verdicts

SLOWER = 0.9            # a ratio below this part of the recorded one is listed
WORDS = {True: "pass", False: "short", None: "not measured"}


def line(found):
    """One case in one line."""
    head = f"{found['group']:9s} {found['name']:28s} {found['threads']}t "
    faults = "".join(f"  {side} FAILED: {text}" for side, text in found["faults"].items())
    if "seconds" not in found:
        return head + faults
    ranges = {s: f" ({ratio:.2f}x, {found['range'][s][0]:.2f}-{found['range'][s][1]:.2f})" for s, ratio in found["ratio"].items()}
    times = "  ".join(f"{s} {1e6 * t:10.1f} us{ranges.get(s, '')}" for s, t in found["seconds"].items())
    bound = f"  {found['fraction']:.0%} of the bound" if found["fraction"] is not None else ""
    return head + times + bound + faults


def bars_table(data):
    """The bars as a Markdown table."""
    rows = ["| issue | what | threads | wanted | measured | |", "|---|---|---|---|---|---|"]
    for issue, text, threads, wanted, value, good in verdicts(data):
        figure = "" if value is None else f"{value:.3g}"
        rows.append(f"| {issue} | {text} | {threads} | {wanted} | {figure} | {WORDS[good]} |")
    return "\n".join(rows)


def markdown(data):
    """The whole report; `python -m bench --report` writes it."""
    facts = data["machine"]
    parts = ["# Benchmarks", "", "Written by `python -m bench --report docs/benchmarks.md`; do not edit.", "", "## Conditions", ""]
    parts += [f"* {key}: {value}" for key, value in facts.items()]
    parts += ["", "Each side runs in a process of its own with the same number of threads; the sides take turns, with pauses; a ratio "
              "is the median of the rounds' ratios (range behind it), above 1 where fastnn is faster. Outputs are compared "
              "before anything is timed. The bound is the time at the multiply-add peak of the same run, or that of a copy "
              "that moves as many bytes.", "",
              "## Bars", "", bars_table(data), "", "## Cases", "",
              "| case | threads | times, us | ratios | of the bound |", "|---|---|---|---|---|"]
    for r in data["results"]:
        if "seconds" in r:
            times = ", ".join(f"{s} {1e6 * t:.1f}" for s, t in r["seconds"].items())
            ratios = ", ".join(f"{s} {v:.2f} ({r['range'][s][0]:.2f}-{r['range'][s][1]:.2f})" for s, v in r["ratio"].items())
            bound = "" if r["fraction"] is None else f"{r['fraction']:.0%}"
        else:
            times = ratios = bound = ""
        faults = "".join(f" {s}: {t}" for s, t in r["faults"].items()).replace("|", "/")
        parts.append(f"| {r['group']} {r['name']} | {r['threads']} | {times}{faults} | {ratios} | {bound} |")
    return "\n".join(parts) + "\n"


def readme_table(data):
    """Steps and inference of whole networks for the README."""
    rows = ["| network, 2 threads | against | fastnn is |", "|---|---|---|"]
    for r in data["results"]:
        if r["group"] in ("train", "infer") and "ratio" in r:
            rows += [f"| {r['group']} {r['name']} | {peer} | {ratio:.1f}x as fast |" for peer, ratio in r["ratio"].items()
                     if peer in ("torch", "onnxruntime")]
    return "\n".join(rows)


def with_table(text, data):
    """The README's text with the table behind its mark replaced."""
    return re.sub(r"<!-- benches -->\n(?:\n?\|.*)*", lambda _: f"<!-- benches -->\n\n{readme_table(data)}", text, count=1)


def slower(data, old):
    """Lines on ratios that fell by more than a tenth since the recorded run."""
    before = {(r["group"], r["name"], r["threads"]): r.get("ratio", {}) for r in old["results"]}
    lines = []
    for r in data["results"]:
        for peer, now in r.get("ratio", {}).items():
            was = before.get((r["group"], r["name"], r["threads"]), {}).get(peer)
            if was and now < SLOWER * was:
                lines.append(f"{r['group']} {r['name']}, {r['threads']} threads, against {peer}: {was:.2f}x before, {now:.2f}x now")
    return lines


def plot(data, path):
    """Bars of the ratios as a PNG."""
    from matplotlib.figure import Figure
    points = [(f"{r['group']} {r['name']} ({r['threads']})", peer, value)
              for r in data["results"] for peer, value in r.get("ratio", {}).items()]
    figure = Figure(figsize=(9, 1 + 0.16 * len(points)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh([f"{name} / {peer}" for name, peer, _ in points], [v for *_, v in points])
    axes.set(xscale="log", xlabel="times as fast as the peer")
    axes.axvline(1, color="black")
    axes.tick_params(axis="y", labelsize=6)
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
