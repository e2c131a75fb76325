"""A case in rounds, its sides timed one after the other; and the figures of all its rounds, in turns that lie minutes apart."""
import statistics

import numpy as np

from bench.case import FASTNN
from fastnn.kernels.native import instruction_set

BUSY = 0.10             # of the machine's time that others may take, before we begin and during a case
DISTURBED = 0.35        # of the rate of memory or cache that a neighbour may take during a case
CROWDED = 0.15          # of a core's instructions that a neighbour may take around a side of a round
QUIET = 3               # rounds with neither that a case needs
ALIKE = 1.03            # times that confirm one another


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
    turn = {"faults": faults, "seconds": times, "peak": [], "copy": [], "crowding": []}
    for _ in range(rounds):
        if own in faults:
            return turn
        peak = peaks.flops() * sides.threads
        now, crowding = {}, [peaks.crowding()]
        for side in [s for s in times if s not in faults]:
            now[side] = sides.time(side, budget, case.patience)
            crowding.append(peaks.crowding())
            if isinstance(now[side], str):
                faults[side] = now.pop(side)
        if own in faults:
            return turn
        for side, taken in now.items():
            times[side].append(taken)
        turn["peak"].append(peak)
        turn["crowding"].append(max(crowding))
    turn["copy"].append(sides.ask(own, "copy", case.nbytes, budget) if case.nbytes and own not in faults else 0.0)
    counts = {side: sides.ask(side, "allocations") for side in times if side in FASTNN and side not in faults}
    turn["allocations"] = {side: n for side, n in counts.items() if not isinstance(n, str)}
    return turn


def key(result):
    """What a result is found by."""
    return result["group"], result["name"], result["threads"]


def quiet_rounds(turn):
    """How many rounds of a turn had no other process and no neighbour beside them."""
    if turn.get("others", 0) > BUSY or turn.get("disturbance", 0) > DISTURBED:
        return 0
    return sum(crowding <= CROWDED for crowding in turn.get("crowding", ()))


def disturbed(found):
    """Whether a result, or what there is of it, has too few quiet rounds to rely on."""
    turns = found.get("turns", ())
    return sum(map(quiet_rounds, turns)) < min(QUIET, sum(len(turn.get("crowding", ())) for turn in turns))


def alone(found):
    """The sides whose fastest round has none of another turn beside it: one process's luck, or all others were disturbed."""
    def is_alone(side):
        first, *second = sorted(min(turn["seconds"][side]) for turn in found["turns"])[:2]
        return not second or second[0] > ALIKE * first
    return [side for side in found.get("seconds", ()) if is_alone(side)]


def result_of(case, threads, turns, bandwidth):
    """The figures of a case: every side in its fastest round, so that others' work shows in none; the rounds' ratios beside it."""
    own = case.sides[0]
    faults = {side: text for turn in turns for side, text in turn["faults"].items()}
    found = {"group": case.group, "name": case.name, "threads": threads, "own": own, "faults": faults, "turns": turns}
    if own in faults:
        return found
    times = {side: [s for turn in turns for s in turn["seconds"][side]] for side in turns[0]["seconds"] if side not in faults}
    seconds = {side: min(t) for side, t in times.items()}
    peak, copied = max(p for turn in turns for p in turn["peak"]), min(c for turn in turns for c in turn["copy"])
    ratios = {side: [b / a for a, b in zip(times[own], t)] for side, t in times.items() if side != own}
    quiet = min(turns, key=lambda turn: (turn.get("others", 0), turn.get("disturbance", 0)))
    return found | {
        "seconds": seconds, "alone": alone(found | {"seconds": seconds}),
        "ratio": {side: seconds[side] / seconds[own] for side in ratios},
        "median": {side: statistics.median(r) for side, r in ratios.items()},
        "range": {side: [min(r), max(r)] for side, r in ratios.items()},
        "fraction": (case.flops / peak + copied) / seconds[own] if case.flops or case.nbytes else None,
        "passable": case.flops > 0 and instruction_set() == "amx",      # products by parts do less than the bound's arithmetic
        "flops": case.flops, "traffic": case.traffic, "peak": peak, "bandwidth": bandwidth, "allocations": turns[-1]["allocations"],
        "quiet": sum(map(quiet_rounds, turns)),
        "others": quiet.get("others", 0), "disturbance": quiet.get("disturbance", 0)}
