"""How far a study is, on a terminal or in a log: timelines computed and found, and the time left."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO, final

if TYPE_CHECKING:
    from simulator.study.progress import StudyEvent

__all__ = ["StudyDisplay", "StudyMode", "about", "study_display"]


class StudyMode(StrEnum):
    """The displays a user can ask for."""

    live = "live"
    plain = "plain"
    none = "none"


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


@final
class Silent(StudyDisplay):
    """Shows nothing."""

    def __call__(self, event: StudyEvent) -> None:
        return


@final
class Plain(StudyDisplay):
    """A line for each timeline that ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: StudyEvent) -> None:
        text = line_of(event)
        if text:
            print(text, file=self._stream, flush=True)


def line_of(event: StudyEvent) -> str:
    """Return what a log says of an event; nothing of a timeline that begins."""
    if event.kind == "timeline-started":
        return ""
    if event.kind in ("study-started", "study-finished"):
        return event.counts
    left = "" if event.left is None else f", about {about(event.left)} left"
    so_far = f"computed {event.computed} of {event.total} ({event.found} found){left}"
    return so_far if event.kind == "timeline-finished" else f"{event.timeline} failed: {event.sentence}\n{so_far}"


def about(seconds: float) -> str:
    """Return a duration as a person would say it: `40 s`, `14 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def study_display(mode: StudyMode | None, heading: str, stream: TextIO | None = None) -> StudyDisplay:
    """Return the display asked for; by default live on a terminal and plain elsewhere."""
    stream = stream or sys.stderr
    makers: dict[StudyMode, Callable[[], StudyDisplay]] = {
        StudyMode.plain: lambda: Plain(stream),
        StudyMode.none: Silent,
        StudyMode.live: lambda: _live(heading, stream),
    }
    return makers[mode or (StudyMode.live if stream.isatty() else StudyMode.plain)]()


def _live(heading: str, stream: TextIO) -> StudyDisplay:
    from flows.displays.study_terminal import LiveStudy

    return LiveStudy(heading, stream)
