"""A case in rounds, its sides timed one after the other; and the figures of all its rounds, of turns that lie minutes apart."""
import statistics

import numpy as np

from bench.case import FASTNN

BUSY = 0.10             # of the machine's time that others may take, before we begin and during a case
DISTURBED = 0.35        # of the rate of memory or cache that a neighbour may take during a case


def compared(case, results, faults):
    """Add to `faults` the sides whose result is not that of the case's own side."""
    own = case.sides[0]
    expected = results.get(own)
    for side, result in results.items():
        if side in faults or own in faults or result is None or expected is None:
            continue
        scale = np.abs(expected).max() + 1e-30
        off = float(np.abs(result - expected).max() / scale) if result.shape == expected.shape else np.inf
        if not off <= case.tolerance:
            faults[side] = f"its result differs from {own}'s by {off:.1e} of the scale: not timed"


def measure(case, sides, chosen, peaks, rounds, budget):
    """One turn: seconds per side and round, and of a copy of as many bytes; the peak before each round."""
    own = case.sides[0]
    results = {side: sides.ask(side, "build", f"{case.group} {case.name}", patience=case.patience)
               for side in case.sides if side == own or side in chosen}
    faults = {side: r for side, r in results.items() if isinstance(r, str)}
    compared(case, results, faults)
    times = {side: [] for side in results if side not in faults}
    turn = {"faults": faults, "seconds": times, "peak": [], "copy": []}
    for _ in range(rounds):
        if own in faults:
            return turn
        peak = peaks.flops() * sides.threads
        now = {}
        for side in [s for s in times if s not in faults]:
            now[side] = sides.time(side, budget, case.patience)
            if isinstance(now[side], str):
                faults[side] = now.pop(side)
        if own in faults:
            return turn
        for side, taken in now.items():
            times[side].append(taken)
        turn["peak"].append(peak)
        turn["copy"].append(sides.ask(own, "copy", case.nbytes, budget) if case.nbytes else 0.0)
    counts = {side: sides.ask(side, "allocations") for side in times if side in FASTNN and side not in faults}
    turn["allocations"] = {side: n for side, n in counts.items() if not isinstance(n, str)}
    return turn


def disturbed(found):
    """Whether others had too much of the machine during a turn, or during the turns that a result is made of."""
    return found.get("others", 0) > BUSY or found.get("disturbance", 0) > DISTURBED


def result_of(case, threads, turns, bandwidth):
    """The figures of a case: medians over the rounds of the turns that others left alone, or of all where they left none."""
    own = case.sides[0]
    faults = {side: text for turn in turns for side, text in turn["faults"].items()}
    found = {"group": case.group, "name": case.name, "threads": threads, "own": own, "faults": faults, "turns": turns}
    if own in faults:
        return found
    used = [turn for turn in turns if not disturbed(turn)] or turns
    times = {side: [s for turn in used for s in turn["seconds"][side]] for side in used[0]["seconds"] if side not in faults}
    rates, copies = ([v for turn in used for v in turn[name]] for name in ("peak", "copy"))
    ratios = {side: sorted(b / a for a, b in zip(times[own], times[side])) for side in times if side != own}
    fractions = [(case.flops / peak + copied) / taken for peak, copied, taken in zip(rates, copies, times[own])]
    return found | {
        "seconds": {s: statistics.median(t) for s, t in times.items()},
        "ratio": {s: statistics.median(r) for s, r in ratios.items()},
        "range": {s: [r[0], r[-1]] for s, r in ratios.items()},
        "fraction": statistics.median(fractions) if case.flops or case.nbytes else None,
        "flops": case.flops, "traffic": case.traffic, "peak": statistics.median(rates), "bandwidth": bandwidth,
        "allocations": used[-1]["allocations"],
        "others": max(turn.get("others", 0) for turn in used), "disturbance": max(turn.get("disturbance", 0) for turn in used)}
