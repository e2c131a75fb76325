"""python -m bench [group ...]: fastnn beside its peers, and beside the bars it must reach."""
import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path

from bench import instructions, pictures, report
from bench.session import ALL, PEERS, Session

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".benchmarks" / "last.json"
RECORDED = Path(__file__).with_name("recorded.json")


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, epilog="exit status: 0 all well, 1 something failed, "
                                     "could not be written or (with --check) became slower, 2 wrong usage")
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(ALL)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a selection of cases, two short rounds: under 90 s")
    parser.add_argument("--only", type=pattern, default=re.compile(""), metavar="REGEX", help="cases whose 'group name' it finds")
    parser.add_argument("--peers", type=lambda s: [p for p in s.split(",") if p], help=f"of {','.join(PEERS)}; default: those installed")
    parser.add_argument("--threads", type=positive, nargs="+", help="default: 2; 1 as well where a bar asks for it")
    parser.add_argument("--rounds", type=positive, help="default: 5; 2 with --quick")
    parser.add_argument("--resume", metavar="RUN.json", help="take what this file has and measure only the rest")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here instead of " + str(KEPT.relative_to(ROOT)))
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="ratios as bars; FILE-roofline.png beside it")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="everything in one self-contained page")
    parser.add_argument("--record", action="store_true",
                        help="write docs/benchmarks.md with its pictures, bench/recorded.json and the README's table")
    parser.add_argument("--compare", metavar="OLD.json",
                        help="list ratios that fell by more than 10 %% since that run, and how far both agree")
    parser.add_argument("--check", action="store_true", help="--compare with bench/recorded.json unless given; exit status 1 if any fell")
    parser.add_argument("--instructions", action="store_true", help="count instructions of a dozen kernels (callgrind) instead of timing")
    parser.set_defaults(source="bench.groups:all_cases", root=ROOT)
    options = parser.parse_args(arguments)
    if unknown := [g for g in options.groups if g not in ALL]:
        parser.error(f"no group {unknown[0]!r}; there are {', '.join(ALL)}")
    options.keep = options.json or KEPT
    return options


def positive(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"at least 1, got {text}")
    return int(text)


def pattern(text):
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {text!r}: {error}") from None


def read(path):
    """(results of an earlier run or None, line about the trouble or None)."""
    try:
        data = json.loads(Path(path).read_text())
        return (data, None) if isinstance(data.get("results"), list) else (None, f"{path}: no results of a benchmark")
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    except (ValueError, AttributeError):
        return None, f"{path}: not a file that bench wrote"


def write(path, make, say):
    """Write a file; what goes wrong is said in a line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        say(f"written: {path}")
    except OSError as error:
        say(f"{path}: {error.strerror}")
    except ImportError as error:
        say(f"{path}: needs {error.name}, which is not installed")
    else:
        return True
    return False


def jobs(options, data):
    """(path, function that writes it) of everything asked for."""
    docs, name = options.root / "docs", "benchmarks"
    found = []
    if options.plot:
        found += [(options.plot, partial(pictures.ratios, data)),
                  (options.plot.with_stem(options.plot.stem + "-roofline"), partial(pictures.roofline, data))]
    if options.html:
        found.append((options.html, lambda p: p.write_text(report.page(data))))
    if options.record:
        found += [(docs / f"{name}-ratios.png", partial(pictures.ratios, data)),
                  (docs / f"{name}-roofline.png", partial(pictures.roofline, data)),
                  (docs / f"{name}.md", lambda p: p.write_text(report.markdown(data))),
                  (options.root / "README.md", lambda p: p.write_text(report.with_table(p.read_text(), data))),
                  (options.root / "bench" / RECORDED.name, lambda p: p.write_text(report.recorded(data)))]
    return found


def say_line(text):
    print(text, flush=True)


def main(arguments=None, say=say_line, **settings):
    """Run the command; `settings` replace options that have no place on the command line (`source`, `root`)."""
    options = options_of(arguments)
    vars(options).update(settings)
    if options.instructions:
        return instructions.main(say)
    trouble, old = False, None
    for name in ("resume", "compare"):
        path = getattr(options, name) or (RECORDED if name == "compare" and options.check else None)
        found = None
        if path:
            found, line = read(path)
            if line:
                say(line)
                trouble = True
        old = found if name == "compare" else old
        if name == "resume":
            options.resume = found
    session = Session(options, say)
    session.run()
    data = session.data
    say("\n" + report.bars_table(data, measured=True))
    for path, make in jobs(options, data):
        trouble |= not write(path, make, say)
    lines = report.slower(data, old) if old else []
    for line in lines:
        say(line)
    if old and not lines:
        say("no ratio fell by more than 10 %")
    for line in report.agreement(data, old) if old else []:
        say(line)
    return int(trouble or session.failed() or (options.check and bool(lines)))


if __name__ == "__main__":
    sys.exit(main())
