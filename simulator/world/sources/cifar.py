"""CIFAR's batch files, read without loading a pickle.

The files are pickle programs, and loading one can run any code. Here the operations are only walked with `pickletools`:
plain values are put together, and every look-up or call becomes an inert `Made` that records its name and arguments.
No name in a file is imported, so nothing in it can run.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError


@dataclass(slots=True)
class Made:
    """Records a call of `name` with `arguments`, and the `state` set on its result. Nothing is called."""

    name: Any
    arguments: Any = None
    state: Any = None


_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_TEXTS = {"BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_PUSHED = _NUMBERS | _TEXTS | _BYTES
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})


def read_plain(blob: bytes) -> Any:
    """Return the plain value (dict, list, tuple, str, bytes, number, `Made`) that a pickle program describes.

    Raises `ValueError` for a damaged program and for an operation that batch files do not use.
    """
    machine = _Machine()
    try:
        for operation, argument, _ in pickletools.genops(blob):
            machine.step(operation.name, argument)
        return machine.stack.pop()
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a torn program ({type(error).__name__})") from error


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._cache: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _IGNORED:
            return
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self._last(_TUPLES[name])))
        else:
            self._other(name, argument)

    def _other(self, name: str, argument: Any) -> None:
        match name:
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "MARK":
                self._marks.append(len(self.stack))
            case "TUPLE":
                self.stack.append(tuple(self._marked()))
            case "APPEND" | "APPENDS":
                values = self._last(1) if name == "APPEND" else self._marked()
                self.stack[-1].extend(values)
            case "SETITEM" | "SETITEMS":
                values = self._last(2) if name == "SETITEM" else self._marked()
                self.stack[-1].update(zip(values[::2], values[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                self._cache[argument] = self.stack[-1]
            case "MEMOIZE":
                self._cache[len(self._cache)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self._cache[argument])
            case "GLOBAL":
                self.stack.append(str(argument).replace(" ", "."))
            case "STACK_GLOBAL":
                self.stack.append(".".join(self._last(2)))
            case "REDUCE":
                self.stack.append(Made(*self._last(2)))
            case "BUILD":
                (state,) = self._last(1)
                self.stack[-1].state = state
            case _:
                raise ValueError(f"the operation {name}, which batch files do not use")

    def _last(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        if start < 0:
            raise IndexError(count)
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _marked(self) -> list[Any]:
        return self._last(len(self.stack) - self._marks.pop())


def read_batch(blob: bytes, name: str, label_key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (N, 32, 32, 3) and labels (N,) of one batch file; `SourceError` when it is not one."""
    try:
        table = read_plain(blob)
        raw, shape = _bytes_of(table["data"])
        labels = np.array(table[label_key], dtype=np.int64)
        images = np.frombuffer(raw, np.uint8).reshape(shape).reshape(-1, 3, 32, 32)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise SourceError(
            f"expected '{name}' to be a CIFAR batch file with 'data' (N, 3072) and '{label_key}', "
            f"got {type(error).__name__}: {error}; fetch it again"
        ) from error
    return images.transpose(0, 2, 3, 1), labels


def _bytes_of(array: Made) -> tuple[bytes, tuple[int, ...]]:
    """Return data and shape of a recorded row-major uint8 array."""
    _version, shape, kind, column_major, raw = array.state
    if not array.name.endswith("multiarray._reconstruct") or kind.arguments[0] != "u1" or column_major:
        raise ValueError("'data' is not a row-major array of bytes")
    if isinstance(raw, Made):  # how Python 3 writes bytes in protocol 2: _codecs.encode(text, 'latin1')
        raw = raw.arguments[0]
    return (raw.encode("latin-1") if isinstance(raw, str) else raw), shape
