"""Reader for IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST.

A file is two zero bytes, one byte for the type, one for the number of dimensions, each dimension as a big-endian
32-bit number, then the values in C order, big-endian (http://yann.lecun.com/exdb/mnist).
"""
from __future__ import annotations

import gzip
import math
import os
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastnn.core.types import Array

# Third byte of the magic number -> type of the values in the file.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, plain or compressed with gzip.

    Parameters
    ----------
    path : str or path-like
        The file; gzip is recognised by its content, not by its name.

    Returns
    -------
    ndarray
        The values in native byte order, with the file's shape, e.g. (60000, 28, 28) uint8 for MNIST's images.

    Raises
    ------
    ValueError
        Not an IDX file, an unknown type, fewer or more values than the header says, or a damaged gzip stream.

    Examples
    --------
    >>> read_idx("t10k-labels-idx1-ubyte.gz").shape         # doctest: +SKIP
    (10000,)
    """
    path = os.fspath(path)
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[3] == 0:
        raise ValueError(f"read_idx: {path} is not an IDX file: it begins with {content[:4].hex(' ')}, "
                         "needed 00 00 <type> <dimensions>")
    kind, dimensions = content[2], content[3]
    if kind not in TYPES:
        raise ValueError(f"read_idx: {path} has type 0x{kind:02x}, known are "
                         + ", ".join(f"0x{known:02x}" for known in TYPES))
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"read_idx: {path} is truncated: its header of {dimensions} dimensions needs {start} bytes, "
                         f"the file has {len(content)}")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dimensions, offset=4))
    dtype = np.dtype(TYPES[kind])
    needed = start + math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        raise ValueError(f"read_idx: {path} {'is truncated' if len(content) < needed else 'has trailing bytes'}: shape "
                         f"{shape} of {dtype.newbyteorder('=').name} needs {needed} bytes, the file has {len(content)}")
    # astype copies, so that the result is writable and does not hold the file's bytes.
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _content(path):
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            return file.read()
        file.seek(0)
        try:
            with gzip.open(file) as unpacked:
                return unpacked.read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"read_idx: {path} is a damaged gzip file: {error}") from error
