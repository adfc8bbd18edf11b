"""The live display of a study: a bar with the time left, and the timelines under way. What it showed last stays."""

from __future__ import annotations

import time
from typing import TextIO, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from flows.displays.base import Display, about
from simulator.study.progress import StudyEvent

#: timelines under way that are named; the others are counted
_NAMED = 4


@final
class _Left(ProgressColumn):
    """The time left, which falls between two timelines that end; before it can be known, the time that has passed."""

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text("")
        if (until := task.fields["until"]) is None:
            return Text(f"{about(task.elapsed or 0.0)} so far, time left not known yet")
        left = until - time.monotonic()
        return Text(f"about {about(left)} left" if left > 0 else "longer than the others took")


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
            TextColumn("timelines"),
            _Left(),
            TextColumn("[dim]{task.fields[doing]}"),
            console=Console(file=stream),
        )
        self._bar = self._progress.add_task(heading, total=None, until=None, doing="")

    def show(self, event: StudyEvent) -> None:
        """Move the bar; a failure is printed above it, and stays."""
        if event.kind == "timeline-started":
            self._under_way[event.timeline] = None
        else:
            self._under_way.pop(event.timeline, None)
        if event.kind == "timeline-failed":
            self._progress.console.print(Text(f"{event.timeline} failed: {event.sentence}"))
        ended = event.kind == "study-finished"
        until = None if ended or event.left is None else time.monotonic() + event.left
        doing = "" if ended else self._doing()
        done = event.found + event.computed + event.failed
        self._progress.update(self._bar, total=event.total, completed=done, until=until, doing=doing)
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
