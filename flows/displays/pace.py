"""How long a run still takes: from what its own periods took, and until there are any from an earlier run like it.

Counted in periods of lineages (an arm or a twin). Bases and updates are apart, for a base is trained longer; how many
lineages are played at a time is measured as well: their seconds divided by those that passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

#: name of a clock that only goes forward, in seconds
Clock = Callable[[], float]


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of a run: until its first period began, of a lineage's base, of a lineage's update, and after the last.

    `lineages` were played, `parallel` at a time in the mean (above 0).
    """

    startup: float
    base: float
    update: float
    ending: float
    lineages: int
    parallel: float

    def whole(self, updates: int) -> float:
        """Return the seconds of such a run with so many updates.

        >>> Measured(10.0, 6.0, 3.0, 2.0, lineages=4, parallel=2.0).whole(5)
        54.0
        """
        played = self.lineages * (self.base + updates * self.update)
        return self.startup + played / self.parallel + self.ending


@final
@dataclass(slots=True)
class _Spent:
    """Periods of one kind that were committed, and their seconds."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def mean(self, otherwise: float | None) -> float | None:
        return self.seconds / self.count if self.count else otherwise


@final
@dataclass(slots=True)
class Pace:
    """The clock of one run. `expected` is what an earlier run took, None for none; `updates` are those to be played."""

    expected: Measured | None = None
    updates: int = 0
    now: Clock = time.monotonic
    _begun: float = field(init=False)
    _lineages: int = 0
    _played: float | None = None  # when the first period began
    _last: float | None = None  # when the last period was committed
    _ended: float | None = None  # when no period was left
    _bases: _Spent = field(default_factory=_Spent)
    _updates: _Spent = field(default_factory=_Spent)
    _todo: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self._begun = self.now()

    @property
    def elapsed(self) -> float:
        """Seconds since the command began."""
        return self.now() - self._begun

    def start(self, lineages: int) -> None:
        """Note that periods are played from now on."""
        self._played, self._lineages = self.now(), lineages

    def commit(self, period: int, seconds: float, todo: tuple[int, int]) -> None:
        """Note a lineage's committed period; `todo` are the bases and the updates that are left."""
        (self._updates if period else self._bases).add(seconds)
        self._todo, self._last = todo, self.now()

    def finish(self) -> None:
        """Note that no period is left to be played."""
        self._ended = self.now()

    def left(self) -> float | None:
        """Return the seconds that are left; None while nothing says how long a period takes."""
        if self._ended is not None:
            ending = None if self.expected is None else self.expected.ending
            return None if ending is None else max(0.0, ending - (self.now() - self._ended))
        if self._last is None:
            return self._before_the_first()
        work = self._work()
        return None if work is None else self._from_work(work) + (self.expected.ending if self.expected else 0.0)

    def measured(self) -> Measured | None:
        """Return what this run took; None for one that began in the middle or was too short to tell."""
        if self._played is None or self._ended is None or not (self._bases.count and self._updates.count):
            return None
        return Measured(
            startup=self._played - self._begun,
            base=self._bases.seconds / self._bases.count,
            update=self._updates.seconds / self._updates.count,
            ending=self.now() - self._ended,
            lineages=self._lineages,
            parallel=self._parallel(self._ended),
        )

    def _before_the_first(self) -> float | None:
        """Until the first commit an earlier run is all that is known; what takes longer than there adds to it."""
        if self.expected is None:
            return None
        whole, elapsed = self.expected.whole(self.updates), self.elapsed
        if self._played is None:
            return whole - min(elapsed, self.expected.startup)
        base = self.expected.base
        return whole - self.expected.startup - min(self.now() - self._played, base)

    def _work(self) -> float | None:
        """The lineages' seconds that are left; None where it is not known how long an update takes."""
        known = self.expected
        base = self._bases.mean(None if known is None else known.base)
        update = self._updates.mean(None if known is None else known.update)
        bases, updates = self._todo
        if (bases and base is None) or (updates and update is None):
            return None
        return bases * (base or 0.0) + updates * (update or 0.0)

    def _from_work(self, work: float) -> float:
        """Seconds until `work` is done: those since the last commit count, but for no more than one period each."""
        assert self._last is not None
        now = self.now()
        since, count = now - self._last, sum(self._todo)
        one = work / count if count else 0.0
        return max(work / self._parallel(self._last) - since, (work - one) / self._parallel(now))

    def _parallel(self, until: float) -> float:
        assert self._played is not None
        passed = max(until - self._played, 1e-3)
        return max((self._bases.seconds + self._updates.seconds) / passed, 1e-3)
