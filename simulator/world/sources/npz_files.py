"""Reads a user's NumPy archives of labelled images: one, or one for each period, whose names give the order in time."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import glob
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError
from simulator.world.sources.assemble import Part, source_data, spread_split
from simulator.world.sources.base import SourceData

_NEEDED = ("images", "labels")
_TEST = ("test_images", "test_labels")
_KNOWN = (*_NEEDED, "time", *_TEST, "test_time")


def read_files(files: str, test_share: float, split_seed: int) -> SourceData:
    """Read the archives of `files`, a folder or a pattern; a row's time is the number of its file.

    A file without a test part gives `test_share` of its own rows. Raises `SourceError` for files that cannot be read,
    that differ in the shape of their images, or whose order contradicts the times in them.
    """
    found = [_read(path, test_share, split_seed) for path in files_in_order(files)]
    for one, other in pairwise(found):
        _check_pair(one, other)
    train, test = ([getattr(file, part) for file in found] for part in ("train", "test"))
    data = source_data(files, _joined(train), _joined(test))
    return replace(data, files=tuple(file.name for file in found))


def files_in_order(files: str) -> list[Path]:
    """Return the npz files of a folder, or those that match a pattern, sorted by name, numbers in it by value."""
    folder = Path(files).expanduser()
    found = list(folder.glob("*.npz")) if folder.is_dir() else [Path(path) for path in glob(str(folder))]
    if not found:
        raise SourceError(
            f"expected '{files}' to be a folder with npz files, or a pattern that matches some, got none; "
            "correct source.files"
        )
    return sorted(found, key=_order)


@dataclass(frozen=True, slots=True)
class _File:
    """One file's rows, its rows for testing, and the first and last time in it (None without times)."""

    name: str
    train: Part
    test: Part
    span: tuple[float, float] | None


def _read(path: Path, test_share: float, split_seed: int) -> _File:
    name = str(path)
    whole, test = read_archive(path, name, correct="source.files")
    checked = whole if test is None else test
    data = source_data(name, whole, checked, classes=_classes(whole, checked))  # checked before it is split
    span = None if data.time is None else (float(data.time[0]), float(data.time[-1]))
    if test is not None:
        return _File(name, _plain(whole), _plain(test), span)
    try:
        train, held_out = spread_split(len(data.labels), test_share, split_seed)
    except SourceError as error:
        raise SourceError(f"{name}: {error}") from error
    return _File(name, _plain(whole.take(train)), _plain(whole.take(held_out)), span)


def _check_pair(one: _File, other: _File) -> None:
    shapes = [file.train.images.shape[1:] for file in (one, other)]
    if shapes[0] != shapes[1]:
        raise SourceError(
            f"{other.name}: expected images of the shape {shapes[0]} (H, W, C) of '{one.name}', got {shapes[1]}; "
            "resize one of them"
        )
    if (one.span is None) != (other.span is None):
        raise SourceError(
            f"{other.name}: expected a time exactly when '{one.name}' has one, got one of the two; add or drop one"
        )
    if one.span is not None and other.span is not None and other.span[0] < one.span[1]:
        raise SourceError(
            f"{other.name}: time column out of order: expected times from {one.span[1]:g} on, where '{one.name}' ends, "
            f"got {other.span[0]:g}; name the files in the order of their times"
        )


def _joined(parts: Sequence[Part]) -> Part:
    time = np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts])
    return Part(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]), time)


def _plain(part: Part) -> Part:
    """Return the part with images (N, H, W, C), also grey ones."""
    return Part(part.images[..., None] if part.images.ndim == 3 else part.images, part.labels)


def _classes(*parts: Part) -> int | None:
    """Return how many classes a file is checked for, at least 2: it may hold one class only where others hold more."""
    labels: list[NDArray[Any]] = [part.labels for part in parts]
    if any(each.dtype.kind not in "iu" or not each.size for each in labels):
        return None  # `source_data` says what is wrong with them
    return max(2, *(int(each.max()) + 1 for each in labels))


def _order(path: Path) -> tuple[list[str | int], str]:
    """Return the sort key of a file: its name in pieces, every second one a number."""
    pieces = re.split("([0-9]+)", str(path))
    return [int(piece) if number % 2 else piece for number, piece in enumerate(pieces)], str(path)


def read_archive(path: Path, name: str, *, correct: str) -> tuple[Part, Part | None]:
    """Return the rows of the archive at `path` and its test part, if any; unknown names and missing arrays are refused.

    Nothing in it is unpickled, so nothing can run. Types and shapes are not checked. Raises `SourceError` with the
    archive's `name` and, when there is no such file, the option to `correct`.
    """
    arrays = _arrays(path, name, correct)
    _check_names(name, arrays)
    rows = Part(arrays["images"], arrays["labels"], arrays.get("time"))
    if "test_images" not in arrays:
        return rows, None
    return rows, Part(arrays["test_images"], arrays["test_labels"], arrays.get("test_time"))


def _arrays(path: Path, name: str, correct: str) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:  # np.load leaves a torn file open
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise SourceError(f"expected '{name}' to be an npz archive, got a single array; use numpy.savez")
            with archive:
                arrays = {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise SourceError(f"expected '{name}' to be an npz archive, got no such file; correct {correct}") from error
    except (
        OSError,
        ValueError,
        EOFError,
        MemoryError,
        RuntimeError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise SourceError(
            f"expected '{name}' to be an npz archive of plain arrays, got {error}; write it with numpy.savez"
        ) from error
    other = next((key for key, array in arrays.items() if not isinstance(array, np.ndarray)), None)
    if other is not None:
        raise SourceError(
            f"expected '{name}' to hold arrays, got something else as '{other}'; write it with numpy.savez"
        )
    return arrays


def _check_names(name: str, arrays: dict[str, NDArray[Any]]) -> None:
    unknown = [key for key in arrays if key not in _KNOWN]
    if unknown:
        raise SourceError(f"{name}: expected arrays named {', '.join(_KNOWN)}, got '{unknown[0]}'; rename or drop it")
    missing = [key for key in _NEEDED if key not in arrays]
    if missing:
        raise SourceError(f"{name}: expected an array '{missing[0]}', got {', '.join(arrays) or 'none'}; add it")
    given = [key for key in _TEST if key in arrays]
    if len(given) == 1 or ("test_time" in arrays and not given):
        raise SourceError(
            f"{name}: expected test_images and test_labels together, got {', '.join(given) or 'test_time alone'}; "
            "add what is missing"
        )
    if given and ("time" in arrays) != ("test_time" in arrays):
        raise SourceError(
            f"{name}: expected test_time exactly when there is a time, got one of the two; add or drop one"
        )
