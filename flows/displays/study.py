"""The displays of a study under way: timelines computed and found, and the time left."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO, final

from flows.displays.base import Display, Silent, time_left

if TYPE_CHECKING:
    from simulator.study.progress import StudyEvent


class StudyMode(StrEnum):
    """The displays a user can ask for."""

    live = "live"
    plain = "plain"
    none = "none"


@final
class Plain(Display["StudyEvent"]):
    """A line for each timeline that ends."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def show(self, event: StudyEvent) -> None:
        text = line_of(event)
        if text:
            print(text, file=self._stream, flush=True)


@final
class Counted:
    """A listener that knows how many timelines are complete."""

    def __init__(self) -> None:
        self._event: StudyEvent | None = None

    def __call__(self, event: StudyEvent) -> None:
        """Note an event."""
        self._event = event

    @property
    def words(self) -> str:
        """Such as `12 of 40 timelines are complete`."""
        if self._event is None:
            return "What is complete is kept"
        return f"{self._event.found + self._event.computed} of {self._event.total} timelines are complete"


def line_of(event: StudyEvent) -> str:
    """Return the line of a log about an event; an empty text for a timeline that begins."""
    if event.kind == "timeline-started":
        return ""
    if event.kind in ("study-started", "study-finished"):
        return event.counts
    so_far = f"computed {event.computed} of {event.total} ({event.found} found){time_left(event)}"
    return so_far if event.kind == "timeline-finished" else f"{event.timeline} failed: {event.sentence}\n{so_far}"


def study_display(mode: StudyMode | None, heading: str, stream: TextIO | None = None) -> Display[StudyEvent]:
    """Return the display asked for; by default live on a terminal and plain elsewhere."""
    stream = stream or sys.stderr
    mode = mode or (StudyMode.live if stream.isatty() else StudyMode.plain)
    if mode is StudyMode.live:
        from flows.displays.live_study import LiveStudy

        return LiveStudy(heading, stream)
    return Plain(stream) if mode is StudyMode.plain else Silent()
