"""The live display of a run, redrawn a few times a second; what it showed last stays on the terminal.

A title, a bar with the time left, what each arm is doing, and the last periods. It begins with the command: imports,
checks and the opening of the stores take longer than the first period of a small run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO, final

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.displays.base import Heading, about, ended_words, row_of
from flows.displays.progress import RunDisplay, RunProgress

if TYPE_CHECKING:
    from simulator.loop.events import Event

#: periods that are shown at a time, and lines of the terminal that are not theirs
_ROWS, _OTHERS = 12, 6

#: characters of the bar at most
_BAR = 40


@final
class Live(RunDisplay):
    """A run under way.

    The thread that redraws takes no lock: it reads values that are replaced and never changed.
    """

    def __init__(self, heading: Heading | None, stream: TextIO, progress: RunProgress) -> None:
        super().__init__(progress)
        self._heading = heading
        self._console = Console(file=stream)
        self._rows: tuple[Mapping[str, Any], ...] = ()
        self._doing: Mapping[str, str] = {}
        self._starting = "starting"
        self._live = RichLive(get_renderable=self._drawn, console=self._console, refresh_per_second=4)

    def show(self, event: Event) -> None:
        """Note what was done. What stays to be read is printed above."""
        if event.kind == "run-started":
            for line in event.detail.get("data", []):
                self._console.print(Text(line, style="yellow" if line.startswith("warning") else "dim"))
        elif event.kind == "stage-finished":
            twin = " twin" if event.control != "none" else ""
            done = f"{event.arm}{twin}: period {event.period}, {event.stage}"
            self._doing = {**self._doing, event.arm: done}
        elif event.kind == "lineage-ended":
            self._console.print(Text(ended_words(event), style="bold red"))
        elif event.kind == "run-finished":
            self._doing = {"": "writing the report"}
        elif (row := row_of(event)) is not None:
            self._rows = (*self._rows, row)[-_ROWS:]

    def begin(self) -> None:
        self._live.start(refresh=True)

    def end(self) -> None:
        self._doing = {}
        self._live.stop()  # redraws

    def doing(self, text: str) -> None:
        self._starting = text

    def title(self, heading: Heading) -> None:
        self._heading = self._heading or heading

    def _drawn(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._heading is not None:
            parts.append(Text(str(self._heading), style="bold"))
        parts.append(self._bar())
        if self._rows:
            parts.append(self._table(self._rows[-max(1, self._console.height - _OTHERS) :]))
        if self._doing:
            parts.append(Text("  ".join(self._doing.values()), style="dim", overflow="ellipsis", no_wrap=True))
        return Group(*parts)

    def _bar(self) -> RenderableType:
        now = self.progress
        if not now.total:
            return Text(f"{self._starting}, {now.left}", style="dim")
        counts = f"{int(now.done)}/{now.total} periods"
        if now.finished:
            return Text(f"{counts} in {about(now.pace.elapsed)}")
        counts = f"{counts}, {now.left}"
        grid = Table.grid(padding=(0, 1))
        room = max(5, min(_BAR, self._console.width - len(counts) - 2))
        grid.add_row(ProgressBar(total=now.total, completed=now.done, width=room), Text(counts))
        return grid

    def _table(self, rows: tuple[Mapping[str, Any], ...]) -> RenderableType:
        from simulator.observer.report.columns import cells, columns_for, shortest
        from simulator.observer.report.console import empty_table

        several = self._heading is not None and self._heading.arms > 1
        names = [shortest(row["arm"], self._console.width // 3) for row in rows] if several else []
        columns = columns_for(self._console.width - (1 + max(map(len, names)) if several else 0), rows)
        table = empty_table(columns, *["arm"] * several)
        for place, row in enumerate(rows):
            style = "yellow" if row["drift_alarm"] else ""
            table.add_row(*([names[place]] if several else []), *cells(row, columns), style=style)
        return table
