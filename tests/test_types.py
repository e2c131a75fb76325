"""Types as a user of the package meets them: a program under mypy --strict, and the files that carry the types."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(fastnn.__path__[0])

RIGHT = '''
from collections import OrderedDict
from typing import assert_type

import numpy as np

import fastnn
from fastnn import nn, optim
from fastnn.autograd.function import Context
from fastnn.data import DataLoader, TensorDataset
from fastnn.nn import functional as F


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Sequential(OrderedDict(drop=nn.Dropout(0.1), linear=nn.Linear(width, 10)))

    def forward(self, x: fastnn.Tensor) -> fastnn.Tensor:
        h = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        logits: fastnn.Tensor = self.head(h.flatten(1))
        return logits


def train(x: np.ndarray[tuple[int, ...], np.dtype[np.float32]], y: fastnn.Tensor) -> float:
    fastnn.manual_seed(0)
    model = Net(64)
    optimizer = optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    loss = fastnn.zeros(())
    for a, b in DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True):
        optimizer.zero_grad()
        loss = loss_fn(model(a), b)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    scheduler.step()
    state: dict[str, fastnn.Tensor] = model.state_dict()
    model.load_state_dict(state)
    with fastnn.no_grad():
        model.eval()
    return float(loss)


@fastnn.no_grad()
def accuracy(output: fastnn.Tensor, target: fastnn.Tensor) -> float:
    return float((output.argmax(1) == target).float().mean())


class Cube(fastnn.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: fastnn.Tensor) -> fastnn.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Context, grad: fastnn.Tensor) -> fastnn.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x * x * grad


t = fastnn.randn(2, 3, requires_grad=True)
assert_type(accuracy(t, t), float)
assert_type(t + 1, fastnn.Tensor)
assert_type(2 ** t, fastnn.Tensor)
assert_type(t @ t.T.numpy(force=True), fastnn.Tensor)
assert_type(t == t, fastnn.Tensor)
assert_type(t[0, ..., None, fastnn.tensor([0, 1])], fastnn.Tensor)
assert_type(t.grad, fastnn.Tensor | None)
assert_type(t.shape, fastnn.Size)
assert_type(t.size(0), int)
assert_type(t.size(), fastnn.Size)
assert_type(t.max(), fastnn.Tensor)
assert_type(t.max(1).indices, fastnn.Tensor)
assert_type(t.shape[1:].numel(), int)
assert_type(t.max(axis=1, keepdims=True).indices, fastnn.Tensor)
assert_type(t.var(axis=(0, 1), keepdims=True), fastnn.Tensor)
assert_type(fastnn.argmax(t, axis=0), fastnn.Tensor)
assert_type(fastnn.cat([t, t], axis=0), fastnn.Tensor)
assert_type(fastnn.linalg.norm(t, axis=1), fastnn.Tensor)
assert_type(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), nn.Linear)
assert_type(t.sort(dim=0, descending=True).values, fastnn.Tensor)
assert_type(t.unbind(1), tuple[fastnn.Tensor, ...])
assert_type(t.float().double().long(), fastnn.Tensor)
assert_type(t.detach().exp_().clamp_(min=0.0), fastnn.Tensor)
assert_type(t.isnan().any(), fastnn.Tensor)
assert_type(fastnn.unique(t), fastnn.Tensor)
assert_type(fastnn.nonzero(t, as_tuple=True), tuple[fastnn.Tensor, ...])
assert_type(fastnn.where(t > 0, t, 0.0), fastnn.Tensor)
assert_type(fastnn.where(t > 0), tuple[fastnn.Tensor, ...])
assert_type(fastnn.autograd.grad(t.sum(), t), tuple[fastnn.Tensor, ...])
assert_type(fastnn.allclose(t, t), bool)
assert_type(fastnn.is_grad_enabled(), bool)
assert_type(fastnn.Generator().manual_seed(1), fastnn.Generator)
assert_type(F.max_pool1d(t, 2, return_indices=True), tuple[fastnn.Tensor, fastnn.Tensor])
assert_type(nn.Linear(3, 2).weight, nn.Parameter)
assert_type(nn.Linear(3, 2).to(fastnn.float64), nn.Linear)
assert_type(nn.Linear(3, 2).bias, nn.Parameter | None)
assert_type([name for name, _ in Net(64).named_parameters()], list[str])
assert_type(nn.init.xavier_uniform_(t), fastnn.Tensor)
step = fastnn.compile(Net(64), nn.CrossEntropyLoss(), optim.SGD(Net(64).parameters(), lr=0.1))
assert_type(step(t, t), fastnn.Tensor)
'''

# Every line that ends in "# wrong" is an error, no other.
WRONG = '''
import fastnn
from fastnn import nn, optim

t = fastnn.zeros(2, 3)
fastnn.zeros("2")                               # wrong
fastnn.relu()                                   # wrong
fastnn.relu(t, inplce=True)                     # wrong
t.reshap(6)                                     # wrong
t.sum(dim="0")                                  # wrong
t.amax(axis="0")                                # wrong
t.argmin(axs=0)                                 # wrong
t + "1"                                         # wrong
t.grad.zero_()                                  # wrong
t.requires_grad = 3                             # wrong
t.shape = (3, 2)                                # wrong
text: str = t.item                              # wrong
number: str = t.dim()                           # wrong
nn.Linear(3)                                    # wrong
nn.Linear(3, "2")                               # wrong
nn.functional.softmx(t)                         # wrong
nn.functional.cross_entropy(t, [0, 1])          # wrong
optim.Adam(t, lr="1")                           # wrong
optim.SGD([t], momentun=0.9)                    # wrong
optim.SGD([t], momentum=0.9)
fastnn.set_num_threads("2")                     # wrong
nn.Module().train().eval().zero_grad()
'''


def test_a_users_program_under_mypy_strict(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed")
    for name, text in {"right": RIGHT, "wrong": WRONG}.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nmypy_path = {PACKAGE.parent}\nstrict = True\n"
                                       "[mypy-fastnn.*]\nfollow_imports = silent\n")      # as with an installed package
    run = subprocess.run([sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary", "--hide-error-context",
                          "right.py", "wrong.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    found = re.findall(r"^([^:]+):(\d+): error: (.*)$", run.stdout, re.M)
    assert not run.stderr, run.stderr
    assert [e for e in found if e[0] != "wrong.py"] == []
    wanted = {i for i, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}
    assert {int(line) for _, line, _ in found} == wanted, run.stdout


def test_the_wheel_carries_the_types(monkeypatch):
    """What setuptools would put into a wheel, without building it."""
    setuptools = pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 is not installed")
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs the source tree around tests/")
    monkeypatch.chdir(ROOT)
    distribution = setuptools.Distribution()
    distribution.parse_config_files()
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    carried = {Path(source, name).as_posix() for _, source, _, names in build.data_files for name in names}
    stubs = {p.relative_to(ROOT).as_posix() for p in (ROOT / "fastnn").rglob("*.pyi")}
    assert len(stubs) > 30
    assert stubs | {"fastnn/py.typed"} <= carried


def test_a_compiled_module_with_public_names_has_a_stub():
    """Every module of an `__all__` that Python code sees is either Python or has a stub beside it."""
    compiled = {p.with_suffix("") for p in (ROOT / "fastnn").rglob("*.pyx")
                if re.search(r"^(__all__|def [a-z]|class [A-Za-z])", p.read_text(), re.M)}
    missing = [p.relative_to(ROOT).as_posix() for p in sorted(compiled) if not p.with_suffix(".pyi").is_file()]
    assert not missing, f"compiled modules without a stub: {missing}"
