"""When the next period of a run may be played, and what the run waits for until then.

The ledger says which period is next, so a clock set back, or a schedule that fires twice, replays nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from simulator.errors import SourceError

if TYPE_CHECKING:
    from simulator.production.registry.base import RunHead
    from simulator.records import LineageEnd

#: the longest time between two periods, in seconds (100 days): the last of 10,000 periods is still a date
LONGEST = 8_640_000.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A drop folder: the last period that a file has become (0: none), and how many files wait to be admitted."""

    folder: str
    last: int
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """What a run waits for.

    `period` is the next one (None: the run is complete); up to period `last` it may be played now (`period - 1`: not
    now). `when` is the next period's time, UTC, where the clock decides. `called`: a live run is due by the clock or
    by a file, rather than whenever it is advanced. `words` say what the run waits for.
    """

    period: int | None
    last: int
    words: str
    when: datetime | None = None
    called: bool = False

    @property
    def playable(self) -> bool:
        """Whether a period may be played now."""
        return self.period is not None and self.last >= self.period

    @property
    def ready(self) -> bool:
        """Whether an attempt is worthwhile: a period to play, files to admit, or a complete run to export."""
        return self.period is None or self.called or self.playable


def due_of(
    head: RunHead, committed: Mapping[str, int], ended: Sequence[LineageEnd] = (), *, now: datetime | None = None
) -> Due:
    """Return what a run waits for. `committed` counts periods by lineage name, `ended`: see `StoredRun`."""
    from simulator.production.registry.base import going

    given = now or datetime.now(UTC)
    periods = int(head.scenario["periods"])
    counts = going({key.name: committed.get(key.name, 0) for key in head.lineages}, ended).values()
    reached = min(counts, default=periods + 1) - 1
    try:
        return what_is_due(head.live, periods, reached, now=given, arrivals=_arrivals(head.scenario))
    except SourceError as error:
        return Due(reached + 1, reached, f"period {reached + 1}: {error}")


def what_is_due(
    live: Mapping[str, Any] | None, periods: int, reached: int, *, now: datetime, arrivals: Arrivals | None = None
) -> Due:
    """Return what a run waits for whose last committed period is `reached` (-1: none) of `periods`.

    `live` is `RunHead.live`; None stands for a run that is played at once. Period 0 waits for nothing.
    """
    period = reached + 1
    if period > periods:
        return Due(None, periods, "nothing: it is complete")
    if period == 0:
        return Due(0, 0 if live is not None else periods, "period 0, the base training", called=live is not None)
    if arrivals is not None:
        return _by_file(period, periods, arrivals, live=live is not None)
    if live is None:
        return Due(period, periods, f"period {period}, whenever it is resumed")
    if live.get("every") is not None:
        return _by_clock(period, periods, datetime.fromisoformat(live["since"]), float(live["every"]), now)
    return Due(period, periods, f"period {period}, whenever it is advanced")


def _arrivals(scenario: Mapping[str, Any]) -> Arrivals | None:
    given = scenario["stream"].get("arrivals")
    if given is None:
        return None
    from simulator.world.arrivals.folder import DropFolder

    folder = DropFolder(given["folder"])
    return Arrivals(given["folder"], len(folder.accepted()), len(folder.waiting()))


def _by_file(period: int, periods: int, arrivals: Arrivals, *, live: bool) -> Due:
    last = min(arrivals.last, periods)
    if last >= period:
        return Due(period, last, f"period {period}, whose file has arrived", called=live)
    if arrivals.waiting:
        words = f"period {period}: {arrivals.waiting} files in {arrivals.folder} are to be looked at"
        return Due(period, period - 1, words, called=live)
    return Due(period, period - 1, f"period {period}: a file in {arrivals.folder}")


def _by_clock(period: int, periods: int, since: datetime, every: float, now: datetime) -> Due:
    when = since + timedelta(seconds=period * every)
    # The quotient is rounded, so it only proposes: the same comparison decides for every period.
    last = min(max(int((now - since).total_seconds() / every) + 1, 0), periods)
    while last >= period and since + timedelta(seconds=last * every) > now:
        last -= 1
    is_due = last >= period
    words = f"period {period}, due {'since ' if is_due else ''}{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Due(period, last if is_due else period - 1, words, when, called=is_due)
