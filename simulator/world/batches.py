"""Where a world's clean rows come from: the contract, and rows that are sampled from the source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from simulator.scenario.model import Scenario
from simulator.world.sources.base import SourceData
from simulator.world.stream import Stream


@dataclass(frozen=True, slots=True)
class Rows:
    """Clean rows: `images` uint8 (N, C, H, W), `labels` int64 (N,), `ids` int64 (N,).

    An id names one row for the whole run: rows of the source's train part are numbered from 0, those of its test part
    after them, and row r of the file of period t is t * 2**32 + r.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: Tensor

    @staticmethod
    def at(positions: Tensor, images: NDArray[np.uint8], labels: NDArray[np.int64], first_id: int = 0) -> Rows:
        """Return the rows at the positions int64 (n,) of `images` and `labels`; position 0 has the id `first_id`."""
        return Rows(images[positions.numpy()], labels[positions.numpy()], positions + first_id)


class BatchSource(ABC):
    """The rows of every period, by role. The same period gives the same rows, in any order of calls.

    Raises `SourceError` for rows that are not available, `ValueError` for a period that the scenario does not have.
    """

    @abstractmethod
    def batch(self, period: int) -> Rows:
        """Return the rows that arrive in `period` to be trained on; period 0 is the base training."""

    @abstractmethod
    def trusted(self, period: int) -> Rows:
        """Return the defender's labelled rows in `period`."""

    @abstractmethod
    def validation(self) -> Rows:
        """Return rows of period 0 that nothing is trained on."""

    @abstractmethod
    def relearning(self, draw: int) -> Rows:
        """Return re-learning draw 0, 1 or 2: the same in every period."""

    @abstractmethod
    def test(self, period: int) -> Rows:
        """Return the test rows of `period`."""

    def foreseen(self, period: int) -> bool:
        """Return whether the rows of `period` are known before it has come."""
        return True

    def recycled(self, period: int) -> bool:
        """Return whether the rows of `period` are rows of earlier batches again."""
        return False

    def elapsed(self, period: int) -> float | None:
        """Return the time from period 0 to `period` as a share of the source's time; None when it is unknown."""
        return None

    def file(self, period: int) -> str | None:
        """Return the SHA-256 of the images and labels of the file that `period` is; None for rows of the source."""
        return None


@final
class SampledBatches(BatchSource):
    """Rows of the source, sampled by the stream. `prior` and `exact` as in `Stream`."""

    def __init__(
        self, data: SourceData, scenario: Scenario, prior: Callable[[int], Tensor | None], *, exact: bool = False
    ) -> None:
        self._data = data
        self._stream = Stream(data, scenario, prior, exact=exact)

    def batch(self, period: int) -> Rows:
        return self._train(self._stream.batch(period))

    def trusted(self, period: int) -> Rows:
        return self._train(self._stream.trusted(period))

    def validation(self) -> Rows:
        return self._train(self._stream.validation())

    def relearning(self, draw: int) -> Rows:
        return self._train(self._stream.relearning(draw))

    def test(self, period: int) -> Rows:
        rows = self._stream.test(period)
        return Rows.at(rows, self._data.test_images, self._data.test_labels, len(self._data.labels))

    def recycled(self, period: int) -> bool:
        return self._stream.recycled(period)

    def elapsed(self, period: int) -> float | None:
        return self._stream.elapsed(period)

    def _train(self, rows: Tensor) -> Rows:
        return Rows.at(rows, self._data.images, self._data.labels)
