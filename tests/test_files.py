"""safetensors files: round trips, tied entries, damage, and writing whole or not at all."""
import errno
import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from fastnn.core.tensor import Parameter, Tensor, from_array
from fastnn.io import files, load, save

safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")
base = np.random.default_rng(0).standard_normal((6, 8))

ARRAYS = {
    "float32": base.astype(np.float32),
    "float64": base,
    "transposed": base.T,
    "strided": base[::2, 1::3],
    "reversed": base[::-1],
    "broadcast": np.broadcast_to(base[:, :1], (6, 8)),
    "fortran": np.asfortranarray(base.reshape(2, 3, 8)),
    "0-d": np.array(2.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "int64": np.array([2**62, -1]),
    "int32": np.array([[1], [-2]], np.int32),
    "uint8": np.arange(5, dtype=np.uint8),
    "bool": np.array([True, False]),
    "0-d bool": np.array(True),
    "big-endian": base.astype(">f4"),
    "special": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324]),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_round_trip(tmp_path, kind):
    want = ARRAYS[kind]
    save({"x": from_array(want)}, tmp_path / "x")
    got = load(str(tmp_path / "x"))["x"]
    assert isinstance(got, Tensor) and got.shape == want.shape and got.dtype == want.dtype.newbyteorder("=")
    assert got.numpy().tobytes() == want.astype(got.dtype).tobytes()
    got.numpy()[...] = 0        # writable


def test_many_entries_and_plain_arrays(tmp_path):
    save(ARRAYS, tmp_path / "x")
    got = load(tmp_path / "x")
    assert got.keys() == ARRAYS.keys()
    for name, want in ARRAYS.items():
        np.testing.assert_array_equal(got[name].numpy(), want)


def test_parameter(tmp_path):
    save({"p": Parameter(from_array(base.astype(np.float32)))}, tmp_path / "x")
    assert not load(tmp_path / "x")["p"].requires_grad


def test_tied_entries_are_stored_once(tmp_path):
    weight = base.astype(np.float32)
    state = {"a": weight, "b": weight, "view": weight[:3], "turned": weight.T, "empty": weight[:0], "empty2": weight[:0]}
    save(state, tmp_path / "x")
    with safetensors.safe_open(tmp_path / "x", "np") as file:
        assert sorted(file.keys()) == ["a", "empty", "empty2", "turned", "view"]
        assert file.metadata() == {"b": "a"}
    got = load(tmp_path / "x")
    assert got["a"] is got["b"] and got.keys() == state.keys()
    for name in state:
        np.testing.assert_array_equal(got[name].numpy(), state[name])


def test_read_by_the_torch_side(tmp_path):
    torch = pytest.importorskip("torch", reason="torch reads the file, and is not installed")
    from safetensors.torch import load_file
    save({"w": base.T, "n": np.array(3)}, tmp_path / "x")
    got = load_file(tmp_path / "x")
    assert torch.equal(got["w"], torch.from_numpy(base.T.copy())) and got["n"].shape == () and got["n"] == 3


def test_bfloat16_is_widened(tmp_path):
    values = np.array([1.5, -3.0, np.inf], np.float32)
    header = json.dumps({"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    content = len(header).to_bytes(8, "little") + header + (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    (tmp_path / "x").write_bytes(content)
    got = load(tmp_path / "x")["x"]
    assert got.dtype == np.float32 and (got.numpy() == values).all()


def header_only(**entries):
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header


DAMAGED = {
    "empty": b"",
    "no header": b"\xff" * 64,
    "not JSON": (8).to_bytes(8, "little") + b"{{{{{{{{",
    "out of range": header_only(x={"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}),
    "overflow": header_only(x={"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}),
    "unknown type": header_only(x={"dtype": "F9", "shape": [0], "data_offsets": [0, 0]}),
    "foreign type": header_only(x={"dtype": "C64", "shape": [0], "data_offsets": [0, 0]}),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files(tmp_path, kind):
    (tmp_path / "x").write_bytes(DAMAGED[kind])
    with pytest.raises(ValueError, match="load: "):
        load(tmp_path / "x")


def test_every_truncation_is_noticed(tmp_path):
    save({"a": base, "b": np.arange(3)}, tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "y").write_bytes(content[:length])
        with pytest.raises(ValueError, match="not a readable safetensors file"):
            load(tmp_path / "y")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "x")
    with pytest.raises(RuntimeError, match="Parent directory .*missing does not exist"):
        save({"x": base}, tmp_path / "missing" / "x")


def test_open_files(tmp_path):
    state = {"epoch": 3, "model": {"w": from_array(base)}}
    buffer = io.BytesIO()
    save(state, buffer)
    buffer.seek(0)
    assert np.array_equal(load(buffer)["model"]["w"].numpy(), base)
    with open(tmp_path / "x", "wb") as file:
        save({"x": base}, file)
    with open(tmp_path / "x", "rb") as file:
        assert np.array_equal(load(file)["x"].numpy(), base)
    with pytest.raises(ValueError, match="the file is not a readable safetensors file"):
        load(io.BytesIO(b"nothing"))


@pytest.mark.parametrize("state", [{"x": np.array(["a"])}, {"x": np.zeros(2, np.complex64)}, {"epoch": 3, "x": {1, 2}},
                                   {(1, 2): np.zeros(2)}, {"nested": {"x": [np.zeros(2), object()]}}])
def test_what_cannot_be_stored_leaves_the_old_file(tmp_path, state):
    save({"x": np.ones(2)}, tmp_path / "x")
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(TypeError, match="save: "):
        save(state, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == before and os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("step", ["save_file", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, error):
    import safetensors.numpy
    save({"x": np.ones(2)}, tmp_path / "x")
    before = (tmp_path / "x").read_bytes()

    def fail(*_):
        raise error
    monkeypatch.setattr(safetensors.numpy if step == "save_file" else files.os, step, fail)
    with pytest.raises(type(error)):
        save({"x": np.zeros(2)}, tmp_path / "x")
    monkeypatch.undo()
    assert (tmp_path / "x").read_bytes() == before and os.listdir(tmp_path) == ["x"]


def test_mode_and_links_are_kept(tmp_path):
    path, link = tmp_path / "x", tmp_path / "link"
    mask = os.umask(0o027)
    try:
        save({"x": np.ones(2)}, path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o7777 == 0o640
    path.chmod(0o604)
    link.symlink_to("x")
    save({"x": np.zeros(2)}, link)
    assert path.stat().st_mode & 0o7777 == 0o604 and link.is_symlink()
    assert load(path)["x"].tolist() == [0, 0]


KILLED = """
import sys, numpy as np
from fastnn.io import save
print("ready", flush=True)
while True:
    for value in 1, 2:
        save({"x": np.full(200_000, value, np.float32)}, sys.argv[1])
"""


def test_killed_while_saving(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "x"
    save({"x": np.full(200_000, 1, np.float32)}, path)
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(rng.uniform(0, 0.02))
            child.kill()
        values = load(path)["x"].numpy()
        assert values.shape == (200_000,) and values[0] in (1, 2) and (values == values[0]).all()


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda: save({"x": np.ones(2)}, tmp_path / "x"), lambda: load(tmp_path / "x")):
        with pytest.raises(ImportError, match=r"fastnn-cpu\[full\]"):
            call()
    assert os.listdir(tmp_path) == []
