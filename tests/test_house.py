"""The rules of the house that a machine can check, on the source tree (docs/architecture.md)."""
import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastnn
from fastnn.kernels import native

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastnn"
if not (PACKAGE / "kernels" / "native.pyx").is_file():
    pytest.skip("needs the source tree around tests/", allow_module_level=True)

# Floors from the bottom up; a module may import from its own floor's folder and from the floors below it.
FLOORS = [
    {"version", "checkout", "config", "backends"},
    {"kernels", "amp"},
    {"core", "cuda"},
    {"ops"},
    {"nn", "optim", "data", "datasets", "io", "autograd", "compiling", "about", "linalg", "distributions"},
    {"utils", "boltzmann", "training"},
    {"sklearn", "plot"},
    {"tour", "cli", "__main__"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
# Neighbours on one floor that may know each other: (who, whom).
ALLOWED = {("nn", "autograd"), ("utils", "training"), ("training", "boltzmann"), ("cli", "tour"),
           ("__main__", "cli"), ("datasets", "data"), ("checkout", "version"), ("sklearn", "plot"), ("compiling", "nn"),
           ("compiling", "optim")}
ALLOWED_FILES = {("nn/__init__.py", "boltzmann")}      # nn.RBM and the like, looked up on first use

CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+(fastnn[\w.]*)\s+c?import\s+\(?([\w, ]*)|c?import\s+(fastnn[\w.]*))", re.M)


def sources(*suffixes):
    return [p for p in sorted(PACKAGE.rglob("*")) if p.suffix in suffixes]


def room(module):
    """`nn` of fastnn.nn.linear; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imported(path):
    """The rooms that a source file imports from, anywhere in it."""
    text = path.read_text()
    if path.suffix in (".pyx", ".pxd", ".pxi"):
        for source, names, module in CYTHON_IMPORT.findall(text):
            if source == "fastnn":
                yield from (name.split()[0] for name in names.split(",") if name.strip())
            else:
                yield room(source or module)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (room(alias.name) for alias in node.names if alias.name.split(".")[0] == "fastnn")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fastnn":
            yield from [alias.name for alias in node.names] if node.module == "fastnn" else [room(node.module)]


def own_room(path):
    return path.relative_to(PACKAGE).parts[0].split(".")[0]


def test_imports_point_downwards():
    wrong, unknown = [], set()
    for path in sources(".py", ".pyx", ".pxd"):
        me = own_room(path)
        if me == "__init__":            # the package gathers all its rooms
            continue
        if me not in FLOOR:
            unknown.add(me)
            continue
        for other in imported(path):
            if other is None:           # `import fastnn`: only for those above all rooms
                if FLOOR[me] < FLOOR["tour"] - 1:
                    wrong.append(f"{path.relative_to(ROOT)} imports the whole package")
            elif (other in FLOOR and other != me and FLOOR[other] >= FLOOR[me] and (me, other) not in ALLOWED
                  and (path.relative_to(PACKAGE).as_posix(), other) not in ALLOWED_FILES):
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not unknown, f"give these a floor in tests/test_house.py: {sorted(unknown)}"
    assert not wrong, "\n".join(wrong)


def test_only_config_reads_the_environment():
    wrong = [str(p.relative_to(ROOT)) for p in sources(".py", ".pyx") if p.name != "config.py"
             and re.search(r"\b(environ|getenv)\b", p.read_text())]
    wrong += [str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.[chi]*") if "getenv" in p.read_text()]
    assert not wrong, wrong


def test_only_what_is_asked_to_prints():
    wrong = [f"{p.relative_to(ROOT)}" for p in sources(".py", ".pyx") if own_room(p) not in ("cli", "about")
             and re.search(r"^\s*print\(", p.read_text(), re.M)]
    assert not wrong, wrong


def test_no_fast_math_and_no_flags_outside_setup():
    for path in [*(ROOT / "csrc").rglob("*.[chi]*"), *sources(".pyx", ".pxd")]:
        text = path.read_text()
        assert "fast-math" not in text and "#pragma GCC optimize" not in text, path


def test_intrinsics_only_in_the_vector_layer():
    intrinsic = re.compile(r"\b_mm\d*_|\bvld1q_|immintrin|arm_neon")
    wrong = [str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.[chi]*")
             if p.parent.name != "isa" and p.name not in ("simd.h", "philox.h") and intrinsic.search(p.read_text())]
    assert not wrong, wrong


def test_threads_only_in_the_team():
    wrong = [str(p.relative_to(ROOT)) for p in [*(ROOT / "csrc").rglob("*.[chi]*"), *sources(".pyx", ".pxd")]
             if p.name != "team.c" and re.search(r"pthread_create|#pragma omp|cython\.parallel|prange", p.read_text())]
    assert not wrong, wrong


def test_files_are_of_one_size():
    """Files of 60 to 400 lines are the aim; past 750 a file is no longer one thing."""
    long = {str(p.relative_to(ROOT)): n for p in [*sources(".py", ".pyx", ".pxd"), *(ROOT / "csrc").rglob("*.[chid]*")]
            if not (p.suffix == ".c" and PACKAGE in p.parents) and (n := len(p.read_text().splitlines())) > 750}
    assert not long, long


def test_micro_families_agree():
    """families.def, tables.h and the files in csrc/micro name the same families."""
    micro = ROOT / "csrc" / "micro"
    named = set(re.findall(r"^FAMILY\((\w+)\)", (micro / "families.def").read_text(), re.M))
    included = set(re.findall(r'#include "(\w+)\.h"', (micro / "tables.h").read_text()))
    compiled = {p.stem for p in micro.glob("*.c")} - {"table"}
    assert named == compiled and named <= included, (named, included, compiled)


def modules():
    """Every module of the package, except those whose extra package is not installed."""
    for found in pkgutil.walk_packages(fastnn.__path__, "fastnn."):
        if found.name == "fastnn.__main__":
            continue
        try:
            yield importlib.import_module(found.name)
        except ImportError as error:
            if (error.name or "fastnn").startswith("fastnn"):
                raise


def test_exported_names_exist():
    for module in modules():
        names = getattr(module, "__all__", [])
        assert len(names) == len(set(names)), f"{module.__name__}: a name stands twice in __all__"
        missing = [name for name in names if not hasattr(module, name)]
        assert not missing, f"{module.__name__}.__all__ has {missing}, the module has not"


def test_kernels_are_declared_whole():
    """Slot names are unique and every kernel writes somewhere."""
    list(modules())         # a kernel is declared when its module is imported
    assert len(native.KERNELS) > 10
    for kernel, slots in native.KERNELS.items():
        names = [name for name, _ in slots]
        assert len(names) == len(set(names)), kernel
        assert any(role in ("out", "acc", "state") for _, role in slots), kernel


def test_a_slot_is_given_nothing_that_dies_before_the_launch():
    """`put` keeps an address, not the array: what a call returns may be gone when the kernel runs."""
    kept = {"part", "columns", "generator_of", "get"}     # parts and members of what somebody keeps
    for path in sources(".pyx", ".pxd"):
        if path.parent.name != "kernels":
            for argument in re.findall(r"\bput\(&?[\w.]+, [^,]+, (.*)\)$", path.read_text(), re.M):
                assert set(re.findall(r"(\w+)\(", argument)) <= kept, f"{path}: {argument}"
