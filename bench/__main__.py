"""python -m bench [group ...]: fastnn beside its peers, and beside the bars it must reach."""
import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

from bench import report, start
from bench.cases import all_cases
from bench.peaks import Peaks
from bench.sides import Sides, measure

GROUPS = ("gemm", "pointwise", "overhead", "train", "infer", "start")
PEERS = ("torch", "numpy", "onnxruntime")
PACKAGES = {"torch": ("torch",), "numpy": ("numpy",), "onnxruntime": ("onnxruntime", "onnx", "torch")}
BOTH = ("gemm",)        # groups measured on one thread as well
SPREAD = 0.05           # of the peak probe, above which the machine counts as noisy


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--peers", default=",".join(PEERS), help="default: %(default)s, those installed")
    parser.add_argument("--threads", type=int, nargs="*", help="default: 2, and 1 as well for gemm")
    parser.add_argument("--rounds", type=int, help="default: 7; 2 with --quick")
    for name in ("json", "report", "readme", "plot"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write the {name} here")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="list what became slower than in that run by more than 10 %%")
    parser.add_argument("--check", action="store_true", help="with --compare: exit status 1 if anything did")
    options = parser.parse_args(arguments)
    if unknown := [g for g in options.groups if g not in GROUPS]:
        parser.error(f"no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    if options.check and not options.compare:
        parser.error("--check needs --compare OLD.json")
    return options


def machine(peaks, threads):
    """The facts that belong to every figure."""
    import fastnn
    from fastnn.kernels import native
    facts = {"date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}", "processor": processor(), "cores": os.cpu_count(),
             "fastnn": f"{fastnn.__version__}, {native.instruction_set()}", "Python": platform.python_version()}
    for name in PEERS:
        facts[name] = importlib.metadata.version(name) if find_spec(name) else "not installed"
    facts["peak of one core"] = f"{peaks.flops() / 1e9:.0f} GFLOP/s"
    for t in threads:
        facts[f"copy, {t} threads"] = f"{peaks.bandwidth(t) / 1e9:.0f} GB/s"
    return facts


def processor():
    try:
        return next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def chosen_sides(peers):
    """fastnn's own sides and the peers that are installed; the others are named once."""
    sides = {"fastnn", "compiled"}
    for peer in peers:
        if peer in PACKAGES and all(map(find_spec, PACKAGES[peer])):
            sides.add(peer)
        else:
            print(f"{peer}: not installed, left out" if peer in PACKAGES else f"{peer}: no such peer, left out")
    return sides


def run(options):
    """Measure the asked groups and return everything as one dictionary."""
    groups = options.groups or GROUPS
    rounds, budget = options.rounds or (2 if options.quick else 7), 0.01 if options.quick else 0.05
    sides, peaks = chosen_sides(options.peers.split(",")), Peaks()
    threads = options.threads or [2, 1]
    data = {"machine": machine(peaks, threads), "results": [], "start": {}}
    print("\n".join(f"{key}: {value}" for key, value in data["machine"].items()))
    for count in threads:
        servers = Sides(count)
        for case in all_cases():
            if case.group in groups and (options.threads or count == 2 or case.group in BOTH):
                data["results"].append(measure(case, servers, sides, peaks, rounds, budget))
                print(report.line(data["results"][-1]), flush=True)
        servers.stop()
    if "start" in groups:
        data["start"] = start.measure(rounds)
    load, spread = os.getloadavg()[0], peaks.spread()
    data["machine"]["load"] = f"{load:.1f}; middle half of the peak probes within {spread:.0%}"
    if spread > SPREAD:
        data["machine"]["warning"] = "the machine was busy: these figures are not to be relied on"
        print(f"warning: {data['machine']['warning']} ({data['machine']['load']})")
    return data


def write(path, make):
    """Write a file; a path that cannot be written is said in a line."""
    try:
        make(path)
    except OSError as error:
        print(f"{path}: {error.strerror}")
        return False
    return True


def main(arguments=None):
    options = options_of(arguments)
    old = json.loads(options.compare.read_text()) if options.compare else None
    data = run(options)
    print("\n" + report.bars_table(data))
    jobs = [(options.json, lambda p: p.write_text(json.dumps(data, indent=1))),
            (options.report, lambda p: p.write_text(report.markdown(data))),
            (options.readme, lambda p: p.write_text(report.with_table(p.read_text(), data))),
            (options.plot, lambda p: report.plot(data, p))]
    written = [write(path, make) for path, make in jobs if path]
    lines = report.slower(data, old) if old else []
    print("\n".join(lines))
    return int(not all(written) or any(r["faults"] for r in data["results"]) or (options.check and bool(lines)))


if __name__ == "__main__":
    sys.exit(main())
