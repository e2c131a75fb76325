"""Data sets: one bundled with the package, and a reader for the files of the MNIST family."""
from fastnn.datasets.digits import load_digits
from fastnn.datasets.idx import read_idx

__all__ = ["load_digits", "read_idx"]
