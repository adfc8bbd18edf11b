"""The live displays, redrawn a few times a second; what they showed last stays on the terminal.

Of a run: a title, a bar with the time left, what each arm is doing, and the last periods. Of a study: a bar with the
time left, and the timelines under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO, final

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from flows.displays.base import Commits, Display, Heading, ended_words, row_of, time_left
from simulator.loop.events import Event
from simulator.observer.report.columns import cells, columns_for
from simulator.observer.report.console import empty_table
from simulator.study.progress import StudyEvent

#: periods that are shown at a time
_ROWS = 12

#: timelines under way that are named; the others are counted
_NAMED = 4


@final
class Live(Display[Event]):
    """A run under way."""

    def __init__(self, heading: Heading, stream: TextIO) -> None:
        super().__init__()
        self._heading = heading
        self._console = Console(file=stream)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("periods, left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._bar: TaskID | None = None
        self._commits = Commits([""])
        self._rows: deque[Mapping[str, Any]] = deque(maxlen=_ROWS)
        self._doing: dict[str, str] = {}
        self._data: list[str] = []
        self._live = RichLive(self._drawn(), console=self._console, refresh_per_second=4)

    def show(self, event: Event) -> None:
        """Move the bar, note what was done, redraw."""
        if event.kind == "run-started":
            self._commits = Commits(event.detail["lines"])
            self._bar = self._progress.add_task("", total=event.detail["periods"] + 1)
            self._data = list(event.detail.get("data", []))
        elif event.kind == "stage-finished":
            twin = " twin" if event.control != "none" else ""
            self._doing[event.arm] = f"{event.arm}{twin}: period {event.period}, {event.stage}"
        elif event.kind == "period-committed" and event.record is not None:
            self._commit(event)
        elif event.kind == "lineage-ended":
            self._commits.end(event)
            self._live.console.print(Text(ended_words(event), style="bold red"))
        elif event.kind == "run-finished":
            self._doing.clear()
        self._live.update(self._drawn())

    def begin(self) -> None:
        self._live.start()

    def end(self) -> None:
        self._doing.clear()
        self._live.update(self._drawn(), refresh=True)
        self._live.stop()

    def _commit(self, event: Event) -> None:
        if self._bar is not None and event.record is not None:
            self._progress.update(self._bar, completed=self._commits.add(event.record.lineage.name, event.period))
        if (row := row_of(event)) is not None:
            self._rows.append(row)

    def _drawn(self) -> RenderableType:
        parts: list[RenderableType] = [Text(str(self._heading), style="bold")]
        parts.extend(Text(line, style="yellow" if line.startswith("warning") else "dim") for line in self._data)
        if self._bar is not None:
            parts.append(self._progress)
        if self._rows:
            parts.append(self._table())
        if self._doing:
            parts.append(Text("  ".join(self._doing.values()), style="dim", overflow="ellipsis", no_wrap=True))
        return Group(*parts)

    def _table(self) -> RenderableType:
        several = self._heading.arms > 1
        room = self._console.width - several * (1 + max(len(row["arm"]) for row in self._rows))
        columns = columns_for(room)
        table = empty_table(columns, *["arm"] * several)
        for row in self._rows:
            table.add_row(*[row["arm"]] * several, *cells(row, columns), style="yellow" if row["drift_alarm"] else "")
        return table


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
