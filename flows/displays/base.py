"""The base classes of displays on a terminal or in a log, and what their rows and headings say."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, final

if TYPE_CHECKING:
    from simulator.loop.events import Event
    from simulator.study.progress import StudyEvent

AnyEvent = TypeVar("AnyEvent")


@dataclass(frozen=True, slots=True)
class Heading:
    """What the first line says, before anything has been played."""

    scenario: str
    seed: int
    device: str
    folder: str
    arms: int = 1

    def __str__(self) -> str:
        return f"{self.scenario} · seed {self.seed} · {self.device} · {self.folder}"


class Display(ABC, Generic[AnyEvent]):
    """A listener with a beginning and an end. Called from several threads, one call at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, event: AnyEvent) -> None:
        """Show an event."""
        with self._lock:
            self.show(event)

    @abstractmethod
    def show(self, event: AnyEvent) -> None:
        """Show an event; no other call is under way."""

    def begin(self) -> None:
        """Show the heading, or take the terminal."""

    def doing(self, text: str) -> None:
        """Show what is done before the first event, where this display shows it."""

    @contextmanager
    def under(self, heading: Heading) -> Iterator[Self]:
        """Go on under a heading that is known only now; the display has begun, and ends later."""
        self.title(heading)
        yield self

    def title(self, heading: Heading) -> None:
        """Take the heading, where none was known."""

    def end(self) -> None:
        """Leave the terminal as it was, with what was shown still there."""

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


@final
class Silent(Display[Any]):
    """Shows nothing."""

    def show(self, event: Any) -> None:
        return


def row_of(event: Event) -> dict[str, Any] | None:
    """Return the row of `periods.jsonl` that a committed period of an arm becomes; None for any other event."""
    if event.kind != "period-committed" or event.record is None or event.control != "none":
        return None
    from simulator.observer import rows
    from simulator.production.registry.base import Entry

    return rows.row_of(Entry(event.record, "", {**event.detail, "timing": {"period": event.seconds}}))


def ended_words(event: Event) -> str:
    """Return a line that says which arm or twin has diverged, when and why."""
    return f"{_lineage(event)} diverged in period {event.period} and ends there: {event.detail['why']}"


@final
class Commits:
    """Counts whole periods over all lineages. One not heard of yet is taken to be where the first one began."""

    def __init__(self, lineages: Sequence[str]) -> None:
        self._done: dict[str, int] = dict.fromkeys(lineages, 0)
        self._begun = False

    def add(self, lineage: str, period: int) -> float:
        """Note that a lineage has committed a period, and return the periods done, a mean over the lineages."""
        if not self._begun:
            self._done = dict.fromkeys(self._done, period)
            self._begun = True
        self._done[lineage] = period + 1
        return sum(self._done.values()) / len(self._done)

    def todo(self, periods: int) -> tuple[int, int]:
        """Return how many bases and how many updates are left of so many periods, over all lineages."""
        bases = sum(not done for done in self._done.values())
        return bases, sum(max(0, periods - max(done, 1)) for done in self._done.values())

    def end(self, event: Event) -> None:
        """Note that a lineage has ended: it is no longer counted, nor are the twins of an arm."""
        ended = _lineage(event)
        left = {
            name: done
            for name, done in self._done.items()
            if name != ended and (event.control != "none" or name.partition(".")[0] != event.arm)
        }
        self._done = left or self._done


def _lineage(event: Event) -> str:
    from simulator.records import LineageKey

    return LineageKey.model_validate({"arm": event.arm, "control": event.control}).name


def all_of(listeners: Sequence[Callable[[AnyEvent], None]]) -> Callable[[AnyEvent], None]:
    """Return a listener that hands each event to all `listeners`, in order."""

    def listen(event: AnyEvent) -> None:
        for listener in listeners:
            listener(event)

    return listen


def about(seconds: float) -> str:
    """Return a duration in round figures: `40 s`, `14 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def time_left(event: StudyEvent) -> str:
    """Return the clause that says how long the study may still take; an empty text when that is unknown."""
    return "" if event.left is None else f", about {about(event.left)} left"
