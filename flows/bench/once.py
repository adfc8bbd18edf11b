"""One participant of `ebbdoor bench`, in this process: `python -m flows.bench.once ORDER RESULT`, two JSON objects.

ORDER holds `seed`, `began` (when the process was started, seconds of the epoch), and `way`: None for the bare loop.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from flows import settings
from flows.bench.measure import measure_ours
from flows.bench.way import ROWS, Way, bench_scenario, idle_rows
from flows.displays.base import Display
from simulator.bench.cpu import CpuClock
from simulator.bench.standard import CURVES

if TYPE_CHECKING:
    from simulator.loop.events import Event


def play_bare_loop(seed: int) -> dict[str, Any]:
    """Play the bare loop; its clock, which counts imports as work, is replaced by `CpuClock`."""
    with CpuClock() as clock:
        from simulator.bench.bare_loop import run_bare_loop

        return {**run_bare_loop(seed), **clock.read()}


def play_governed(seed: int, way: Way, began: float) -> dict[str, Any]:
    """Play the flow `simulate` on the servers that the environment names; return seconds and curves.

    `seconds` are CPU seconds by stage, imports apart: each from the end of the stage before to its own end, Prefect's
    part of it included; `start` is what came before the first and `end` what came after the last.
    `startup_seconds`: from `began` until the first period could begin, imports and opening the stores included.
    """
    settings.mute_console()
    with tempfile.TemporaryDirectory(prefix="ebbdoor-bench-") as folder, CpuClock() as clock:
        path, scenario = bench_scenario(Path(folder), way, seed)
        from flows.parameters import Execution
        from flows.simulate import DISPLAY, simulate

        watch = _Watch(clock)
        DISPLAY.set(lambda scenario: watch)
        simulate(
            scenario=str(path),
            overrides={},
            run=f"bench-{time.time_ns()}",
            execution=Execution(processes=0),
        )
        taken = clock.read()
    return {
        **taken,
        "seconds": {**watch.seconds, "end": taken["cpu_seconds"] - sum(watch.seconds.values())},
        "idle": idle_rows(scenario),
        "startup_seconds": watch.ready - began,
        **watch.curves,
    }


@final
class _Watch(Display["Event"]):
    """CPU seconds between the events of a run, and the arm's curves."""

    def __init__(self, clock: CpuClock) -> None:
        super().__init__()
        self._clock = clock
        self._last = 0.0
        self.ready = 0.0
        self.seconds: dict[str, float] = {}
        self.curves: dict[str, list[float | None]] = {name: [] for name in CURVES}

    def show(self, event: Event) -> None:
        if event.kind == "run-started":
            self.ready = time.time()
            self._count("start")
        elif event.stage:
            self._count(ROWS[event.stage])
        if event.kind == "period-committed" and event.control == "none" and event.record is not None:
            for name, reading in CURVES.items():
                self.curves[name].append(event.record.readings[reading].value)

    def _count(self, row: str) -> None:
        now = self._clock.work_seconds
        self.seconds[row] = self.seconds.get(row, 0.0) + now - self._last
        self._last = now


def _play(order: dict[str, Any]) -> dict[str, Any]:
    if order["way"] is None:
        return play_bare_loop(order["seed"])
    way = Way(**order["way"])
    if way.governed:
        return play_governed(order["seed"], way, order["began"])
    return measure_ours(order["seed"], lambda text: None, way)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(_play(json.loads(sys.argv[1]))))
