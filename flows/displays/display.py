"""The displays of a run under way. Progress goes to standard error; results are printed elsewhere."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO, final

from flows.displays.base import Heading, about, ended_words, row_of
from flows.displays.pace import Pace
from flows.displays.progress import Quiet, RunDisplay, RunProgress

if TYPE_CHECKING:
    from simulator.loop.events import Event

#: a line of a log has the columns of a terminal of so many characters
_WIDTH = 100


class Mode(StrEnum):
    """The displays a user can ask for."""

    live = "live"
    plain = "plain"
    json = "json"
    none = "none"


@final
class Plain(RunDisplay):
    """The heading, what there is to say about the data, then a line for each arm and committed period."""

    def __init__(self, heading: Heading | None, stream: TextIO, progress: RunProgress) -> None:
        super().__init__(progress)
        self._heading = heading
        self._stream = stream

    def show(self, event: Event) -> None:
        if event.kind == "lineage-ended":
            self._print(ended_words(event))
        for line in event.detail.get("data", []):
            self._print(line)
        row = row_of(event)
        if row is not None:
            from simulator.observer.report.columns import cells, columns_for, own_columns

            columns = [*columns_for(_WIDTH), *own_columns([row])]
            texts = [f"{column.title} {text}" for column, text in zip(columns, cells(row, columns), strict=True)]
            self._print("  ".join([f"arm {row['arm']}", *texts, *self._left()]))

    def begin(self) -> None:
        if self._heading is not None:
            self._print(str(self._heading))

    def title(self, heading: Heading) -> None:
        if self._heading is None:
            self._heading = heading
            self._print(str(heading))

    def _left(self) -> list[str]:
        left = self.progress.pace.left() if self.progress.done < self.progress.total else None
        return [] if left is None else [f"left about {about(left)}"]

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


@final
class JsonLines(RunDisplay):
    """One event a line, as JSON."""

    def __init__(self, stream: TextIO, progress: RunProgress) -> None:
        super().__init__(progress)
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


def display_for(
    mode: Mode | None, heading: Heading | None, stream: TextIO | None = None, pace: Pace | None = None
) -> RunDisplay:
    """Return the display asked for; by default live on a terminal and plain elsewhere.

    `heading` is None where it is known only later (`Display.under`); `pace` knows how long earlier runs took.
    """
    stream = stream or sys.stderr
    mode = mode or (Mode.live if stream.isatty() else Mode.plain)
    progress = RunProgress(pace or Pace())
    if mode is Mode.live:
        from flows.displays.live import Live

        return Live(heading, stream, progress)
    if mode is Mode.json:
        return JsonLines(sys.stdout, progress)  # events are this display's result: a program reads them
    return Plain(heading, stream, progress) if mode is Mode.plain else Quiet(progress)
