"""A model's state, or a whole checkpoint, in a safetensors file: names and tensors, no code, written whole or not at all."""
from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor, from_array
from fastnn.io.structure import Writer, read
from fastnn.ops.promotion import check_device

if TYPE_CHECKING:
    from typing import IO, Any

    from fastnn.core.types import Device

# safetensors' names of the types that a Tensor can have.  bfloat16, which NumPy lacks, is widened to float32.
TYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "u2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8",
         "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?"}
STORABLE = frozenset(np.dtype(code) for code in TYPES.values())
STRUCTURE = "fastnn.structure"      # the metadata's key of a nested state's description


def save(state: object, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write a state_dict, or a checkpoint of nested dicts and lists, as one safetensors file.

    The file is written beside its place and then moved there: after a crash, a full disk or an interrupt the old file is
    still whole.  The mode of an existing file is kept.

    Parameters
    ----------
    state : mapping of str to Tensor or array, or nested
        A flat state_dict, as `Module.state_dict()` returns it, gives one entry per name.  Entries that share their memory
        (tied weights) are stored once; the other names are noted in the file's ``__metadata__`` as ``{name: stored name}``.

        A checkpoint may nest dicts (also OrderedDict and Counter, with keys that are strings, numbers or None), lists and
        tuples, with tensors, arrays, numbers, strings, bools and None as leaves.  A tensor's entry is named after its place
        (``model.0.weight``, ``optimizer.state.0.exp_avg``), so that any reader of safetensors finds it; the rest is JSON in
        the file's ``__metadata__``.
    path : str, path-like or binary file
        An open file, or an `io.BytesIO`, is written to from where it stands.

    Raises
    ------
    TypeError
        For a leaf that is none of these, or has a type that safetensors cannot store.  The message says where it lies.
    ImportError
        Without the package safetensors (``pip install "fastnn-cpu[full]"``).

    Examples
    --------
    >>> save(model.state_dict(), "model.safetensors")                      # doctest: +SKIP
    >>> model.load_state_dict(load("model.safetensors"))                   # doctest: +SKIP
    <All keys matched successfully>
    >>> save({"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
    ...       "scheduler": scheduler.state_dict(), "rng": fastnn.get_rng_state()}, "checkpoint.safetensors")   # doctest: +SKIP
    >>> checkpoint = load("checkpoint.safetensors")                        # doctest: +SKIP
    >>> optimizer.load_state_dict(checkpoint["optimizer"])                 # doctest: +SKIP
    """
    if isinstance(state, Mapping) and all(isinstance(name, str) and isinstance(value, (Tensor, np.ndarray))
                                          for name, value in state.items()):
        stored, metadata = _flat(state)
    else:
        stored, metadata = _nested(state)
    library = _library()
    if hasattr(path, "write"):
        path.write(library.save(stored, metadata or None))
        return
    with _replacing(path) as temporary:
        library.save_file(stored, temporary, metadata or None)


def load(path: str | os.PathLike[str] | IO[bytes], map_location: Device = None, *, weights_only: bool = True) -> Any:
    """Read a safetensors file.

    Parameters
    ----------
    path : str, path-like or binary file
        An open file, or an `io.BytesIO`, is read from where it stands to its end.
    map_location : None or "cpu"
        Where tensors shall lie.  Accepted for torch's sake.
    weights_only : bool, default True
        Accepted for torch's sake: these files hold no code, whatever is said here.

    Returns
    -------
    dict of str to Tensor, or what was saved
        A flat state_dict, for `Module.load_state_dict`: names that `save` noted as sharing memory are one and the same Tensor.
        A checkpoint as it was given to `save`.

    Raises
    ------
    ValueError
        For a file that is damaged, no safetensors file, or holds a type that fastnn has not.
    ImportError
        Without the package safetensors (``pip install "fastnn-cpu[full]"``).
    """
    check_device(map_location)
    _library()
    import safetensors
    content, path = _content(path)
    try:
        entries = safetensors.deserialize(content)
        metadata = _metadata(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: {path} is not a readable safetensors file: {error}") from error
    del content
    state = {name: from_array(_array(path, name, entry)) for name, entry in entries}
    if STRUCTURE in metadata:
        try:
            return read(metadata[STRUCTURE], state)
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"load: {path}: the description of its structure is damaged: {error!r}") from error
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


class _Arrays:
    """Arrays to store by name; what shares the memory of one of them is stored once."""

    def __init__(self):
        self.stored, self._seen = {}, {}

    def put(self, name, array, place):
        """Keep an array; gives the name that it is stored under."""
        dtype = array.dtype.newbyteorder("=")
        if dtype not in STORABLE:
            raise TypeError(f"save: cannot store {place} of type {array.dtype}")
        memory = (array.ctypes.data, array.shape, array.strides, array.dtype.str)
        if array.size and memory in self._seen:
            return self._seen[memory]
        self._seen[memory] = name
        # The library writes the memory as it lies, so a transposed array has to be brought into C order first.
        # (ascontiguousarray would make a 0-d array 1-d.)
        self.stored[name] = np.asarray(array, dtype, order="C")
        return name


def _flat(state):
    """Arrays of a state_dict, and the names of entries that share the memory of one of them."""
    arrays, aliases = _Arrays(), {}
    for name, value in state.items():
        kept = arrays.put(name, value.detach().numpy() if isinstance(value, Tensor) else value, f"entry {name!r}")
        if kept != name:
            aliases[name] = kept
    return arrays.stored, aliases


def _content(path):
    """The bytes of a file, and what to call it."""
    if hasattr(path, "read"):
        return path.read(), getattr(path, "name", "the file")
    path = os.fspath(path)
    with open(path, "rb") as file:
        return file.read(), path


def _nested(state):
    """Arrays of a checkpoint, and its description."""
    arrays = _Arrays()
    return arrays.stored, {STRUCTURE: Writer(arrays.put).text(state)}


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
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
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
