"""The bundled digits and the IDX reader."""
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from fastnn.datasets import load_digits, read_idx

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
NUMBER = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array, kind):
    return struct.pack(f">2xBB{array.ndim}I", NUMBER[kind], array.ndim, *array.shape) + array.astype(f">{kind}").tobytes()


def test_digits():
    images, labels = load_digits()
    assert images.shape == (1797, 8, 8) and images.dtype == np.uint8 and images.max() == 16
    assert labels.shape == (1797,) and labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert int(images.astype(np.int64).sum()) == 561718


def test_digits_equal_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets", reason="compares with scikit-learn's copy, which is not installed")
    want = sklearn.load_digits()
    images, labels = load_digits()
    assert (images == want.images).all() and (labels == want.target).all()


@pytest.mark.parametrize("kind", NUMBER)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 28, 28)])
def test_idx_round_trip(tmp_path, kind, packed, shape):
    want = (np.arange(np.prod(shape)).reshape(shape) - 3).astype(kind)
    content = idx_bytes(want, kind)
    path = tmp_path / "values-idx"
    path.write_bytes(gzip.compress(content) if packed else content)
    got = read_idx(path)
    assert got.dtype == want.dtype and got.dtype.isnative and got.shape == shape
    assert (got == want).all() and got.flags.writeable


DAMAGED = {
    "empty": (b"", "not an IDX file"),
    "other": (b"\x89PNG....", "not an IDX file"),
    "no dimensions": (b"\0\0\x08\0", "not an IDX file"),
    "unknown type": (b"\0\0\x0a\x01\0\0\0\x01?", "type 0x0a"),
    "short header": (b"\0\0\x08\x03\0\0\0\x01", "truncated"),
    "short data": (idx_bytes(np.zeros((4, 3)), "u1")[:-1], "truncated"),
    "long data": (idx_bytes(np.zeros((4, 3)), "u1") + b"?", "trailing bytes"),
    "huge": (struct.pack(">2xBB4I", 0x0E, 4, *[2**32 - 1] * 4), "truncated"),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_refuses_damage(tmp_path, case, packed):
    content, message = DAMAGED[case]
    path = tmp_path / "broken"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=message):
        read_idx(path)


@pytest.mark.parametrize("cut", [4, 12, 30])
def test_idx_refuses_damaged_gzip(tmp_path, cut):
    path = tmp_path / "broken.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(12), "u1"))[:cut])
    with pytest.raises(ValueError, match="damaged gzip"):
        read_idx(str(path))


def test_mnist():
    if not MNIST.is_dir():
        pytest.skip("needs data set mnist: no shared/data folder")
    images = read_idx(MNIST / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(MNIST / "t10k-labels-idx1-ubyte.gz")
    assert images.shape == (10000, 28, 28) and images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
