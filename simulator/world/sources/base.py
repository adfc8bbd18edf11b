"""The contract of sources: a whole data set of labelled images in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.errors import PluginError
from simulator.guard.call import Plugin
from simulator.scenario.bounds import Bounded


@dataclass(frozen=True, slots=True)
class SourceData:
    """A whole data set in memory.

    `images` uint8 (N, C, H, W) with C 1 or 3 and H, W >= 8; `labels` int64 (N,) in [0, classes). `time` is None for
    shuffled sources (no drift of their own), else non-decreasing (N,), and the rows arrive in that order.
    The test part is for probes only; `test_time` is given exactly when `time` is. `digest`: SHA-256 of all arrays.
    `class_names` are names for all classes or none; where they are numbers, these are the user's own labels, not 0 to
    `classes` - 1.
    `files` names the files of a source that has one file for each period: `time` is then the number of a row's file,
    from 0, and a period's rows come from its file alone.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    digest: str
    classes: int
    class_names: tuple[str, ...] = field(default=())
    time: NDArray[np.float64] | None = None
    test_time: NDArray[np.float64] | None = None
    files: tuple[str, ...] = field(default=())

    def name_of(self, label: int) -> str:
        """The name of a class; its number where the source has no names."""
        return self.class_names[label] if self.class_names else str(label)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


class Source(Bounded, ABC):
    """Where images come from. Nothing is downloaded unless an option asks for it."""

    @abstractmethod
    def load(self) -> SourceData:
        """Return the data; raise `SourceError` with what to do when they are missing or malformed."""


def checked_source(plugin: Plugin, found: object) -> SourceData:
    """Return somebody else's data if they are as `SourceData` says; else raise `PluginError` with the first fault."""
    fault = _fault(found)
    if fault is not None or not isinstance(found, SourceData):
        raise PluginError(f"expected {plugin.name} to load data as SourceData says, got {fault}; correct it")
    return found


def _fault(found: object) -> str | None:
    if not isinstance(found, SourceData):
        return f"a {type(found).__name__}"
    if isinstance(found.classes, bool) or not isinstance(found.classes, int) or not 2 <= found.classes <= 100_000:
        return f"{found.classes!r:.40} classes"
    if not (isinstance(found.digest, str) and found.digest):
        return "no digest"
    for part, images, labels in (
        ("train", found.images, found.labels),
        ("test", found.test_images, found.test_labels),
    ):
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
            return f"{part} images that are not uint8 (N, C, H, W)"
        if images.shape[1] not in (1, 3) or min(images.shape[2:]) < 8 or images.shape[1:] != found.images.shape[1:]:
            return f"{part} images of shape {images.shape}"
        if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.shape != (len(images),):
            return f"{part} labels that are not int64, one for each image"
        if len(labels) and not (labels.min() >= 0 and labels.max() < found.classes):
            return f"{part} labels from {labels.min()} to {labels.max()} of {found.classes} classes"
    return None
