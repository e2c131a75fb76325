"""The benchmark command on cases of microseconds: what it does with faults, files and earlier runs."""
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "bench" / "__main__.py").is_file():
    pytest.skip("needs the source tree around tests/", allow_module_level=True)

CASES = """
import os
import numpy as np
from bench.case import Case

def simple(values, **options):
    def build(side, threads):
        x = np.array(values[side], float)
        return lambda: x + x, lambda: x
    return lambda name: Case("overhead", name, tuple(values), build, quick=True, **options)

def failing(side, threads):
    raise ValueError("nothing to see\\nhere")

def dying(side, threads):
    os._exit(7)

def all_cases():
    yield Case("overhead", "dies", ("fastnn",), dying, quick=True)
    yield Case("overhead", "fails", ("fastnn", "numpy"), failing, quick=True)
    yield simple({"fastnn": [1, 2], "numpy": [1, 3]})("wrong")
    yield simple({"fastnn": [1, 2], "numpy": [1, 2]}, flops=10.0)("right")
"""


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """A function from arguments to (exit status, lines said, data kept)."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "tiny_cases.py").write_text(CASES)
    from bench.__main__ import main
    kept = tmp_path / "kept" / "run.json"

    def run(*arguments):
        lines = []
        status = main(["overhead", "--quick", "--rounds", "1", "--threads", "1", "--json", str(kept), *map(str, arguments)], lines.append,
                      source="tiny_cases:all_cases", root=tmp_path)
        return status, "\n".join(lines), json.loads(kept.read_text()) if kept.exists() else None
    yield run
    sys.modules.pop("tiny_cases", None)


def test_faults_cost_a_line_each(bench):
    status, text, data = bench("--peers", "numpy")
    assert status == 1
    found = {r["name"]: r for r in data["results"]}
    assert list(found) == ["dies", "fails", "wrong", "right"]
    assert found["dies"]["faults"] == {"fastnn": "its process ended with status 7"}
    assert found["fails"]["faults"]["fastnn"] == "ValueError: nothing to see here"
    assert "not timed" in found["wrong"]["faults"]["numpy"] and found["wrong"]["ratio"] == {}
    assert found["right"]["ratio"]["numpy"] > 0 and not found["right"]["faults"] and found["right"]["fraction"] > 0
    assert "FAILED" in text


def test_a_good_run(bench, tmp_path):
    status, text, _ = bench("--peers", "numpy", "--only", "right", "--html", tmp_path / "page.html")
    assert status == 0, text
    page = (tmp_path / "page.html").read_text()
    assert "overhead" in page and "right" in page and "http" not in page


def test_nothing_to_measure_is_said_at_once(bench, monkeypatch):
    def never():
        raise AssertionError("the machine was measured for nothing")
    monkeypatch.setattr("bench.session.Peaks", never)
    status, text, _ = bench("--peers", "numpy", "--only", "zzz")
    assert status == 1 and "no case matches --only zzz" in text


def test_wrong_usage_is_said_in_a_line(bench, capsys):
    for arguments, line in ((("--only", "("), "no regular expression: '('"), (("--rounds", "0"), "at least 1, got 0"),
                            (("nosuch",), "unrecognized arguments: nosuch")):
        with pytest.raises(SystemExit) as stopped:
            bench(*arguments)
        assert stopped.value.code == 2 and line in capsys.readouterr().err.splitlines()[-1]


def test_missing_peers_and_paths(bench, tmp_path):
    status, text, _ = bench("--peers", "nosuch", "--only", "right", "--html", "/dev/null/page.html")
    assert status == 1 and "nosuch: no such peer" in text and "/dev/null/page.html: " in text
    status, text, _ = bench("--peers", "numpy", "--only", "right", "--compare", tmp_path / "none.json")
    assert status == 1 and "none.json: No such file" in text


def test_check_lists_what_became_slower(bench, tmp_path):
    _, _, data = bench("--peers", "numpy", "--only", "right")
    for factor, expected in ((100, 1), (0.01, 0)):
        old = json.loads(json.dumps(data))
        old["results"][0]["ratio"]["numpy"] *= factor
        (tmp_path / "old.json").write_text(json.dumps(old))
        status, text, _ = bench("--peers", "numpy", "--only", "right", "--check", "--compare", tmp_path / "old.json")
        assert status == expected and ("slower: overhead right" in text) == bool(expected)
        assert "agreement with the earlier run: half of the 1 ratios within" in text
    assert "us ~" in text and "ratios that both confirm" not in text       # nothing confirms a single turn
    from bench import report
    data["results"][0]["alone"] = []
    assert "half of the 1 ratios that both confirm within 0.0%, 1 within 7%" in "".join(report.agreement(data, data))
    old["machine"]["copy, 1 threads"] = "1 GB/s"
    (tmp_path / "old.json").write_text(json.dumps(old))
    _, text, _ = bench("--peers", "numpy", "--only", "right", "--compare", tmp_path / "old.json")
    assert "the machine differs: " in text and "copy, 1 threads 1 GB/s then" in text


def test_resume_measures_only_the_rest(bench, tmp_path):
    _, _, data = bench("--peers", "numpy", "--only", "right")
    data["results"][0]["seconds"]["fastnn"] = 123.0
    (tmp_path / "half.json").write_text(json.dumps(data))
    _, _, again = bench("--peers", "numpy", "--resume", tmp_path / "half.json")
    found = {r["name"]: r for r in again["results"]}
    assert len(found) == 4 and found["right"]["seconds"]["fastnn"] == 123.0


def test_record_writes_the_report_and_the_table(bench, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "README.md").write_text("before\n<!-- benches -->\n\n| old |\n\nafter\n")
    (tmp_path / "bench").mkdir()
    status, text, _ = bench("--peers", "numpy", "--only", "right", "--record")
    assert status == 0, text
    report = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "## Bars" in report and "| right | 1 |" in report
    readme = (tmp_path / "README.md").read_text()
    assert "old" not in readme and readme.startswith("before\n") and readme.endswith("\nafter\n")
    assert json.loads((tmp_path / "bench" / "recorded.json").read_text())["results"][0]["name"] == "right"


def test_every_case_has_a_name_of_its_own(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from bench.bars import BARS
    from bench.groups import GROUPS, all_cases
    names = [(c.group, c.name) for c in all_cases()]
    assert len(names) == len(set(names)) and {group for group, _ in names} == set(GROUPS)
    assert all((bar.least is None) != (bar.most is None) for bar in BARS)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs /proc")
def test_load_tells_others_from_our_own_processes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    load = importlib.import_module("bench.load")
    second, cores = os.sysconf("SC_CLK_TCK"), len(os.sched_getaffinity(0))
    before = load.own_ticks()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert load.own_ticks() - before >= 0.25 * second
    other = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"], start_new_session=True)
    try:
        time.sleep(0.1)
        listener, before = load.Load(), load.own_ticks()
        time.sleep(0.6)
        assert 0.4 / cores <= listener.others() <= 1 and load.own_ticks() - before < 0.3 * second
    finally:
        other.kill()
        other.wait()


def turn(seconds, disturbance=0.0, **faults):
    return {"faults": faults, "seconds": {"fastnn": seconds, "numpy": [2 * s for s in seconds]}, "peak": [1e9] * len(seconds),
            "copy": [0.0], "allocations": {}, "others": 0.0, "disturbance": disturbance, "crowding": [0.0] * len(seconds)}


def test_a_figure_is_the_fastest_round_of_all_turns():
    from bench.case import Case
    from bench.rounds import alone, result_of
    case = Case("g", "n", ("fastnn", "numpy"), None, flops=1e9)
    found = result_of(case, 1, [turn([3.0, 2, 4], 0.9), turn([5.0, 6], 0.1)], 1.0)
    assert found["seconds"] == {"fastnn": 2, "numpy": 4} and found["ratio"] == {"numpy": 2} and found["fraction"] == 0.5
    assert found["alone"] == alone(found) == ["fastnn", "numpy"]
    more = result_of(case, 1, [turn([3.0, 2, 4]), turn([5.0]), turn([2.05, 2.06])], 1.0)
    assert more["seconds"] == {"fastnn": 2, "numpy": 4} and not alone(more) and not more["alone"]
    assert found["disturbance"] == 0.1 and len(found["turns"]) == 2
    uneven = turn([1.0, 2.0])
    uneven["seconds"]["numpy"] = [8.0, 4.0]
    found = result_of(case, 1, [uneven], 1.0)
    assert found["ratio"] == {"numpy": 4} and found["range"] == {"numpy": [2, 8]} and found["median"] == {"numpy": 5}
    found = result_of(case, 1, [turn([2.0]), turn([2.0], numpy="gone")], 1.0)
    assert not found["ratio"] and found["faults"] == {"numpy": "gone"}
    assert "seconds" not in result_of(case, 1, [turn([2.0]), turn([2.0], fastnn="gone")], 1.0)


def test_which_cases_are_due():
    from types import SimpleNamespace

    from bench.session import Session
    two = SimpleNamespace(turns=2)

    def due(turn, *disturbances, crowding=(0.0, 0.2, 0.0, 0.1), faults=()):
        turns = [{"disturbance": d, "crowding": crowding} for d in disturbances]
        result = {"own": "fastnn", "faults": faults, "turns": turns} if disturbances else None
        return Session.is_due(two, result, turn)
    assert due(0) and due(1) and due(1, 0.1) and not due(0, 0.1) and not due(1, 0.1, 0.1)
    assert due(2, 0.9, 0.9) and not due(2, 0.9, 0.1) and not due(1, 0.1, faults={"fastnn": "gone"})
    assert due(2, 0.1, 0.1, crowding=(0.2, 0.0)) and not due(2, 0.1, 0.1, 0.1, crowding=(0.2, 0.0))
    odd = {"own": "fastnn", "faults": (), "turns": [turn([2.0]), turn([3.0])], "seconds": {"fastnn": 2.0}}
    assert Session.is_due(two, odd, 2) and not Session.is_due(two, odd | {"turns": [*odd["turns"], turn([2.05])]}, 3)
    assert not due(2, 0.1, crowding=(0.0,))     # two rounds in all, both quiet, as of --quick


def test_a_bar_beyond_the_bound_says_so():
    from bench.bars import Bar, from_cases, word_of
    result = {"group": "g", "name": "n", "threads": 2, "own": "fastnn", "seconds": {"fastnn": 1.0, "numpy": 1.2}, "ratio": {"numpy": 1.2},
              "fraction": 0.8, "traffic": 4.0, "bandwidth": 2.0}

    def word(least, figure="numpy", **changes):
        bar = Bar(2, "", from_cases("g", "n", figure), least=least)
        results = [result | changes]
        return word_of(bar, bar.value(results), results)
    assert word(1.2) == "met" and word(1.4) == "short" and word(1.6) == "beyond the bound, which leaves 1.5"
    assert word(1.6, fraction=None) == word(1.6, fraction=1.1) == "short"
    assert word(2.0, "memory") == "met" and word(2.1, "memory") == "short"


def test_memory_is_the_bar_where_arithmetic_leaves_it():
    from bench.bars import memory_of

    def reach(cached):
        whole = {"group": "pointwise", "name": "exp", "threads": 2, "own": "fastnn", "seconds": {"fastnn": 2.0}, "traffic": 8.0,
                 "bandwidth": 4.0}
        small = whole | {"name": "exp in cache", "threads": 1, "traffic": 1.0, "seconds": {"fastnn": cached}}
        return memory_of("exp").reach([whole, small])
    assert reach(0.25) == 1 and reach(0.5) == 1 and reach(1.0) == 0.5


def test_a_bar_beside_takes_the_median_of_rounds():
    """Of the least case; no figure while one of the cases has none."""
    result = {"group": "pool", "name": "max 2x2 forward", "threads": 2, "ratio": {"bare loop": 1.4}, "median": {"bare loop": 0.97}}
    other = result | {"name": "average 2x2 forward", "median": {"bare loop": 0.9}}
    from bench import bars
    value = bars.beside("pool", ".* forward", "bare loop")
    assert value([result, other, other | {"threads": 1, "median": {"bare loop": 0.1}}]) == 0.9
    assert value([result, other | {"median": {}}]) is None and value([]) is None
