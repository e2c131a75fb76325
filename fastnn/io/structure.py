"""Nested checkpoints as named arrays and a description in JSON: the two parts of what a safetensors file can hold.

JSON's own values stand for themselves; everything else is an object with one key, which says what it is:

    {"tensor": name}  {"array": name}  {"scalar": name}     an entry of the file
    {"dict": [[key, value], ...]}  {"ordered": ...}  {"counter": ...}
    {"tuple": [...]}  {"size": [...]}
    {"float": "nan" | "inf" | "-inf"}                       which JSON has not
"""
from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.size import Size
from fastnn.core.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.types import Array

MAPPINGS: dict[type, str] = {dict: "dict", OrderedDict: "ordered", Counter: "counter"}
SEQUENCES: dict[type, str] = {tuple: "tuple", Size: "size"}
KEYS = (str, int, float, bool, type(None))


class Writer:
    """Describes an object; the arrays in it go to `put(name, array)`, which gives the name of the entry that holds them."""

    def __init__(self, put: Callable[[str, Array, str], str]) -> None:
        self._put = put
        self._inside: list[object] = []
        self._names: set[str] = set()

    def text(self, state: object) -> str:
        """The description of an object."""
        return json.dumps(self._value(state, ()), allow_nan=False, separators=(",", ":"))

    def _value(self, value: Any, path: tuple[object, ...]) -> object:
        kind = type(value)
        if kind in (str, int, bool) or value is None:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, Tensor):
            return {"tensor": self._entry(value.detach().numpy(), path)}
        if isinstance(value, np.ndarray):
            return {"array": self._entry(value, path)}
        if isinstance(value, np.generic):
            return {"scalar": self._entry(np.asarray(value), path)}
        if kind in MAPPINGS or kind in SEQUENCES or kind is list:
            if any(value is outer for outer in self._inside):
                raise TypeError(f"save: {place(path)} holds itself, which a file cannot")
            self._inside.append(value)
            found = self._items(value, kind, path)
            self._inside.pop()
            return found
        hint = " (save its state_dict)" if callable(getattr(value, "state_dict", None)) else ""
        raise TypeError(f"save: cannot store {place(path)}, a {kind.__name__}{hint}: a file holds tensors, arrays, numbers, strings, "
                        "None, and dicts, lists and tuples of these")

    def _items(self, value: Any, kind: type, path: tuple[object, ...]) -> object:
        if kind not in MAPPINGS:
            items = [self._value(item, (*path, i)) for i, item in enumerate(value)]
            return items if kind is list else {SEQUENCES[kind]: items}
        for key in value:
            if type(key) not in KEYS:
                raise TypeError(f"save: {place(path)} has a key of type {type(key).__name__}, needed a string, number or None: {key!r}")
        return {MAPPINGS[kind]: [[self._value(key, path), self._value(item, (*path, key))] for key, item in value.items()]}

    def _entry(self, array: Array, path: tuple[object, ...]) -> str:
        name = wanted = ".".join(str(step) for step in path) or "data"
        count = 1
        while name in self._names:          # {"a.b": ...} beside {"a": {"b": ...}}, {1: ...} beside {"1": ...}
            count += 1
            name = f"{wanted}~{count}"
        self._names.add(name)
        return self._put(name, array, place(path))


def place(path: tuple[object, ...]) -> str:
    """Where in the object something lies, as Python writes it."""
    return "state" + "".join(f"[{step!r}]" for step in path)


def read(text: str, entries: dict[str, Tensor]) -> object:
    """The object that a `Writer` described, made of the file's entries.  LookupError, TypeError or ValueError where that fails."""
    return _read(json.loads(text), entries)


def _read(value: Any, entries: dict[str, Tensor]) -> object:
    if isinstance(value, list):
        return [_read(item, entries) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, content), = value.items()
    if kind == "tensor":
        return entries[content]
    if kind == "array":
        return entries[content].numpy()
    if kind == "scalar":
        return entries[content].numpy()[()]
    if kind == "float":
        return float(content)
    for make, name in MAPPINGS.items():
        if name == kind:
            return make({_read(key, entries): _read(item, entries) for key, item in content})
    for make, name in SEQUENCES.items():
        if name == kind:
            return make([_read(item, entries) for item in content])
    raise ValueError(f"unknown kind {kind!r}")
