"""The examples in the docstrings of every module, compiled ones too, say what the code does."""
import doctest
import importlib
import pkgutil

import pytest

import fastnn

NAMES = sorted(found.name for found in pkgutil.walk_packages(fastnn.__path__, "fastnn.") if found.name != "fastnn.__main__")


def examples_of(module):
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if (error.name or "fastnn").startswith("fastnn"):
            raise
        pytest.skip(f"needs {error.name}")
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in examples_of(module):
        fastnn.manual_seed(0)
        report = []
        runner.run(test, out=report.append)
        assert not runner.failures, "".join(report)


def test_examples_are_found():
    """In plain modules and in compiled ones."""
    for name in ("fastnn.data.collate", "fastnn.ops.softmax"):
        assert examples_of(importlib.import_module(name)), name
