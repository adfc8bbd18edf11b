"""A user's NumPy archive: its small arrays, and its images block by block, so that they are never in memory whole."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from simulator.errors import SourceError

NEEDED = ("images", "labels")
TEST = ("test_images", "test_labels")
KNOWN = (*NEEDED, "time", *TEST, "test_time")

#: bytes of images that are in memory at a time
BLOCK = 8_000_000

#: bytes of one label or time, and of an array's header, at most; a name of this length has 200 characters
_VALUE, _HEADER = 800, 10_000
#: bytes of an array that is read although it does not have a row for each image: what is wrong is then said later
_SMALL = 1_000_000
#: bytes of labels or times that are read although the images take less
_MUCH = 64_000_000


@dataclass(frozen=True, slots=True)
class Stored:
    """Images that are in an archive, by what its header says of them."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def stand_in(self) -> NDArray[Any]:
        """An array of this type and shape that takes no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive at `path`, called `name` in sentences. `arrays` are all but the images."""

    path: Path
    name: str
    images: Stored
    test_images: Stored | None
    arrays: dict[str, NDArray[Any]]

    def blocks(self, images: Stored) -> Iterator[NDArray[Any]]:
        """Yield all rows of `images`, in order, some at a time."""
        with _reading(self.name), zipfile.ZipFile(self.path) as file, file.open(f"{images.key}.npy") as member:
            shape, fortran, dtype = _header(member)
            if fortran and len(shape) > 1:  # its rows are all over the file
                yield np.frombuffer(member.read(), dtype).reshape(shape, order="F")
                return
            step = max(1, BLOCK // max(1, prod(shape[1:]) * dtype.itemsize))
            for first in range(0, shape[0], step):
                count = min(step, shape[0] - first)
                size = count * prod(shape[1:]) * dtype.itemsize
                yield np.frombuffer(member.read(size), dtype).reshape((count, *shape[1:]))
            member.read(1)  # at its end the checksum is compared


def open_archive(path: Path, name: str, *, correct: str, needed: tuple[str, ...] = NEEDED) -> Archive:
    """Return the archive at `path`; unknown names are refused, and where one of the arrays `needed` is missing.

    Nothing in it is unpickled, so nothing can run. Types and shapes are not checked. Raises `SourceError` with the
    archive's `name` and, when there is no such file, the option to `correct`.
    """
    try:
        with _reading(name), _opened(path) as opened:
            if opened.read(6) == npy.MAGIC_PREFIX:
                raise SourceError(f"expected '{name}' to be an npz archive, got a single array; use numpy.savez")
            with zipfile.ZipFile(opened) as file:
                found = {stored.key: stored for stored in _headers(file)}
                _check_names(name, list(found), needed)
                images = {key: found.pop(key) for key in ("images", "test_images") if key in found}
                for key, stored in found.items():
                    _check_rows(name, stored, images["test_images" if key in (*TEST, "test_time") else "images"])
                arrays = {key: _read(file, key) for key in found}
    except FileNotFoundError as error:
        raise SourceError(f"expected '{name}' to be an npz archive, got no such file; correct {correct}") from error
    return Archive(path, name, images["images"], images.get("test_images"), arrays)


def _opened(path: Path) -> IO[bytes]:
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever for somebody to write
        raise OSError("no regular file")
    return path.open("rb")


def _headers(file: zipfile.ZipFile) -> Iterator[Stored]:
    """Yield what the headers say of all arrays, whose lengths are checked; nothing is unpacked."""
    for entry in file.infolist():
        with file.open(entry) as member:
            shape, _, dtype = _header(member)
            if prod(shape) * dtype.itemsize != entry.file_size - member.tell():
                raise ValueError(
                    f"{entry.file_size - member.tell()} bytes for an array of {prod(shape) * dtype.itemsize}"
                )
            yield Stored(entry.filename.removesuffix(".npy"), shape, dtype)


def _check_rows(name: str, stored: Stored, images: Stored) -> None:
    """Refuse an array that would take much memory before it is read."""
    if stored.dtype.itemsize > _VALUE:
        raise SourceError(
            f"{name}: expected {stored.key} to hold numbers, or names of at most {_VALUE // 4} characters, "
            f"got {stored.dtype}; shorten them"
        )
    size = prod(stored.shape) * stored.dtype.itemsize
    if size > _SMALL and stored.shape != images.shape[:1]:
        raise SourceError(
            f"{name}: expected {stored.key} to be {images.shape[:1]}, one for each image, got {stored.shape}; "
            "complete or shorten it"
        )
    if size > max(_MUCH, prod(images.shape) * images.dtype.itemsize):
        raise SourceError(
            f"{name}: expected {stored.key} to take less memory than the images, got {size} bytes; "
            "number the classes, or shorten their names"
        )


def _read(file: zipfile.ZipFile, key: str) -> NDArray[Any]:
    with file.open(f"{key}.npy") as member:
        shape, fortran, dtype = _header(member)
        return np.frombuffer(member.read(), dtype).reshape(shape, order="F" if fortran else "C")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(member)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array of the format's version {version}")
    start = member.tell()
    size = int.from_bytes(member.read(2 * version[0]), "little")
    if size > _HEADER:  # it would be unpacked before its length is looked at
        raise ValueError(f"a header of {size} bytes")
    member.seek(start)
    shape, fortran, dtype = read(member)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    return shape, fortran, dtype


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what a damaged archive raises in the block into a sentence; a file that is not there stays that."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise SourceError(
            f"expected '{name}' to be an npz archive of plain arrays, got {error}; write it with numpy.savez"
        ) from error


def _check_names(name: str, found: list[str], needed: tuple[str, ...]) -> None:
    unknown = [key for key in found if key not in KNOWN]
    if unknown:
        raise SourceError(f"{name}: expected arrays named {', '.join(KNOWN)}, got '{unknown[0]}'; rename or drop it")
    missing = [key for key in needed if key not in found]
    if missing:
        raise SourceError(f"{name}: expected an array '{missing[0]}', got {', '.join(found) or 'none'}; add it")
    given = [key for key in TEST if key in found]
    if len(given) == 1 or ("test_time" in found and not given):
        raise SourceError(
            f"{name}: expected test_images and test_labels together, got {', '.join(given) or 'test_time alone'}; "
            "add what is missing"
        )
    if given and ("time" in found) != ("test_time" in found):
        raise SourceError(
            f"{name}: expected test_time exactly when there is a time, got one of the two; add or drop one"
        )
