"""Where the compiled modules are, when Python finds the source folder first.

In a checkout `python -m fastnn` and `python -c "import fastnn"` put the current folder before the installed package.
The source folder has no compiled modules (unless built in place), so the package's path is turned to the installed one.
"""
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES


def is_built(folder):
    """Does this package folder hold compiled modules for the running Python?"""
    return any(os.path.exists(os.path.join(folder, "kernels", "native" + suffix)) for suffix in EXTENSION_SUFFIXES)


def built_path(path):
    """The path to load the package's modules from: `path`, or the next one on sys.path that is built."""
    here = os.path.abspath(path[0])
    if is_built(here):
        return list(path)
    for entry in sys.path:
        folder = os.path.join(os.path.abspath(entry or os.curdir), os.path.basename(here))
        if folder != here and is_built(folder):
            return [folder]
    raise ImportError(f"fastnn: {here} holds the sources but no compiled modules, and no installed fastnn was found: run "
                      "`pip install .` in the checkout, or `python setup.py build_ext --inplace` to work on it")
