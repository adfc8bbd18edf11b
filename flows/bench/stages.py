"""The stages of the loop as rows of a bench's table, and a clock for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, final

if TYPE_CHECKING:
    from simulator.loop.events import Stage
    from simulator.scenario.model import Scenario

R = TypeVar("R")

#: stage of the loop -> row of the table
ROWS = {
    "ingest": "world",
    "monitor": "monitor",
    "decide": "decide",
    "gate": "decide",
    "filter": "defend",
    "repair": "defend",
    "inspect": "defend",
    "train": "train",
    "probe": "probe",
    "register": "register",
    "commit": "register",
}


@final
class StageClock:
    """Wall seconds by row of the table, taken inside whatever wraps the stages."""

    def __init__(self) -> None:
        self.seconds = {"import": 0.0, "check": 0.0, "stores": 0.0, **dict.fromkeys(ROWS.values(), 0.0)}

    @contextmanager
    def __call__(self, row: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[row] += time.perf_counter() - began

    def stage(self, name: str, function: Stage[R]) -> Stage[R]:
        """Return the stage, timed."""

        def timed(arm: str, control: str, period: int) -> R:
            with self(ROWS[name]):
                return function(arm, control, period)

        return timed


def idle_rows(scenario: Scenario) -> dict[str, str]:
    """Return why the seconds of a row measure nothing, by row."""
    unused = {
        "monitor": ("monitor", scenario.monitor.use == "none"),
        "defend": ("defenses", not scenario.defenses),
    }
    return {row: f"not measured: the timeline has no {what}" for row, (what, missing) in unused.items() if missing}
