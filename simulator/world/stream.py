"""The rows of every period: a pure function of scenario and seed, with every role disjoint by construction.

Rows arrive in chunks, in the source's order in time or, for a shuffled source, in a seeded order; if the source has one
file for each period, chunk t is drawn from file t. Chunk 0 has the base training rows, the validation rows, the
re-learning pool and, if the defender's budget needs them, trusted rows; chunk t has the batch of period t and, up to
`trusted.from`, its trusted rows. Within a chunk a seeded permutation assigns the roles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from simulator.errors import SourceError
from simulator.scenario.model import Scenario
from simulator.seeds import generator
from simulator.world.arrivals.roles import brings_trusted, trusted_period
from simulator.world.sampling import (
    class_counts,
    drawn_classes,
    largest_remainder,
    shuffled,
    stratified,
    take,
    take_classes,
)
from simulator.world.sources.assemble import apart
from simulator.world.sources.base import SourceData

RELEARNING_DRAWS = 3


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that arrive together, by role, and the span of time they cover (None for shuffled sources)."""

    batch: Tensor
    trusted: Tensor
    validation: Tensor
    relearning: tuple[Tensor, ...]
    span: tuple[float, float] | None


@final
class Stream:
    """Which rows a period has. Rows are positions int64 in the source's train part, or, for `test`, its test part.

    `prior(period)` gives the class shares float64 (classes,) that a period's batch follows, or None for the source's
    own mix. Each row's class is drawn by the shares; with `exact`, the counts are those shares of the batch (largest
    remainder). Raises `SourceError` when there are too few rows.
    """

    def __init__(
        self,
        data: SourceData,
        scenario: Scenario,
        prior: Callable[[int], Tensor | None],
        *,
        exact: bool = False,
    ) -> None:
        self._exact = exact
        self._data = data
        self._scenario = scenario
        self._prior = prior
        self._labels = torch.from_numpy(data.labels)
        self._test_labels = torch.from_numpy(data.test_labels)
        self._time = None if data.time is None else torch.from_numpy(data.time)
        self._chunks = self._fresh_chunks()
        self._check_trusted()
        self._check_recycled()
        self._check_tests()

    # -- roles ---------------------------------------------------------------------------------------------------------

    def batch(self, period: int) -> Tensor:
        """The rows that arrive in `period`; period 0 is the base training."""
        self._check_period(period)
        if not self.recycled(period):
            return self._chunks[period].batch
        pool = torch.cat([chunk.batch for chunk in self._chunks])
        order = shuffled(pool, self._generator("recycle", period))
        return shuffled(self._next(order, period)[0], self._generator("roles", period))

    def recycled(self, period: int) -> bool:
        """Whether the rows of `period` are rows of earlier batches again."""
        return period >= len(self._chunks)

    def validation(self) -> Tensor:
        """Rows of period 0 that nothing is trained on."""
        return self._chunks[0].validation

    def trusted(self, period: int) -> Tensor:
        """The defender's rows in `period`; after fresh rows have run out, earlier trusted rows again."""
        self._check_period(period)
        source = trusted_period(self._scenario, period)
        if not self.recycled(source):
            return self._chunks[source].trusted
        pool = torch.cat([chunk.trusted for chunk in self._chunks])
        return shuffled(pool, self._generator("recycle", "trusted", period))[: self._scenario.trusted.images]

    def relearning(self, draw: int) -> Tensor:
        """The rows of re-learning draw 0, 1 or 2: the same in every period."""
        if not 0 <= draw < RELEARNING_DRAWS:
            raise ValueError(f"expected draw to be in [0, {RELEARNING_DRAWS - 1}], got {draw}; correct it")
        return self._chunks[0].relearning[draw]

    def test(self, period: int) -> Tensor:
        """The test rows of `period`, each class with its share: of the whole part, or of the chunk's span of time."""
        self._check_period(period)
        span = self._span(period)
        rows = torch.arange(len(self._test_labels))
        if span is not None and self._data.test_time is not None:
            time = torch.from_numpy(self._data.test_time)
            rows = rows[(time >= span[0]) & (time <= span[1])]
        path = ("test",) if span is None else ("test", period)
        count = self._scenario.stream.test
        return stratified(rows, self._test_labels, count, self._data.classes, self._generator(*path))

    def elapsed(self, period: int) -> float | None:
        """The time from the middle of period 0 to that of `period`, as a share of the source's time; None untimed."""
        self._check_period(period)
        first, now = self._span(0), self._span(period)
        if first is None or now is None or self._time is None:
            return None
        whole = float(self._time.max() - self._time.min())
        return (sum(now) - sum(first)) / 2 / whole if whole else 0.0

    # -- sampling ------------------------------------------------------------------------------------------------------

    def _fresh_chunks(self) -> tuple[Chunk, ...]:
        """Take fresh rows until all periods have theirs or, when recycling is allowed, until they run out."""
        unused = torch.arange(len(self._labels))
        if self._time is None:
            unused = shuffled(unused, self._generator("order"))
        chunks: list[Chunk] = []
        for period in range(self._scenario.periods + 1):
            try:
                chunk, unused = self._chunk(period, self._of_file(period) if self._data.files else unused)
            except SourceError as error:
                has_file = period < len(self._data.files)  # a file that is too small is an error, not recycled over
                if period > 0 and self._scenario.stream.reuse == "recycle" and not has_file:
                    break
                raise self._shortage(period, error) from error
            chunks.append(chunk)
        return tuple(chunks)

    def _of_file(self, period: int) -> Tensor:
        """Return the rows of the period's file in a drawn order; none where the files have run out."""
        time = torch.zeros(0) if self._time is None else self._time
        return shuffled((time == period).nonzero().flatten(), self._generator("file", period))

    def _chunk(self, period: int, unused: Tensor) -> tuple[Chunk, Tensor]:
        sizes = self._other_sizes(period)
        if self._prior(period) is None:
            rows, rest = take(unused, self._batch_size(period) + sum(sizes))
            batch, *others = shuffled(rows, self._generator("roles", period)).split([self._batch_size(period), *sizes])
        else:
            first, rest = self._next(unused, period)
            batch = shuffled(first, self._generator("roles", period))
            more, rest = take(rest, sum(sizes))
            others = list(shuffled(more, self._generator("roles", period, "others")).split(sizes))
            rows = torch.cat([first, more])
        trusted, validation, *relearning = others
        span = None if self._time is None else (float(self._time[rows].min()), float(self._time[rows].max()))
        return Chunk(batch, trusted, validation, tuple(relearning), span), rest

    def _next(self, unused: Tensor, period: int) -> tuple[Tensor, Tensor]:
        """Take the batch of `period` from `unused`, by the period's prior if it has one."""
        counts = self._counts(period)
        if counts is None:
            return take(unused, self._batch_size(period))
        return take_classes(unused, self._labels, counts)

    def _counts(self, period: int) -> Tensor | None:
        """Return the rows of each class in the batch of `period`, None without a prior."""
        prior, size = self._prior(period), self._batch_size(period)
        if prior is None:
            return None
        if self._exact:
            return largest_remainder(prior, size)
        return class_counts(drawn_classes(prior, size, self._generator("prior", period)), len(prior))

    def _batch_size(self, period: int) -> int:
        return self._scenario.stream.base if period == 0 else self._scenario.stream.batch

    def _other_sizes(self, period: int) -> list[int]:
        """Numbers of rows of a chunk besides the batch: trusted, validation, then each re-learning draw."""
        stream, trusted = self._scenario.stream, self._scenario.trusted
        mine = trusted.images if brings_trusted(self._scenario, period) else 0
        once = [stream.validation, *[stream.relearning] * RELEARNING_DRAWS]
        return [mine, *(once if period == 0 else [0] * len(once))]

    def _span(self, period: int) -> tuple[float, float] | None:
        if self._time is None or not self.recycled(period):
            return None if self._time is None else self._chunks[period].span
        time = self._time[self.batch(period)]
        return float(time.min()), float(time.max())

    def _generator(self, *path: str | int) -> torch.Generator:
        return generator(self._scenario.seed, "stream", *path)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _check_period(self, period: int) -> None:
        if not 0 <= period <= self._scenario.periods:
            raise ValueError(f"expected period to be in [0, {self._scenario.periods}], got {period}; correct it")

    def _shortage(self, period: int, error: SourceError) -> SourceError:
        """Return the error with what all periods need or, where only one class is short, which class."""
        sizes = [self._batch_size(t) + sum(self._other_sizes(t)) for t in range(self._scenario.periods + 1)]
        available, name = len(self._labels), self._data.name
        remedies = "use fewer periods, a smaller batch, or stream.reuse: recycle"
        if self._data.files:
            return self._file_shortage(period, sizes[period], error)
        if sizes[0] > available:
            stream = self._scenario.stream
            return SourceError(
                f"expected period 0 to fit the {available} train rows of {name}, got {sizes[0]} "
                f"(stream.base {stream.base}, stream.validation {stream.validation}, {RELEARNING_DRAWS} x "
                f"stream.relearning {stream.relearning}, trusted {self._other_sizes(0)[0]}); make them smaller"
            )
        if sum(sizes) > available:
            return SourceError(
                f"expected the stream to need at most the {available} train rows of {name}, got {sum(sizes)} "
                f"({sizes[0]} for period 0, then {self._scenario.periods} periods of up to {max(sizes[1:])}): "
                f"the rows last to period {period - 1}; {remedies}"
            )
        return self._class_shortage(period, error, remedies)

    def _file_shortage(self, period: int, needed: int, error: SourceError) -> SourceError:
        """Return the error: too few files, a file that is too small, or one that is short of a class."""
        files = self._data.files
        if period >= len(files):
            return SourceError(
                f"expected {self._data.name} to hold a file for every period, 0 to {self._scenario.periods}, "
                f"got {len(files)} files; add files, use fewer periods, or stream.reuse: recycle"
            )
        rows = len(self._of_file(period))
        if rows >= needed:
            return self._class_shortage(period, error, f"a smaller batch, or more rows in '{files[period]}'")
        return SourceError(
            f"expected '{files[period]}' to hold the {needed} train rows that period {period} needs, got {rows}; "
            "put more rows in it, or make stream.base, stream.batch or trusted.images smaller"
        )

    def _class_shortage(self, period: int, error: SourceError, remedies: str) -> SourceError:
        return SourceError(
            f"expected {self._data.name} to have the classes that the label prior of period {period} asks for: "
            f"{error}; soften the prior, {remedies}"
        )

    def _check_trusted(self) -> None:
        source = self._scenario.trusted.from_
        if source != "latest" and self.recycled(source):
            raise SourceError(
                f"expected trusted.from to be a period with fresh rows, 0 to {len(self._chunks) - 1}, got {source}; "
                "choose an earlier period, or latest"
            )

    def _check_recycled(self) -> None:
        if len(self._chunks) > self._scenario.periods:
            return
        pool = class_counts(self._labels[torch.cat([chunk.batch for chunk in self._chunks])], self._data.classes)
        if self._scenario.stream.batch > int(pool.sum()):
            raise SourceError(
                f"expected at least {self._scenario.stream.batch} rows to recycle, got {int(pool.sum())}; "
                "use a smaller batch or a larger base"
            )
        for period in range(len(self._chunks), self._scenario.periods + 1):
            counts = self._counts(period)
            if counts is not None and bool((counts > pool).any()):
                label = int((counts > pool).nonzero()[0])
                raise SourceError(
                    f"expected period {period} to find {int(counts[label])} rows of class {label} to recycle, "
                    f"got {int(pool[label])}; soften the label prior, use fewer periods or a smaller batch"
                )

    def _check_tests(self) -> None:
        for period, chunk in enumerate(self._chunks):
            if chunk.span is not None and not len(self.test(period)):
                low, high = chunk.span
                raise SourceError(
                    f"expected {self._data.name} to have test rows in the time of period {period}, "
                    f"{apart(low, high, 'to')}, got none; use larger batches, or give test rows from every span of time"
                )
