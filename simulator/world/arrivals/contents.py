"""Reads the rows of an arriving file. It is untrusted: nothing in it runs, and sizes are checked before unpacking."""

from __future__ import annotations

import os
import stat
import zipfile
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from simulator.world.sources.assemble import digest_of_arrays
from simulator.world.sources.base import SourceData
from simulator.world.sources.classes import numbers_of

_ENTRIES = ("images.npy", "labels.npy")
_END = 22  # bytes of a zip archive's last record, without a comment
_LOCATOR = 20  # bytes of the record before it in archives over 4 GiB
_DIRECTORY = 4096  # bytes; two entries need about 120


class Unfit(ValueError):
    """What is wrong with a file, in one sentence."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What every file must have: images of `shape` (C, H, W), labels below `classes`, at most `megabytes`.

    `labels`: where the source's classes are not numbered from 0, the numbers that it has for them, in their order.
    """

    shape: tuple[int, int, int]
    classes: int
    megabytes: int
    labels: tuple[int, ...] | None = None

    @staticmethod
    def by(data: SourceData, megabytes: int) -> Expected:
        """Return what a file of at most `megabytes` must have to fit the source."""
        return Expected(data.shape, data.classes, megabytes, numbers_of(data.class_names))

    @property
    def bytes(self) -> int:
        """The largest size of a file, packed and unpacked."""
        return self.megabytes * 1_000_000


@dataclass(frozen=True, slots=True)
class Contents:
    """`images` uint8 (N, C, H, W), `labels` int64 (N,), and the SHA-256 of both, independent of compression."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    sha256: str


def read_contents(path: Path, expected: Expected) -> Contents:
    """Read and check the file at `path`. Raises `Unfit` with the reason, and `OSError` when the disk cannot be read."""
    name = shown(path.name)
    raw = _bytes(path, name, expected)
    _check_ending(name, raw)
    try:
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            return _unpacked(archive, name, expected)
    except Unfit:
        raise
    except Exception as error:  # a damaged archive may raise anything; nothing is read from the disk here
        raise Unfit(
            f"expected '{name}' to be an npz archive, got {type(error).__name__}: {error}; write it again"
        ) from error


def shown(name: str) -> str:
    """Return a file's name as text that can be printed and stored."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _bytes(path: Path, name: str, expected: Expected) -> bytes:
    """Return a regular file's bytes, without following links or blocking on pipes."""
    _check_regular(name, path.lstat().st_mode)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError as error:
        raise Unfit(f"expected '{name}' to be readable, got {error.strerror}; allow us to read it") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_regular(name, status.st_mode)
        _check_size(name, "the file", status.st_size, expected)
        raw = file.read(expected.bytes + 1)
        _check_size(name, "the file", len(raw), expected)
    return raw


def _check_regular(name: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a special file"
        raise Unfit(f"expected '{name}' to be a regular file, got {kind}; put the file itself there")


def _check_size(name: str, what: str, size: int, expected: Expected) -> None:
    if size > expected.bytes:
        raise Unfit(
            f"expected {what} '{name}' to hold at most {expected.megabytes} megabytes, got {size / 1e6:.1f}; "
            "write smaller files, or raise stream.arrivals.megabytes"
        )


def _check_ending(name: str, raw: bytes) -> None:
    """Refuse a file that is no plain archive, before zipfile reads a table of contents that may be large."""
    end = raw[-_END:]
    if len(end) < _END or end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise Unfit(
            f"expected '{name}' to be a whole npz archive, got {len(raw)} bytes that do not end like one; "
            "write it with numpy.savez under another name, then rename it"
        )
    beyond = raw[-_END - _LOCATOR :].startswith(b"PK\x06\x07")
    if beyond or int.from_bytes(end[12:16], "little") > _DIRECTORY:
        raise Unfit(f"expected '{name}' to hold images and labels alone, got a longer table of contents; drop the rest")


def _unpacked(archive: zipfile.ZipFile, name: str, expected: Expected) -> Contents:
    entries = archive.infolist()
    found = [entry.filename for entry in entries]
    if sorted(found) != sorted(_ENTRIES):
        names = ", ".join(shown(entry.removesuffix(".npy")) for entry in found) or "none"
        raise Unfit(f"expected '{name}' to hold the arrays images and labels, got {names}; save these two alone")
    for entry in entries:
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unfit(
                f"expected '{name}' to be packed as numpy.savez does, got an encrypted entry or another "
                f"compression; write it with numpy.savez_compressed"
            )
    _check_size(name, "the arrays of", sum(entry.file_size for entry in entries), expected)
    images = _array(archive, "images", name)
    labels = _array(archive, "labels", name)
    return _checked(images, labels, name, expected)


def _array(archive: zipfile.ZipFile, what: str, name: str) -> NDArray[Any]:
    """Return one array. It is only read if its header accounts for every byte."""
    size = archive.getinfo(f"{what}.npy").file_size
    with archive.open(f"{what}.npy") as file:
        shape, fortran, dtype = _header(file)
        if dtype.hasobject or dtype.kind not in "iu":
            raise Unfit(f"expected {what} of '{name}' to be whole numbers, got {dtype}; convert them first")
        count = prod(shape) * dtype.itemsize
        if count != size - file.tell():
            raise Unfit(
                f"expected {what} of '{name}' to hold {count} bytes for the shape {shape}, got {size - file.tell()}; "
                "write the file again"
            )
        data = file.read(count)
        if len(data) != count or file.read(1):
            raise Unfit(f"expected {what} of '{name}' to be whole, got {len(data)} of {count} bytes; write it again")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array of the format's version {version}")
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype


def _checked(images: NDArray[Any], labels: NDArray[Any], name: str, expected: Expected) -> Contents:
    channels, height, width = expected.shape
    if images.dtype != np.uint8:
        raise Unfit(f"expected images of '{name}' to be uint8 in 0..255, got {images.dtype}; convert them first")
    shapes = {(height, width, channels), (height, width)} if channels == 1 else {(height, width, channels)}
    if images.shape[1:] not in shapes:
        told = " or ".join(f"(N, {', '.join(map(str, shape))})" for shape in sorted(shapes))
        raise Unfit(
            f"expected images of '{name}' to be {told}, as in the source, got {images.shape}; resize or rearrange them"
        )
    if labels.shape != (len(images),):
        raise Unfit(
            f"expected labels of '{name}' to be ({len(images)},), one for each image, got {labels.shape}; complete them"
        )
    numbers = _numbers(labels, name, expected)
    rows = np.ascontiguousarray(np.moveaxis(images.reshape(len(images), height, width, channels), 3, 1))
    return Contents(rows, numbers, digest_of_arrays(rows, numbers))


def _numbers(labels: NDArray[Any], name: str, expected: Expected) -> NDArray[np.int64]:
    """Return the labels as positions int64 among the source's classes; refuse one that it does not have."""
    if expected.labels is None:
        known = np.arange(expected.classes)
        told = f"in [0, {expected.classes - 1}]"
    else:
        known = np.array(expected.labels)
        told = f"among the source's ({', '.join(map(str, expected.labels[:20]))})"
    foreign = labels[~np.isin(labels, known)]
    if foreign.size:
        raise Unfit(
            f"expected labels of '{name}' to be {told}, got {int(foreign[0])}; number the classes as the source does"
        )
    return np.searchsorted(known, labels).astype(np.int64)
