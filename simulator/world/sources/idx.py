"""The idx format of the MNIST family: a big-endian header of type and sizes, then the bytes."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from typing import IO

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError

_UNSIGNED_BYTE = 8
_DENSEST = 1032  # deflate's largest ratio of unpacked to packed bytes
_PIECE = 2**18  # bytes unpacked at a time

_File = IO[bytes] | gzip.GzipFile  # on disk or in memory, or unpacked on the way


def read_idx(file: _File, name: str, dimensions: int) -> NDArray[np.uint8]:
    """Return the uint8 array of an idx file of `dimensions` dimensions, read-only; gzip is unpacked on the way.

    The file is read and unpacked in pieces, straight into the array, so nothing else of it is in memory. `file` must be
    seekable. Raises `SourceError`, with the file's `name`, for another format and for a truncated file.
    """
    most = file.seek(0, os.SEEK_END)
    file.seek(0)
    zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not zipped:
        return _read(file, name, dimensions, most)
    try:
        with gzip.GzipFile(fileobj=file) as plain:
            return _read(plain, name, dimensions, _DENSEST * most)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"expected '{name}' to be a whole gzip file, got {error}; fetch it again") from error


def _read(file: _File, name: str, dimensions: int, most: int) -> NDArray[np.uint8]:
    """Read the header and the array. `most` bounds the bytes the file can hold, because a header may claim any size."""
    size = 4 + 4 * dimensions
    head = file.read(size)
    if len(head) < size or head[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
        raise SourceError(
            f"expected '{name}' to be an idx file of bytes in {dimensions} dimensions, "
            f"got one that starts with {head[:4].hex(' ') or 'nothing'}; fetch it again"
        )
    shape = tuple(int(length) for length in np.frombuffer(head, ">u4", dimensions, offset=4))
    told = math.prod(shape)
    array = np.empty(min(told, most), np.uint8)
    count = _fill(file, array)
    count += sum(map(len, iter(lambda: file.read(_PIECE), b"")))
    if count != told:
        raise SourceError(
            f"expected '{name}' to hold {told} bytes of data ({' x '.join(map(str, shape))}), "
            f"got {count}; fetch it again"
        )
    array.setflags(write=False)  # a source is read once a process and shared
    return array.reshape(shape)


def _fill(file: _File, room: NDArray[np.uint8]) -> int:
    """Read into `room` until it is full or the file ends; return how many bytes."""
    done = 0
    while piece := file.read(min(_PIECE, len(room) - done)):
        room[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    return done
