"""Rows that arrive as files: period 0 from the source, every later period from the accepted file of its number."""

from __future__ import annotations

from functools import lru_cache
from typing import final

import torch
from torch import Tensor

from simulator.errors import SourceError
from simulator.scenario.model import Arrivals, Scenario
from simulator.world.arrivals.contents import Contents, Expected, Unfit, read_contents
from simulator.world.arrivals.folder import DropFolder
from simulator.world.arrivals.names import Accepted
from simulator.world.arrivals.roles import Split, rows_needed, split_rows, trusted_period
from simulator.world.batches import BatchSource, Rows, SampledBatches
from simulator.world.sources.base import SourceData

_FILES_CACHED = 2  # the period's own, and the one that the defender's images are from
_IDS_A_PERIOD = 2**32  # more than the rows of any file


@final
class FolderBatches(BatchSource):
    """The accepted files of a drop folder, read on demand and never written.

    The share of the source's time that has passed is unknown for files: only injected drift has a true magnitude.
    """

    def __init__(self, data: SourceData, scenario: Scenario, arrivals: Arrivals) -> None:
        self._scenario = scenario
        self._folder = DropFolder(arrivals.folder)
        self._expected = Expected.by(data, arrivals.megabytes)
        self._start = SampledBatches(data, _start_of(scenario), lambda period: None)
        self._names: dict[int, Accepted] = {}
        self._read = lru_cache(maxsize=_FILES_CACHED)(self._checked)

    def batch(self, period: int) -> Rows:
        if self._is_start(period):
            return self._start.batch(0)
        contents, split = self._read(period)
        return _rows(period, contents, split.batch)

    def trusted(self, period: int) -> Rows:
        self._is_start(period)
        source = trusted_period(self._scenario, period)
        if source == 0:
            return self._start.trusted(0)
        contents, split = self._read(source)
        return _rows(source, contents, split.trusted)

    def validation(self) -> Rows:
        return self._start.validation()

    def relearning(self, draw: int) -> Rows:
        return self._start.relearning(draw)

    def test(self, period: int) -> Rows:
        if self._is_start(period):
            return self._start.test(0)
        contents, split = self._read(period)
        return _rows(period, contents, split.test)

    def foreseen(self, period: int) -> bool:
        return period == 0

    def file(self, period: int) -> str | None:
        return None if self._is_start(period) else self._named(period).sha256

    def _is_start(self, period: int) -> bool:
        if not 0 <= period <= self._scenario.periods:
            raise ValueError(f"expected period to be in [0, {self._scenario.periods}], got {period}; correct it")
        return period == 0

    def _named(self, period: int) -> Accepted:
        """Return the accepted file of `period`; once seen, it stays what it is for this process."""
        if period not in self._names:
            self._names = {file.period: file for file in self._folder.accepted()} | self._names
        if period not in self._names:
            raise SourceError(
                f"expected period {period} to have arrived in {self._folder.folder}, got {len(self._names)} accepted "
                "files; put it back if it was taken away, or play up to the last that arrived"
            )
        return self._names[period]

    def _checked(self, period: int) -> tuple[Contents, Split]:
        """Read the file of `period`; raise `SourceError` if its contents are not those that were accepted."""
        path = self._folder.path(self._named(period))
        try:
            contents = read_contents(path, self._expected)
        except (Unfit, OSError) as error:
            raise SourceError(f"expected {path} to be as it was accepted, got: {error}") from error
        if contents.sha256 != self._named(period).sha256:
            raise SourceError(
                f"expected {path} to hold the images and labels that it was accepted with, got others; put them back"
            )
        needed = rows_needed([self._scenario], period)
        if len(contents.labels) < needed.total:
            raise SourceError(
                f"expected {path} to hold at least {needed.total} rows ({needed}), got {len(contents.labels)}; "
                "play it with the scenario that it was accepted for"
            )
        labels = torch.from_numpy(contents.labels)
        return contents, split_rows(self._scenario, period, labels, self._expected.classes)


def _start_of(scenario: Scenario) -> Scenario:
    """Return the scenario whose stream has period 0 alone; its rows are those that period 0 has in any scenario."""
    trusted = scenario.trusted.model_copy(update={"from_": "latest"})
    return scenario.model_copy(update={"periods": 0, "trusted": trusted})


def _rows(period: int, contents: Contents, rows: Tensor) -> Rows:
    return Rows.at(rows, contents.images, contents.labels, period * _IDS_A_PERIOD)
