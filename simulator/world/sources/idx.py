"""The idx format of the MNIST family: a big-endian header of type and sizes, then the bytes."""

from __future__ import annotations

import gzip
import io
import math
import zlib

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 8
_DENSEST = 1032  # bytes that deflate makes of one, at most


def read_idx(blob: bytes, name: str, dimensions: int) -> NDArray[np.uint8]:
    """Return the uint8 array that an idx file of `dimensions` dimensions holds; gzip is undone first.

    `name` is the file's, for the `SourceError` raised when `blob` is not such a file, whole.
    """
    raw = _unzipped(blob, name) if blob[:2] == b"\x1f\x8b" else memoryview(blob)
    head = 4 + 4 * dimensions
    if len(raw) < head or raw[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
        raise SourceError(
            f"expected '{name}' to be an idx file of bytes in {dimensions} dimensions, "
            f"got one that starts with {raw[:4].hex(' ') or 'nothing'}; fetch it again"
        )
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", dimensions, offset=4))
    if len(raw) - head != math.prod(shape):
        raise SourceError(
            f"expected '{name}' to hold {math.prod(shape)} bytes of data ({' x '.join(map(str, shape))}), "
            f"got {len(raw) - head}; fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def _unzipped(blob: bytes, name: str) -> memoryview:
    """Return what the gzip file holds, read into one buffer of the size that its end tells: no second copy is made."""
    told = int.from_bytes(blob[-4:], "little")
    buffer = bytearray(min(told, _DENSEST * len(blob)))  # the end of a torn file may tell anything
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(blob)) as file:
            count = file.readinto(buffer)
            rest = file.read()  # of a file with more members than one
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"expected '{name}' to be a whole gzip file, got {error}; fetch it again") from error
    return memoryview(bytes(buffer[:count]) + rest if rest else buffer)[: count + len(rest)].toreadonly()
