"""A model's state in a safetensors file: names and tensors, no code, written whole or not at all."""
from __future__ import annotations

import contextlib
import json
import os
import secrets
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor, from_array

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# safetensors' names of the types that a Tensor can have.  bfloat16, which NumPy lacks, is widened to float32.
TYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "u2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8",
         "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?"}
STORABLE = frozenset(np.dtype(code) for code in TYPES.values())


def save(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state_dict as a safetensors file.

    The file is written beside its place and then moved there: after a crash, a full disk or an interrupt the old file is
    still whole.  The mode of an existing file is kept.

    Parameters
    ----------
    state : mapping of str to Tensor or array
        As `Module.state_dict()` returns it.  Entries that share their memory (tied weights) are stored once; the other
        names are noted in the file's ``__metadata__`` as ``{name: stored name}``.
    path : str or path-like

    Raises
    ------
    TypeError
        For an entry that is no tensor or array, or has a type that safetensors cannot store.
    ImportError
        Without the package safetensors (``pip install "fastnn-cpu[full]"``).

    Examples
    --------
    >>> save(model.state_dict(), "model.safetensors")                      # doctest: +SKIP
    >>> model.load_state_dict(load("model.safetensors"))                   # doctest: +SKIP
    <All keys matched successfully>
    """
    stored, aliases = _entries(state)
    library = _library()
    with _replacing(path) as temporary:
        library.save_file(stored, temporary, aliases or None)


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a safetensors file.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict of str to Tensor
        For `Module.load_state_dict`.  Names that `save` noted as sharing memory are one and the same Tensor.

    Raises
    ------
    ValueError
        For a file that is damaged, no safetensors file, or holds a type that fastnn has not.
    ImportError
        Without the package safetensors (``pip install "fastnn-cpu[full]"``).
    """
    _library()
    import safetensors
    path = os.fspath(path)
    with open(path, "rb") as file:
        content = file.read()
    try:
        entries = safetensors.deserialize(content)
        metadata = _metadata(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: {path} is not a readable safetensors file: {error}") from error
    del content
    state = {name: from_array(_array(path, name, entry)) for name, entry in entries}
    for name, kept in metadata.items():
        if kept in state and name not in state:
            state[name] = state[kept]
    return state


def _library():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError('safetensors files need the package safetensors: pip install "fastnn-cpu[full]"') from error
    return safetensors.numpy


def _entries(state):
    """Arrays to store by name, and the names of entries that share the memory of one of them."""
    stored, aliases, seen = {}, {}, {}
    for name, value in state.items():
        if not isinstance(value, (Tensor, np.ndarray)):
            raise TypeError(f"save: entry {name!r} is a {type(value).__name__}, needed a tensor or array "
                            "(save a state_dict, not the model)")
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        if not isinstance(name, str) or array.dtype.newbyteorder("=") not in STORABLE:
            raise TypeError(f"save: cannot store entry {name!r} of type {array.dtype}")
        memory = (array.ctypes.data, array.shape, array.strides, array.dtype.str)
        if array.size and memory in seen:
            aliases[name] = seen[memory]
            continue
        seen[memory] = name
        # The library writes the memory as it lies, so a transposed array has to be brought into C order first.
        # (ascontiguousarray would make a 0-d array 1-d.)
        stored[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    return stored, aliases


def _array(path, name, entry):
    if entry["dtype"] not in TYPES:
        raise ValueError(f"load: {path}: entry {name!r} has type {entry['dtype']}, known are {', '.join(TYPES)}")
    array = np.frombuffer(entry["data"], "<" + TYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _metadata(content):
    """The file's ``__metadata__``.  The library has already checked the header."""
    return json.loads(content[8:8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})


@contextlib.contextmanager
def _replacing(path):
    """A temporary name beside `path` to write to; the file there takes the place of `path` when the block ends well."""
    path = os.path.realpath(path)       # through links, which stay
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        # Created here for the mode: that of the file it replaces, else what the umask leaves.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, os.stat(path).st_mode & 0o7777)
        mode = os.stat(temporary).st_mode & 0o7777
        yield temporary
        os.chmod(temporary, mode)
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _flush(folder)


def _flush(path):
    """Wait until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
