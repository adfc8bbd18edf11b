"""The live display of a study: a bar with the time left, and the timelines under way. What it showed last stays."""

from __future__ import annotations

from typing import TextIO, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from flows.displays.base import Display, time_left
from simulator.study.progress import StudyEvent

#: timelines under way that are named; the others are counted
_NAMED = 4


@final
class LiveStudy(Display[StudyEvent]):
    """A study under way."""

    def __init__(self, heading: str, stream: TextIO) -> None:
        super().__init__()
        self._under_way: dict[str, None] = {}
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("timelines{task.fields[left]}"),
            TextColumn("[dim]{task.fields[doing]}"),
            console=Console(file=stream),
        )
        self._bar = self._progress.add_task(heading, total=None, left="", doing="")

    def show(self, event: StudyEvent) -> None:
        """Move the bar; a failure is printed above it, and stays."""
        if event.kind == "timeline-started":
            self._under_way[event.timeline] = None
        else:
            self._under_way.pop(event.timeline, None)
        if event.kind == "timeline-failed":
            self._progress.console.print(Text(f"{event.timeline} failed: {event.sentence}"))
        ended = event.kind == "study-finished"
        left, doing = ("", "") if ended else (time_left(event), self._doing())
        done = event.found + event.computed + event.failed
        self._progress.update(self._bar, total=event.total, completed=done, left=left, doing=doing)
        if ended:
            self._progress.console.print(Text(event.counts))

    def begin(self) -> None:
        self._progress.start()

    def end(self) -> None:
        self._progress.stop()

    def _doing(self) -> str:
        named = list(self._under_way)[:_NAMED]
        more = len(self._under_way) - len(named)
        return ", ".join([*named, *([f"{more} more"] if more else [])])
