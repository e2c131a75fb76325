"""The groups of cases: each module here has `cases()`; `special.py` beside this folder has what no case can express."""
from importlib import import_module

GROUPS = ("gemm", "pointwise", "overhead", "norm", "conv", "pool", "recurrent", "rbm", "optim", "train", "infer")


def all_cases():
    """Every case, in the order of the report."""
    for name in GROUPS:
        yield from import_module(f"bench.groups.{name}").cases()
