"""What every display is, on a terminal or in a log, and what one row of a run's display says."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

if TYPE_CHECKING:
    from simulator.loop.events import Event
    from simulator.records import PeriodRecord
    from simulator.study.progress import StudyEvent

__all__ = ["Display", "Heading", "Silent", "StudyDisplay", "about", "row_of"]


@dataclass(frozen=True, slots=True)
class Heading:
    """What the first line tells, before anything has been played."""

    scenario: str
    seed: int
    device: str
    folder: str
    arms: int = 1

    def __str__(self) -> str:
        return f"{self.scenario} · seed {self.seed} · {self.device} · {self.folder}"


class Display(ABC):
    """A listener with a beginning and an end. Called from several threads, one call at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            self.show(event)

    @abstractmethod
    def show(self, event: Event) -> None:
        """Show an event; no other call is under way."""

    @abstractmethod
    def begin(self) -> None:
        """Show the heading."""

    @abstractmethod
    def end(self) -> None:
        """Leave the terminal as it was, with what was shown still there."""

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


@final
class Silent(Display):
    """Shows nothing."""

    def show(self, event: Event) -> None:
        return

    def begin(self) -> None:
        return

    def end(self) -> None:
        return


def row_of(record: PeriodRecord, seconds: float) -> dict[str, str]:
    """Return the cells of one arm's committed period, by column name; undefined readings are a dash."""
    drift = " ".join(f"{name} {size:.3g}" for name, size in record.arrival.true_drift.items())
    poison = f"poison {record.arrival.poison_rate:.1%}" if record.arrival.poisoned else ""
    score = record.signal.score
    alarm = "alarm" if record.signal.alarm else ""
    return {
        "arm": record.arm,
        "period": str(record.period),
        "world": ", ".join(part for part in (drift, poison) if part),
        "platform": " ".join(part for part in ("" if score is None else f"score {score:.3f}", alarm) if part),
        "action": record.judgement.action,
        "clean": _share(record, "clean/accuracy"),
        "ASR": _share(record, "backdoor/attack_success"),
        "version": str(record.version),
        "seconds": f"{seconds:.1f}",
    }


def _share(record: PeriodRecord, name: str) -> str:
    reading = record.readings.get(name)
    return "–" if reading is None or reading.value is None else f"{reading.value:.3f}"


class StudyDisplay(AbstractContextManager["StudyDisplay"]):
    """A listener with a beginning and an end. Called one event at a time."""

    @abstractmethod
    def __call__(self, event: StudyEvent) -> None:
        """Show an event."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


def about(seconds: float) -> str:
    """Return a duration as a person would say it: `40 s`, `14 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
