"""The same cases under pytest-benchmark, our own side alone: `pytest bench --benchmark-only`."""
import pytest

pytest.importorskip("pytest_benchmark")
from bench.groups import all_cases

CASES = [pytest.param(case, threads, id=f"{case.group} {case.name}, {threads} threads") for case in all_cases() for threads in case.threads]


@pytest.mark.parametrize("case, threads", CASES)
def test_case(benchmark, case, threads):
    import fastnn
    call, _ = case.build(case.sides[0], threads)
    for _ in range(3):      # a compiled step is planned
        call()
    try:
        benchmark(call)
    finally:
        fastnn.set_grad_enabled(True)
