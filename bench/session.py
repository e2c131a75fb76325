"""One run: which cases, in which processes, and a file that grows with every result, so that nothing measured is lost."""
import datetime
import importlib.metadata
import json
import os
import platform
import time
from importlib.util import find_spec
from pathlib import Path

from bench import report, special
from bench.bare import LOOP
from bench.case import FASTNN
from bench.groups import GROUPS
from bench.load import Load
from bench.peaks import Peaks
from bench.rounds import BUSY, CROWDED, alone, disturbed, key, measure, result_of
from bench.sides import Sides, in_a_line, resolve

ALL = (*GROUPS, *special.GROUPS)
# what a peer needs; torch.compile takes half a minute per network and is left out of --quick
PEERS = {"torch": ("torch",), "torch.compile": ("torch",), "numpy": ("numpy",), "onnxruntime": ("onnxruntime", "onnx", "torch"),
         "jax": ("jax",), "sklearn": ("sklearn",)}
PACKAGE = {"torch.compile": "torch", "sklearn": "scikit-learn"}     # where it is not the peer's name
WANTED = {"torch": "2.13"}      # the version that the bars were written against
SPREAD = 0.05           # of the peak probe, above which the machine counts as noisy
LISTEN = 0.5            # seconds to find out before we begin
TURNS = 3               # every case is measured in so many turns, minutes apart, by processes of their own
MORE = 3                # turns on top, of those cases whose figures nothing confirms yet,
REPEATS = 60            # of so many at most: a run has to end
SECONDS = 0.015         # of a side's calls in a round
DEFAULT_THREADS = 2


def chosen_peers(asked):
    """The peers to use, and a line about each that was left out; `asked` is None or a list of names."""
    peers, lines = [], []
    for peer in asked or PEERS:
        if peer not in PEERS:
            lines.append(f"{peer}: no such peer, left out; there are {', '.join(PEERS)}")
        elif not all(map(find_spec, PEERS[peer])):
            missing = [name for name in PEERS[peer] if not find_spec(name)]
            lines.append(f"{peer}: left out, not installed: {', '.join(missing)}")
        else:
            peers.append(peer)
            version = importlib.metadata.version(PACKAGE.get(peer, peer))
            if not version.startswith(WANTED.get(peer, "")):
                lines.append(f"{peer} {version}: the bars were written against {WANTED[peer]}")
    return peers, lines


def machine(peers):
    """The facts that belong to every figure."""
    import fastnn
    from fastnn.kernels import native
    facts = {"date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}", "processor": processor(),
             "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}", "system": platform.platform(),
             "fastnn": f"{fastnn.__version__}, {native.instruction_set()}", "Python": platform.python_version()}
    packages = dict.fromkeys(["numpy", *(PACKAGE.get(p, p) for p in peers)])
    return facts | {name: importlib.metadata.version(name) for name in packages}


def processor():
    try:
        return next(line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


class Session:
    """Measures what the options ask for; `data` holds everything found so far."""

    def __init__(self, options, say=print):
        self.options, self.say = options, say
        self.groups = options.groups or ALL
        self.rounds = options.rounds or (2 if options.quick else 4)
        self.turns = 1 if options.quick else TURNS
        self.budget = 0.01 if options.quick else SECONDS
        self.peers, lines = chosen_peers(options.peers)
        self.trouble = bool(lines) and options.peers is not None       # a peer that was asked for by name
        for line in lines:
            say(line)
        if options.quick and not options.peers:
            self.peers = [p for p in self.peers if p not in ("torch.compile", "jax")]
        self.sides = {*FASTNN, LOOP, *self.peers}
        self.felt = None
        self.cores = len(os.sched_getaffinity(0))
        self.data = {"machine": machine(self.peers), "selection": options.quick or bool(options.only.pattern),
                     "rounds": self.rounds, "turns": self.turns, "results": []}
        if options.resume:
            self.data["results"] = [r for r in options.resume["results"] if not r["faults"]]

    def wanted(self):
        """Pairs (threads, case), all cases of one thread count together."""
        found = []
        for case in resolve(self.options.source)():
            asked = case.group in self.groups and self.options.only.search(f"{case.group} {case.name}")
            if asked and (case.quick or not self.options.quick):
                counts = self.options.threads or sorted({min(t, self.cores) for t in case.threads}, reverse=True)
                found += [(count, case) for count in counts]
        return sorted(found, key=lambda pair: -pair[0])

    def special(self):
        """The groups that are no cases.  What is in them is known when it is measured: with --only they are named, or found by it."""
        pattern = self.options.only
        return [group for group in special.GROUPS if group in self.groups
                and (self.options.groups or not pattern.pattern or pattern.search(group))]

    def run(self):
        """Measure everything; a failure costs one line, never the run."""
        started = time.perf_counter()
        if not self.wanted() and not self.special():
            self.say(f"no case matches --only {self.options.only.pattern} in {', '.join(self.groups)}")
            self.trouble = True
            return
        load = Load()
        time.sleep(LISTEN)
        share = load.others()
        if share > BUSY:
            self.say(f"warning: other processes take {share:.0%} of this machine: wait for quiet, or do not rely on these figures")
        try:
            peaks = Peaks()
        except (OSError, RuntimeError) as error:
            self.say(f"no peak, so nothing to compare with: {in_a_line(error)}")
            self.trouble = True
            return
        threads = self.options.threads or [min(DEFAULT_THREADS, self.cores)]
        facts = self.data["machine"]
        facts["peak of one core"] = f"{peaks.flops() / 1e9:.0f} GFLOP/s"
        for count in sorted({1, *threads}):
            facts[f"copy, {count} threads"] = f"{peaks.bandwidth(count) / 1e9:.0f} GB/s"
        for name, value in facts.items():
            self.say(f"{name}: {value}")
        try:
            self.run_cases(peaks)
            self.run_special(threads)
        except KeyboardInterrupt:
            self.say("\nstopped; what was measured is kept")
            self.trouble = True
        before = (self.options.resume or {}).get("seconds", 0)      # a run that goes on counts whole
        self.data["seconds"] = before + time.perf_counter() - started
        self.judge(peaks, share)
        self.save()

    def run_cases(self, peaks):
        """Turn by turn all cases; then some more of those with too few quiet rounds, or whose turns disagree."""
        wanted = self.wanted()
        known = {key(r): r for r in self.data["results"]}
        for turn in range(self.turns + MORE):
            todo = [(threads, case) for threads, case in wanted if self.is_due(known.get((case.group, case.name, threads)), turn)]
            if turn >= self.turns:          # those with the fewest turns first
                todo = sorted(todo, key=lambda pair: len(known[pair[1].group, pair[1].name, pair[0]]["turns"]))[:REPEATS]
            sides = None
            for number, (threads, case) in enumerate(todo, 1):
                if sides is None or sides.threads != threads:
                    if sides:
                        sides.stop()
                    sides = Sides(threads, self.options.source)
                name = case.group, case.name, threads
                turns = [*known.get(name, {}).get("turns", []), self.one_turn(case, sides, peaks)]
                known[name] = result_of(case, threads, turns, peaks.bandwidth(threads))
                self.keep(known[name], f"[{turn + 1}: {number}/{len(todo)}] ")
            if sides:
                sides.stop()

    def is_due(self, result, turn):
        """Whether a case is to be measured in this turn; one that failed is not tried again."""
        if result is None:
            return turn < self.turns
        turns = result.get("turns", [])
        if result["own"] in result["faults"] or len(turns) > turn:
            return False
        return turn < self.turns or (self.turns > 1 and (disturbed(result) or alone(result)))

    def one_turn(self, case, sides, peaks):
        load, before = Load(), self.felt if self.felt is not None else peaks.disturbance()
        try:
            found = measure(case, sides, self.sides, peaks, self.rounds, self.budget)
        except Exception as error:
            found = {"faults": {case.sides[0]: in_a_line(error)}}
        self.felt = peaks.disturbance()         # after this case is before the next
        return found | {"others": load.others(), "disturbance": max(before, self.felt)}

    def run_special(self, threads):
        seconds = 0.01 if self.options.quick else 0.05
        context = special.Context(self.sides, self.rounds, seconds, self.options.quick, threads, self.options.source)
        for group in self.special():
            if group in {r["group"] for r in self.data["results"]}:
                continue
            try:
                for found in special.measure(group, context):
                    if self.options.only.search(f"{group} {found['name']}"):
                        self.keep(found)
            except Exception as error:
                self.keep(broken(group, "all of it", "-", "fastnn", error))
        context.stop()

    def keep(self, found, head=""):
        results = self.data["results"]
        place = next((i for i, r in enumerate(results) if key(r) == key(found)), len(results))
        results[place:place + 1] = [found]
        self.say(head + report.line(found))
        self.save()

    def save(self):
        """Write all results so far, whole or not at all; a path that fails is said once."""
        if not self.options.keep:
            return
        path = Path(self.options.keep)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            part.write_text(json.dumps(self.data, indent=1))
            part.replace(path)
        except OSError as error:
            self.say(f"{path}: {error.strerror}: results are not kept as they come")
            self.trouble, self.options.keep = True, None

    def judge(self, peaks, share):
        """The noise check, once everything is measured."""
        spread = peaks.spread()
        facts = self.data["machine"]
        noisy = [r for r in self.data["results"] if disturbed(r)]
        most, worst = (max((r.get(name, 0) for r in self.data["results"]), default=0) for name in ("others", "disturbance"))
        crowding = [c for r in self.data["results"] for turn in r.get("turns", ()) for c in turn.get("crowding", ())]
        shared = sum(c > CROWDED for c in crowding) / max(1, len(crowding))
        facts["noise"] = (f"others had {share:.0%} of the machine at the start, at most {most:.0%} during a case; neighbours took at most "
                          f"{worst:.0%} of the rate of memory or cache, and shared a core of "
                          f"ours in {shared:.0%} of the rounds; middle half of the peak probes within {spread:.0%}")
        if spread > SPREAD or share > BUSY or noisy:
            names = ", ".join(f"{r['group']} {r['name']}" for r in noisy[:5]) + (" ..." if len(noisy) > 5 else "")
            facts["warning"] = (f"the machine was busy, during {len(noisy)} cases: {names}: do not rely on these" if noisy
                                else "the machine was busy: these figures are not to be relied on")
            self.say(f"warning: {facts['warning']} ({facts['noise']})")

    def failed(self):
        return self.trouble or any(r["faults"] for r in self.data["results"])


def broken(group, name, threads, own, error):
    return {"group": group, "name": name, "threads": threads, "own": own, "faults": {own: in_a_line(error)}}
