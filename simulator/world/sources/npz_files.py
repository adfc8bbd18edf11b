"""Puts a user's NumPy archives of images together: one, or one for each period, in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from glob import glob
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError
from simulator.world.sources.archive import Archive, Stored, open_archive
from simulator.world.sources.assemble import Part, apart, check_parts, source_data, spread_split
from simulator.world.sources.base import SourceData
from simulator.world.sources.classes import names_of_classes, natural, numbered
from simulator.world.sources.scale import Range, to_bytes
from simulator.world.sources.unpacked import Block, unpacked


@dataclass(frozen=True, slots=True)
class Reading:
    """How archives are read: see the options of `Npz`."""

    test_share: float
    split_seed: int
    range: Range | None = None
    classes: int | None = None


def read_file(
    path: str, test_share: float, split_seed: int, stated: Range | None = None, classes: int | None = None
) -> SourceData:
    """Read the one archive at `path`; the options are those of `Npz`."""
    how = Reading(test_share, split_seed, stated, classes)
    archive = open_archive(Path(os.path.expanduser(path)), path, correct="source.path")
    names = _names(path, [archive], how)
    rows = _checked(archive, names, how, len(names) or how.classes)
    return _joined(path, [rows], names, how, None)


def read_files(
    files: str, test_share: float, split_seed: int, stated: Range | None = None, classes: int | None = None
) -> SourceData:
    """Read the archives of `files`, a folder or a pattern; a row's time is the number of its file.

    A file without a test part gives `test_share` of its own rows. Raises `SourceError` for files that cannot be read,
    that differ in the shape of their images, or whose order contradicts the times in them.
    """
    how = Reading(test_share, split_seed, stated, classes)
    archives = [open_archive(path, str(path), correct="source.files") for path in files_in_order(files)]
    names = _names(files, archives, how)
    found = [_checked(each, names, how, len(names) or how.classes or _classes(each)) for each in archives]
    for one, other in pairwise(found):
        _check_pair(one, other)
    times = [np.full(len(rows.test), number) for number, rows in enumerate(found)]
    data = _joined(files, found, names, how, times)
    return replace(data, files=tuple(rows.archive.name for rows in found))


def files_in_order(files: str) -> list[Path]:
    """Return the npz files of a folder, or those that match a pattern, sorted by name, numbers in it by value."""
    folder = Path(os.path.expanduser(files))
    found = list(folder.glob("*.npz")) if folder.is_dir() else [Path(path) for path in glob(str(folder))]
    if not found:
        raise SourceError(
            f"expected '{files}' to be a folder with npz files, or a pattern that matches some, got none; "
            "correct source.files"
        )
    return sorted(found, key=lambda path: natural(str(path)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """One archive's rows, its own test part after the others: which are test rows, their labels and times."""

    archive: Archive
    test: NDArray[np.bool_]
    labels: NDArray[Any]
    time: NDArray[Any] | None

    @property
    def images(self) -> list[Stored]:
        """The images of the rows, in their order."""
        both = (self.archive.images, self.archive.test_images)
        return [images for images in both if images is not None]

    @property
    def size(self) -> tuple[int, int, int]:
        """(H, W, C) of one image."""
        height, width, *channels = self.archive.images.shape[1:]
        return height, width, channels[0] if channels else 1


def _names(name: str, archives: Sequence[Archive], how: Reading) -> tuple[str, ...]:
    """Return the names of the classes of all archives; none where the user says how many there are, from 0."""
    labels = [each.arrays[key] for each in archives for key in ("labels", "test_labels") if key in each.arrays]
    return () if how.classes is not None else names_of_classes(name, labels)


def _checked(archive: Archive, names: tuple[str, ...], how: Reading, classes: int | None) -> _Rows:
    """Check an archive before its images are read, so that row numbers are the user's, and decide what is test rows."""
    train = _part(archive, "", names, how)
    own = "test_labels" in archive.arrays
    test = _part(archive, "test_", names, how) if own else train
    check_parts(archive.name, train, test, classes=classes)
    if own:
        both = [np.zeros(len(train.labels), np.bool_), np.ones(len(test.labels), np.bool_)]
        time = None if train.time is None or test.time is None else np.concatenate([train.time, test.time])
        return _Rows(archive, np.concatenate(both), np.concatenate([train.labels, test.labels]), time)
    try:
        _, held_out = spread_split(len(train.labels), how.test_share, how.split_seed)
    except SourceError as error:
        raise SourceError(f"{archive.name}: {error}") from error
    mask = np.zeros(len(train.labels), np.bool_)
    mask[held_out] = True
    return _Rows(archive, mask, train.labels, train.time)


def _part(archive: Archive, prefix: str, names: tuple[str, ...], how: Reading) -> Part:
    """Return rows with a stand-in for the images, which has the type that they will have."""
    images = archive.images if not prefix or archive.test_images is None else archive.test_images
    scaled = how.range is not None and images.dtype.kind in "biuf"
    stand_in = np.broadcast_to(np.zeros((), np.uint8), images.shape) if scaled else images.stand_in
    labels = numbered(archive.arrays[f"{prefix}labels"], names)
    return Part(stand_in, labels, archive.arrays.get(f"{prefix}time"))


def _joined(
    name: str, found: Sequence[_Rows], names: tuple[str, ...], how: Reading, times: Sequence[NDArray[Any]] | None
) -> SourceData:
    """Put the rows of all archives together; `times` instead of their own."""
    height, width, channels = found[0].size
    test = np.concatenate([rows.test for rows in found])

    def blocks() -> Iterator[Block]:
        for rows in found:
            first = 0
            for images in (block for stored in rows.images for block in rows.archive.blocks(stored)):
                plain = images if how.range is None else to_bytes(rows.archive.name, images, how.range)
                yield plain, rows.test[first : first + len(plain)]
                first += len(plain)

    files = [rows.archive.path for rows in found]
    counts = (int((~test).sum()), int(test.sum()))
    images = unpacked(files, how, (channels, height, width), counts, blocks)
    labels = np.concatenate([rows.labels for rows in found])
    time = found[0].time if times is None else np.concatenate(times)
    train, held_out = (
        Part(np.moveaxis(part, 1, 3), labels[mine], None if time is None else time[mine])
        for part, mine in zip(images, (~test, test), strict=True)
    )
    classes = how.classes or len(names) or int(labels.max()) + 1
    return source_data(name, train, held_out, classes=classes, class_names=names)


def _check_pair(one: _Rows, other: _Rows) -> None:
    if one.size != other.size:
        raise SourceError(
            f"{other.archive.name}: expected images of the shape {one.size} (H, W, C) of '{one.archive.name}', "
            f"got {other.size}; resize one of them"
        )
    if (one.time is None) != (other.time is None):
        raise SourceError(
            f"{other.archive.name}: expected a time exactly when '{one.archive.name}' has one, got one of the two; "
            "add or drop one"
        )
    if one.time is not None and other.time is not None:
        ended, begins = _own_time(one)[-1], _own_time(other)[0]
        if begins < ended:
            raise SourceError(
                f"{other.archive.name}: time column out of order: expected times from "
                f"{apart(ended, begins, f'on, where {one.archive.name!r} ends, got')}; "
                "name the files in the order of their times"
            )


def _own_time(rows: _Rows) -> list[float]:
    """Return the times of an archive's `time` array, without those of its test part."""
    return [float(value) for value in rows.archive.arrays["time"]]


def _classes(archive: Archive) -> int | None:
    """Return how many classes a file is checked for, at least 2: it may hold one class only where others hold more."""
    labels = [archive.arrays[key] for key in ("labels", "test_labels") if key in archive.arrays]
    if any(each.dtype.kind not in "iu" or not each.size for each in labels):
        return None  # `check_parts` says what is wrong with them
    return max(2, *(int(each.max()) + 1 for each in labels))
