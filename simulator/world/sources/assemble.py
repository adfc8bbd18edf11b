"""Makes a checked `SourceData` of a data set's arrays; and the seeded split for sets without a test part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError
from simulator.seeds import generator
from simulator.world.sources.base import SourceData

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Time = NDArray[np.float64]

SMALLEST = 8  # pixels; three poolings by 2 leave nothing of a smaller image


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a data set: `images` (N, H, W) or (N, H, W, C), `labels` (N,), `time` (N,) or None. Not yet checked."""

    images: NDArray[Any]
    labels: NDArray[Any]
    time: NDArray[Any] | None = None

    def take(self, rows: NDArray[np.int64]) -> Part:
        """Return the rows at the positions `rows`."""
        return Part(self.images[rows], self.labels[rows], None if self.time is None else self.time[rows])


def source_data(
    name: str, train: Part, test: Part, *, classes: int | None = None, class_names: tuple[str, ...] = ()
) -> SourceData:
    """Check both parts and put them together; images become (N, C, H, W), labels int64, time float64.

    `classes` defaults to the number of class names, and without these to the largest label + 1. Raises `SourceError`.
    """
    count = check_parts(name, train, test, classes=classes, class_names=class_names)
    images, test_images = _channels_first(train.images), _channels_first(test.images)
    labels, test_labels = train.labels.astype(np.int64), test.labels.astype(np.int64)
    time, test_time = _as_time(train), _as_time(test)
    return SourceData(
        name=name,
        images=images,
        labels=labels,
        test_images=test_images,
        test_labels=test_labels,
        digest=digest_of_arrays(images, labels, test_images, test_labels, time, test_time),
        classes=count,
        class_names=class_names,
        time=time,
        test_time=test_time,
    )


def check_parts(
    name: str, train: Part, test: Part, *, classes: int | None = None, class_names: tuple[str, ...] = ()
) -> int:
    """Raise `SourceError` unless both parts are what `source_data` puts together; return the number of classes.

    Of images only type and shape are looked at, so that those of a stand-in will do (`np.broadcast_to`).
    """
    for what, part in (("images", train), ("test_images", test)):
        _check_images(name, what, part.images)
    if _size(train) != _size(test):
        raise SourceError(
            f"{name}: expected test_images to be of the shape {_size(train)} (C, H, W) of images, "
            f"got {_size(test)}; resize one of them"
        )
    _check_labels(name, "labels", train)
    _check_labels(name, "test_labels", test)
    count = classes or len(class_names) or int(max(train.labels.max(), test.labels.max())) + 1
    _check_classes(name, count, train.labels, test.labels)
    _check_time(name, "time", train)
    _check_time(name, "test_time", test)
    return count


def digest_of_arrays(*arrays: NDArray[Any] | None) -> str:
    """Return the SHA-256 over type, shape and bytes (little-endian, row-major) of every array, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none;")
            continue
        plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{plain.dtype.str}{plain.shape};".encode())
        digest.update(plain.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def spread_split(rows: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (train, test) positions of a seeded split, both ascending; about `share * rows` are test rows.

    The rows are cut into as many equal runs as there are test rows and one is drawn from each, so that a test part
    of ordered rows covers the whole order. Raises `SourceError` when a part would be empty.
    """
    count = round(rows * share)
    if not 0 < count < rows:
        raise SourceError(
            f"expected test_share to leave rows for training and for testing, got {share} of {rows} rows; change it"
        )
    import torch

    edges = np.linspace(0, rows, count + 1).astype(np.int64)
    drawn = torch.rand(count, generator=generator(seed, "source", "split"), dtype=torch.float64).numpy()
    test = edges[:-1] + np.floor(drawn * np.diff(edges)).astype(np.int64)
    train = np.setdiff1d(np.arange(rows, dtype=np.int64), test)
    return train, test


def _check_images(name: str, what: str, images: NDArray[Any]) -> None:
    if images.dtype != np.uint8:
        raise SourceError(
            f"{name}: expected {what} to be uint8 in 0..255, got {images.dtype}; state their range "
            "(source.range: [0, 1], say), or convert them first"
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise SourceError(
            f"{name}: expected {what} to be (N, H, W) or (N, H, W, C) with 1 or 3 channels, "
            f"got shape {images.shape}; rearrange them"
        )
    if not len(images):
        raise SourceError(f"{name}: expected {what} to hold rows, got none; add some")
    if min(images.shape[1:3]) < SMALLEST:
        raise SourceError(
            f"{name}: expected {what} to be at least {SMALLEST} pixels high and wide, "
            f"got {images.shape[1]} x {images.shape[2]}; enlarge them"
        )


def _size(part: Part) -> tuple[int, ...]:
    """(C, H, W) of one image."""
    return (part.images.shape[3] if part.images.ndim == 4 else 1, *part.images.shape[1:3])


def _channels_first(images: NDArray[Any]) -> Images:
    channels_last = images[..., None] if images.ndim == 3 else images
    return np.ascontiguousarray(np.moveaxis(channels_last, 3, 1))


def _check_labels(name: str, what: str, part: Part) -> None:
    labels, rows = part.labels, len(part.images)
    if labels.shape != (rows,):
        raise SourceError(
            f"{name}: expected {what} to be ({rows},), one for each image, got {labels.shape}; complete them"
        )
    if labels.dtype.kind not in "iu":
        raise SourceError(f"{name}: expected {what} to be whole numbers, got {labels.dtype}; number the classes from 0")


def _check_classes(name: str, classes: int, labels: NDArray[Any], test_labels: NDArray[Any]) -> None:
    for what, values in (("labels", labels), ("test_labels", test_labels)):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise SourceError(
                f"{name}: expected {what} to be in [0, {classes - 1}], got {wrong}; number the classes from 0"
            )
    if classes < 2:
        raise SourceError(f"{name}: expected at least 2 classes, got {classes}; add rows of another class")


def _check_time(name: str, what: str, part: Part) -> None:
    rows, time = len(part.images), part.time
    if time is None:
        return
    if time.shape != (rows,) or time.dtype.kind not in "iuf":
        raise SourceError(
            f"{name}: expected {what} to be ({rows},) numbers, got {time.dtype} of shape {time.shape}; "
            "give one number for each image"
        )
    if not np.isfinite(time).all():
        raise SourceError(f"{name}: expected {what} to be finite, got nan or infinity; fill the gaps")
    order = np.diff(time.astype(np.float64))
    if (order < 0).any():
        row = int(np.argmax(order < 0)) + 1
        raise SourceError(
            f"{name}: time column out of order: expected {what} not to fall, got "
            f"{apart(time[row - 1], time[row])} at row {row}; sort all arrays by it"
        )


def _as_time(part: Part) -> Time | None:
    return None if part.time is None else part.time.astype(np.float64)


def apart(one: float, other: float, between: str = "then") -> str:
    """Return two different numbers as a sentence shows them, with as many digits as it takes to tell them apart.

    >>> apart(1767242000.0, 1767241999.5), apart(3, 2)
    ('1767242000.0 then 1767241999.5', '3 then 2')
    """
    return f"{one:g} {between} {other:g}" if f"{one:g}" != f"{other:g}" else f"{one} {between} {other}"
