"""Results as text: lines while measuring, the report as Markdown and as a page, what became slower."""
import base64
import collections
import html
import io
import json
import math
import re
import statistics

from bench import pictures
from bench.bars import ELSEWHERE, verdicts
from bench.rounds import QUIET, key

SLOWER = 0.9            # a ratio below this part of the recorded one is listed
AGREED = math.log(1.07)  # how far apart ratios of two runs on a quiet machine may lie
README_TABLES = (       # heads, and (group, pattern of the name whose first part names the row) of each pair of columns
    (("network", "training step", "beside", "inference of one sample", "beside"), (("train", r"(\w+)"), ("infer", r"(\w+) batch 1"))),
    (("recurrent", "training step", "beside", "forward", "beside"), (("recurrent", "(.*) training"), ("recurrent", "(.*) forward"))),
    (("Boltzmann machine", "time", "beside"), (("rbm", "((?:CD-1|plain epoch|epoch).*)"),)),
)
README_PEERS = "torch", "torch.compile", "onnxruntime", "jax", "sklearn"
METHOD = """\
* Peaks are measured first and again before every round: multiply-adds of one core (`bench/lab/core_rates.c`), and what a copy moves.
* Each side runs in a process of its own with equal threads. The sides go one after the other in rounds, with pauses longer than anyone's
  spinning. All cases are measured in three turns, minutes apart and in new processes: what the machine does in one minute, and where a
  process happens to lie in memory, is then not the whole figure. A round is the median of many calls after a warm-up. A figure is a
  side's fastest round; where no other turn comes within 3 % of it, the case gets up to three turns more. A ratio is of two such figures,
  above 1 where fastnn is faster; beside it stand median and range of the rounds' own ratios. Bars were first held against those medians,
  but neighbours on the host slow one side more than the other, for minutes: between two runs of the same code on a quiet machine, of three
  turns each, 376 of 457 medians agreed within 7 % (half of them within 1.6 %), and 412 ratios of fastest rounds (half within 1.0 %); most
  of the others were one process's luck with where its arrays lie in the third level. Between a quiet run and one with neighbours on the
  cores in two thirds of its rounds, 357 to 365 agree after three turns and 378 to 386 after the further ones. Fastest times that two turns
  agree on were tried as figures: 420 agree on a quiet machine, but 336 with neighbours, as two disturbed turns may agree as well. What they
  can do is tell which ratios to rely on: one with a ~ before it had a side whose fastest round no second turn came near, after all turns.
  Of two runs of 2026-11-26 427 of 462 ratios agreed within 7 %, and 354 of the 362 without that mark in both; quantiles of all rounds
  (tenth, quarter, half: 425, 429, 361), the second fastest turn (430) and the median of the turns' own ratios (409) were tried beside it.
* Outputs (of training: the losses of eight steps) are compared before anything is timed; a side that differs is not timed.
* A side does what its user would write: on its own layout of weights and activations, results in new memory, gradients off where none are
  wanted. torch is eager unless it says torch.compile; optimizers have their default form.
* The bound is the time of the arithmetic at the multiply-add peak plus that of a copy that moves as many bytes; Winograd's algorithm
  and products by parts on matrix units (the set amx, docs/gemm.md) can pass it, so with amx no ratio is called beyond it. The copy lies in
  the same caches as the case: for a million elements in the third level, several times as fast as memory.
  Bars that name the memory's bandwidth are held against that of a copy larger than all caches, NumPy's or ours, the faster of the two.
* Pooling of maps larger than the caches is held against a bare loop in C (`bench/lab/bare.c`) that reads as many bytes and writes as many
  past the caches, fetched ahead, in one, two or four streams per thread, whichever is fastest; it is a side as any other. A copy will not
  do: reading never reaches what a copy moves, since reading and writing overlap (40 against 64 GB/s, in better minutes 86 against 117),
  and this machine's memory changes between those two paces within seconds. So that bar takes the median of the ratios within a round: the
  fastest rounds of two sides may be of different paces (1.40 where the rounds' median was 0.97).
* A ratio is "beyond the bound" where even a program that takes exactly the bound would not reach it: the peer is too near the bound itself.
  So is a part of the memory's bandwidth where the function's arithmetic alone, out of a cache on every core, takes longer.
* Allocations are blocks that a call asks of the system.
* Memory is the peak of a fresh process that trains for twelve steps, import included; growth is what came after the import.
* What a neighbour on the same host takes shows in no count of ticks. Memory and cache are probed before and after every case, and how many
  instructions each core issues before and after every side of a round: a guest on the other half of a core takes a quarter to a half of
  them. A round is quiet if it had none of these beside it; a case without three quiet rounds gets more turns as well.
* A run on a busy machine says so, under conditions. `--compare` says how far the ratios of two runs agree."""


def is_confirmed(found, side):
    """Whether a second turn came near the fastest round of either side of a ratio."""
    return not {found.get("own"), side} & set(found.get("alone", ()))


def spread(found, side, times=""):
    """A ratio, marked where no second turn confirms it, the median of the rounds' ratios, and their range."""
    low, high = found["range"][side]
    mark = "" if is_confirmed(found, side) else "~"
    return f"{mark}{found['ratio'][side]:.2f}{times} (median {found['median'][side]:.2f}, {low:.2f}-{high:.2f})"


def line(found):
    """One result in one line."""
    head = f"{found['group']:9s} {found['name']:34s} {found['threads']}t "
    faults = "".join(f"  {side} FAILED: {text}" for side, text in found["faults"].items())
    if "values" in found:
        return head + "  ".join(f"{s} {v:.4g}" for s, v in found["values"].items()) + f" {found['unit']}" + faults
    if "seconds" not in found:
        return head + faults
    ranges = {s: f" {spread(found, s, 'x')}" for s in found["ratio"]}
    times = "  ".join(f"{s} {1e6 * t:9.1f} us{ranges.get(s, '')}" for s, t in found["seconds"].items())
    bound = f"  {found['fraction']:.0%} of the bound" if found["fraction"] is not None else ""
    return head + times + bound + faults


def bars_table(data, measured=False):
    """The bars as a Markdown table, all or those that were measured."""
    found = [row for row in verdicts(data) if row[-1] != "not measured" or not measured]
    count = collections.Counter(row[-1].split(",")[0] for row in found)
    rows = [f"{count['met']} of {len(found)} bars met, {count['short']} short, {count['beyond the bound']} beyond what the bound leaves, "
            f"{count['not measured']} not measured."
            + " Joined figures are over the cases of this selection." * data["selection"], "",
            "| issue | what | threads | wanted | measured | |", "|---|---|---|---|---|---|"]
    for issue, text, threads, wanted, value, word in found:
        figure = "" if value is None else f"{value:.3g}"
        rows.append(f"| {issue} | {text} | {threads} | {wanted} | {figure} | {word} |")
    return "\n".join(rows)


def cells(r):
    """(case, threads, times or values, ratios, fraction of the bound, allocations, faults) of a result, as texts."""
    faults = "; ".join(f"{s}: {t}" for s, t in r["faults"].items()).replace("|", "/")
    times = ratios = bound = counts = ""
    if "values" in r:
        times = ", ".join(f"{s} {v:.4g}" for s, v in r["values"].items()) + f" {r['unit']}"
        ratios = ", ".join(f"{s} {v / r['values'][r['own']]:.2f}" for s, v in list(r["values"].items())[1:] if r["values"].get(r["own"]))
    elif "seconds" in r:
        times = ", ".join(f"{s} {1e6 * t:.1f}" for s, t in r["seconds"].items()) + " us"
        ratios = ", ".join(f"{s} {spread(r, s)}" for s in r["ratio"])
        bound = "" if r["fraction"] is None else f"{r['fraction']:.0%}"
        counts = ", ".join(f"{n:g}" for n in r["allocations"].values())
    return r["name"], str(r["threads"]), times, ratios, bound, counts, faults


HEADS = "case", "threads", "times or values", "of the peers, times ours", "of the bound", "allocations", "failed"


def by_group(data):
    """(group, its results) in the order of measuring."""
    groups = {}
    for r in data["results"]:
        groups.setdefault(r["group"], []).append(r)
    return groups.items()


def markdown(data):
    """The whole report; `python -m bench --record` writes it."""
    rounds = f"{data.get('turns', 1)} turns of {data['rounds']} rounds"
    minutes = f"* duration: {data['seconds'] / 60:.1f} minutes, {rounds}" if "seconds" in data else ""
    parts = ["# Benchmarks", "", "Written by `python -m bench --record`; do not edit.", "",
             "![ratios](benchmarks-ratios.png)", "", "![roofline](benchmarks-roofline.png)", "", "## Conditions", "",
             *(f"* {name}: {value}" for name, value in data["machine"].items()), minutes, "", "## Method", "", METHOD, "",
             "## Bars", "", bars_table(data), "", "Checked elsewhere:", "", "| issue | what | where |", "|---|---|---|",
             *(f"| {issue} | {what} | {where} |" for issue, what, where in ELSEWHERE), ""]
    for group, results in by_group(data):
        parts += [f"## {group}", "", "| " + " | ".join(HEADS) + " |", "|---" * len(HEADS) + "|",
                  *("| " + " | ".join(cells(r)) + " |" for r in results), ""]
    return "\n".join(parts)


def page(data):
    """The report as one page of HTML that needs no other file."""
    def table(heads, rows):
        def row(texts, tag):
            return "<tr>" + "".join(f"<{tag}>{html.escape(str(t))}</{tag}>" for t in texts) + "</tr>"
        return "<table>" + row(heads, "th") + "".join(row(r, "td") for r in rows) + "</table>"

    def picture(draw):
        try:
            draw(data, buffer := io.BytesIO())
        except ImportError:
            return "<p>No picture: matplotlib is not installed.</p>"
        return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    bars = [(i, text, t, wanted, "" if v is None else f"{v:.3g}", word) for i, text, t, wanted, v, word in verdicts(data)]
    parts = ["<!doctype html><meta charset=utf-8><title>fastnn benchmarks</title>",
             "<style>body{font:14px sans-serif;max-width:75em;margin:2em auto}img{max-width:100%}"
             "td,th{padding:2px 8px;text-align:left;border-bottom:1px solid #ddd}</style><h1>fastnn benchmarks</h1><h2>Conditions</h2>",
             table(("", ""), data["machine"].items()),
             "<h2>Method</h2><ul>", *(f"<li>{html.escape(' '.join(text.split()))}" for text in METHOD[2:].split("\n* ")), "</ul>",
             picture(pictures.ratios), picture(pictures.roofline), "<h2>Bars</h2>",
             table(("issue", "what", "threads", "wanted", "measured", ""), bars), table(("issue", "checked elsewhere", "where"), ELSEWHERE)]
    for group, results in by_group(data):
        parts += [f"<h2>{group}</h2>", table(HEADS, map(cells, results))]
    return "\n".join(parts)


def readme_table(data):
    """Whole networks and machines on two threads for the README: times, and how many times as fast as each peer."""
    tables = []
    for heads, columns in README_TABLES:
        rows = {}
        for column, (group, pattern) in enumerate(columns):
            for r in data["results"]:
                named = r["group"] == group and r["threads"] == 2 and r.get("ratio") and re.fullmatch(pattern, r["name"])
                if named:
                    row = rows.setdefault(named[1], ["", ""] * len(columns))
                    beside = ", ".join(f"{v:.1f}x {p}" for p, v in r["ratio"].items() if p in README_PEERS)
                    microseconds = 1e6 * r["seconds"][r["own"]]
                    row[2 * column:2 * column + 2] = f"{microseconds:,.{0 if microseconds > 100 else 1}f} us", beside
        if rows:
            tables.append("\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads)]
                                    + [[name, *row] for name, row in rows.items()]))
    return "\n\n".join(tables)


def with_table(text, data):
    """The README's text with the table behind its mark replaced."""
    return re.sub(r"<!-- benches -->\n(?:\n*\|.*)*", lambda _: f"<!-- benches -->\n\n{readme_table(data)}", text, count=1)


def recorded(data):
    """The ratios alone, which `--check` compares with."""
    kept = [{k: r[k] for k in ("group", "name", "threads", "own", "ratio", "range", "quiet", "alone") if k in r}
            for r in data["results"] if r.get("ratio")]
    rows = ",\n".join(json.dumps(r) for r in kept)
    return f'{{"machine": {json.dumps(data["machine"])},\n"results": [\n{rows}\n]}}\n'


def shared_ratios(data, old):
    """(result, peer, ratio of the earlier run, ratio now, whether both runs confirm theirs) of all that both runs have."""
    before = {key(r): r for r in old["results"]}
    for r in data["results"]:
        then = before.get(key(r), {})
        for peer, now in r.get("ratio", {}).items():
            if was := then.get("ratio", {}).get(peer):
                yield r, peer, was, now, is_confirmed(r, peer) and is_confirmed(then, peer)


def slower(data, old):
    """Lines on ratios that fell by more than a tenth since the recorded run."""
    return [f"slower: {r['group']} {r['name']}, {r['threads']} threads, against {peer}: {was:.2f}x before, {now:.2f}x now"
            for r, peer, was, now, _ in shared_ratios(data, old) if now < SLOWER * was]


def agreement(data, old):
    """Lines on how far two runs agree: in all, where both confirm their ratio, where both were quiet; and where the machines differ."""
    quiet = set.intersection(*({key(r) for r in run["results"] if r.get("quiet", 0) >= QUIET} for run in (data, old)))
    found = [(abs(math.log(now / was)), both, key(r) in quiet) for r, _, was, now, both in shared_ratios(data, old)]
    lines = []
    for what, apart in (("", [f[0] for f in found]), (" that both confirm", [f[0] for f in found if f[1]]),
                        (f" that had {QUIET} quiet rounds in both", [f[0] for f in found if f[2]])):
        if apart:
            lines.append(f"agreement with the earlier run: half of the {len(apart)} ratios{what} within "
                         f"{math.expm1(statistics.median(apart)):.1%}, {sum(a <= AGREED for a in apart)} within {math.expm1(AGREED):.0%}")
    then, now = (run.get("machine", {}) for run in (old, data))
    probes = [name for name in then if name in now and name.startswith(("copy", "peak"))]
    differing = [f"{name} {then[name]} then, {now[name]} now" for name in probes
                 if abs(math.log(float(now[name].split()[0]) / float(then[name].split()[0]))) > AGREED]
    if differing:
        lines.append("the machine differs: " + "; ".join(differing))
    return lines
