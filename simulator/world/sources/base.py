"""The contract of sources: a whole data set of labelled images in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
