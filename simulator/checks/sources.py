"""Checks of sources: whole data sets in the common layout. A source without its data must raise a helpful error."""

from __future__ import annotations

import re

import numpy as np

from simulator.checks.subject import Inapplicable, Subject, expect, quiet, same
from simulator.errors import SourceError
from simulator.scenario import catalog
from simulator.world.sources.base import Source, SourceData, checked_source


def loads_or_says_what_to_do(subject: Subject) -> None:
    """Loading gives data, or a `SourceError` that says what was expected, what was got, and what to do."""
    try:
        checked_source(catalog.plugin(subject.kind, subject.use), quiet(subject.make().load))
    except SourceError as error:
        helpful = re.search(r"expected .+, got .+; .+", str(error), re.DOTALL)
        expect(helpful is not None, f"expected a sentence 'expected X, got Y; do Z', got: {error}")


def arrays_have_the_layout(subject: Subject) -> None:
    """uint8 (N, C, H, W) with C 1 or 3 and at least 8 pixels a side; int64 labels in [0, classes)."""
    data = _load(subject.make())
    for part, images, labels in (("train", data.images, data.labels), ("test", data.test_images, data.test_labels)):
        expect(
            images.dtype == np.uint8 and images.ndim == 4,
            f"expected {part} images uint8 (N, C, H, W), got {images.dtype} {images.shape}",
        )
        expect(
            images.shape[1] in (1, 3) and min(images.shape[2:]) >= 8,
            f"expected C 1 or 3 from 8 pixels, got {images.shape}",
        )
        expect(
            labels.dtype == np.int64 and labels.shape == (len(images),),
            f"expected {part} labels int64 (N,), got {labels.dtype} {labels.shape}",
        )
        inside = len(labels) > 0 and labels.min() >= 0 and labels.max() < data.classes
        expect(bool(inside), f"expected {part} labels in [0, {data.classes}), got {np.unique(labels)}")
    expect(data.images.shape[1:] == data.test_images.shape[1:], "expected train and test images of one shape, got two")
    named = len(data.class_names) in (0, data.classes)
    expect(named, f"expected a name for each of {data.classes} classes or none, got {len(data.class_names)}")


def time_is_in_order(subject: Subject) -> None:
    """Times are given for both parts or for none; the train part arrives in their order."""
    data = _load(subject.make())
    expect((data.time is None) == (data.test_time is None), "expected times for both parts or none, got one")
    if data.time is not None and data.test_time is not None:
        expect(data.time.shape == data.labels.shape, f"expected a time for each row, got {data.time.shape}")
        expect(
            data.test_time.shape == data.test_labels.shape,
            f"expected a time for each test row, got {data.test_time.shape}",
        )
        expect(bool((np.diff(data.time) >= 0).all()), "expected times that never fall, got a fall; sort the rows")
    if data.files:
        numbers = {*np.unique(data.time).tolist()} if data.time is not None else set()
        expect(
            numbers == {*range(len(data.files))},
            f"expected the times of {len(data.files)} files to number them from 0, got {sorted(numbers)}",
        )


def loads_the_same_again(subject: Subject) -> None:
    """Loading twice gives the same arrays and the same digest, a SHA-256."""
    first, second = _load(subject.make()), _load(subject.make())
    expect(same(first, second), "expected the same data when loaded again, got others; seed what is drawn")
    expect(re.fullmatch(r"[0-9a-f]{64}", first.digest) is not None, f"expected a SHA-256, got '{first.digest}'")


def _load(source: Source) -> SourceData:
    try:
        return source.load()
    except SourceError as error:
        raise Inapplicable(f"its data are not at hand: {error}") from error
