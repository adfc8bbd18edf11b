"""How a command tells what happens while it happens. Progress goes to standard error; results are printed elsewhere."""

from __future__ import annotations

import json
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO, final

if TYPE_CHECKING:
    from simulator.records import PeriodRecord
    from simulator.stages import Event

__all__ = ["Display", "Heading", "Mode", "Silent", "display_for", "row_of"]


class Mode(StrEnum):
    """The displays a user can ask for."""

    live = "live"
    plain = "plain"
    json = "json"
    none = "none"


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


@final
class Plain(Display):
    """The heading, then a line for each arm and committed period."""

    def __init__(self, heading: Heading, stream: TextIO) -> None:
        super().__init__()
        self._heading = heading
        self._stream = stream

    def show(self, event: Event) -> None:
        if event.kind == "period-committed" and event.record is not None and event.control == "none":
            cells = row_of(event.record, event.seconds)
            self._say("  ".join(f"{name} {text}" for name, text in cells.items() if text))

    def begin(self) -> None:
        self._say(str(self._heading))

    def end(self) -> None:
        return

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


@final
class JsonLines(Display):
    """One event a line, as JSON."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def show(self, event: Event) -> None:
        values: dict[str, Any] = {"kind": event.kind, "run": event.run}
        if event.arm:
            values |= {"arm": event.arm, "control": event.control, "period": event.period, "stage": event.stage}
            values["seconds"] = round(event.seconds, 4)
        if event.record is not None:
            values["record"] = event.record.model_dump(mode="json", exclude={"state"})
        if event.detail:
            values["detail"] = dict(event.detail)
        print(json.dumps(values, allow_nan=False), file=self._stream, flush=True)

    def begin(self) -> None:
        return

    def end(self) -> None:
        return


def display_for(mode: Mode | None, heading: Heading, stream: TextIO | None = None) -> Display:
    """Return the display asked for; by default live on a terminal and plain elsewhere."""
    stream = stream or sys.stderr
    makers: dict[Mode, Callable[[], Display]] = {
        Mode.plain: lambda: Plain(heading, stream),
        # Events are this display's result: a program reads them.
        Mode.json: lambda: JsonLines(sys.stdout),
        Mode.none: Silent,
        Mode.live: lambda: _live(heading, stream),
    }
    return makers[mode or (Mode.live if stream.isatty() else Mode.plain)]()


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


def _live(heading: Heading, stream: TextIO) -> Display:
    from flows.displays.terminal import Live

    return Live(heading, stream)
