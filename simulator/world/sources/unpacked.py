"""Large images in files that every process of a user maps, so that they are on a machine once and not in each process.

The files lie in the workspace, `cache/data`; `ebbdoor cache --clear` removes them, and they are made again when needed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from simulator.system.workspace import default_workspace

#: images of fewer bytes are held in memory: mapping them would save little
SMALL = 32_000_000

#: seconds without a change after which a half-written file is that of a killed process
_LEFT = 3600.0

_PARTS = ("train", "test")

#: rows of images uint8 (n, H, W) or (n, H, W, C), and which of them are test rows, bool (n,)
Block = tuple[NDArray[Any], NDArray[np.bool_]]
Images = NDArray[np.uint8]


def unpacked(
    files: Sequence[Path],
    options: object,
    shape: tuple[int, int, int],
    rows: tuple[int, int],
    blocks: Callable[[], Iterator[Block]],
    small: int | None = None,
) -> tuple[Images, Images]:
    """Return the images uint8 (N, C, H, W) of the train and the test part, from `blocks` in their order.

    `shape` (C, H, W) and `rows` of both parts are what the blocks hold. From `small` bytes on (None: `SMALL`) they are
    written once for the state that `files` are in and for the `options` they are read with, and mapped, not to be
    changed. Where they cannot be written, they are held in memory.
    """
    if prod(shape) * sum(rows) >= (SMALL if small is None else small):
        with suppress(OSError):
            return _mapped(*_keys(files, options), shape, rows, blocks)
    parts = tuple(np.empty((count, *shape), np.uint8) for count in rows)
    filled = [0, 0]
    for part, images in _divided(blocks(), shape):
        parts[part][filled[part] : filled[part] + len(images)] = images
        filled[part] += len(images)
    return parts[0], parts[1]


def folder() -> Path:
    """Return where the files are: in the workspace."""
    return default_workspace() / "cache" / "data"


def _mapped(
    source: str, state: str, shape: tuple[int, int, int], rows: tuple[int, int], blocks: Callable[[], Iterator[Block]]
) -> tuple[Images, Images]:
    paths = [folder() / f"{source}.{state}.{part}.npy" for part in _PARTS]
    found = [_opened(path, (count, *shape)) for path, count in zip(paths, rows, strict=True)]
    if any(part is None for part in found):
        folder().mkdir(parents=True, exist_ok=True)
        _clear(source, paths)
        _write(paths, shape, rows, blocks)
        found = [_opened(path, (count, *shape)) for path, count in zip(paths, rows, strict=True)]
    train, test = found
    if train is None or test is None:
        raise OSError("what was written is not there")
    return train, test


def _clear(source: str, kept: Sequence[Path]) -> None:
    """Remove what was made of the files as they were, and what a kill left; who has mapped a file keeps it.

    Files of the present state are `kept`: another process may have made them just now.
    """
    for old in folder().glob(f"{source}.*.npy"):
        if old not in kept:
            old.unlink(missing_ok=True)
    for left in folder().glob(".*.rows"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _LEFT:
                left.unlink()


def _write(
    paths: Sequence[Path], shape: tuple[int, int, int], rows: tuple[int, int], blocks: Callable[[], Iterator[Block]]
) -> None:
    """Write both parts side by side, each under a name of its own until it is whole."""
    partial = [path.with_name(f".{path.name}.{os.getpid()}.rows") for path in paths]
    try:
        with ExitStack() as stack:
            opened = [stack.enter_context(path.open("wb")) for path in partial]
            for file, count in zip(opened, rows, strict=True):
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
                npy.write_array_header_1_0(file, header)
            for part, images in _divided(blocks(), shape):
                opened[part].write(images.data)
        for path, written in zip(paths, partial, strict=True):
            os.replace(written, path)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def _opened(path: Path, shape: tuple[int, ...]) -> Images | None:
    """Return the mapped file; None where there is none of this shape."""
    try:
        found: Images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return found if found.shape == shape and found.dtype == np.uint8 else None


def _divided(blocks: Iterator[Block], shape: tuple[int, int, int]) -> Iterator[tuple[int, Images]]:
    """Yield (0 for train or 1 for test, images (n, C, H, W) contiguous)."""
    channels, height, width = shape
    for images, is_test in blocks:
        rows = np.moveaxis(images.reshape(len(images), height, width, channels), 3, 1)
        for part in (0, 1):
            mine = is_test == bool(part)
            if mine.any():
                yield part, np.ascontiguousarray(rows if mine.all() else rows[mine])


def _keys(files: Sequence[Path], options: object) -> tuple[str, str]:
    """Return what names the files and options, and what names the state that the files are in."""
    named, state = hashlib.sha256(repr(options).encode()), hashlib.sha256()
    for path in files:
        status = path.stat()
        named.update(os.fsencode(path.absolute()) + b"\0")
        state.update(f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns};".encode())
    return named.hexdigest(), state.hexdigest()[:16]
