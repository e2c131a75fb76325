"""What this installation is: versions, instruction set, threads, how it was built."""
from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy

import fastnn.kernels.native as native
from fastnn.version import __version__

if TYPE_CHECKING:
    from typing import TextIO

EXTRAS = ("tqdm", "safetensors", "matplotlib", "torch")


def configuration() -> dict[str, str]:
    """Describe the installation as a dict of strings.

    Examples
    --------
    >>> import fastnn.about
    >>> sorted(fastnn.about.configuration())[:3]
    ['build flags', 'fastnn', 'instruction set']
    """
    return {
        "fastnn": f"{__version__} in {sys.modules['fastnn'].__path__[0]}",
        "instruction set": f"{native.instruction_set()} of {', '.join(native.instruction_sets())}",
        "threads": str(native.get_num_threads()),
        "build flags": native.build_flags(),
        "python": f"{platform.python_version()} on {platform.machine()} {sys.platform}",
        "numpy": numpy.__version__,
        **{name: _installed(name) for name in EXTRAS},
    }


def show_config(file: TextIO | None = None) -> None:
    """Print version, instruction set, threads and build flags, as numpy.show_config does; to `file` or standard output."""
    for name, value in configuration().items():
        print(f"{name:16s} {value}", file=file)


def _installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
