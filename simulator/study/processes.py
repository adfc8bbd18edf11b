"""The executor of one machine: worker processes side by side, each playing one timeline after another."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import final

from simulator.errors import ScenarioError
from simulator.study.crew import Crew, cores
from simulator.study.executor import Executor, Tell, TimelineEnd, silent
from simulator.study.timelines import Timeline

__all__ = ["Processes"]


@final
class Processes(Executor):
    """`workers` processes; None: one a core. A worker that dies takes its timeline with it, and is replaced."""

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ScenarioError(f"expected workers to be at least 1, got {workers}; raise it")
        self._workers = workers or cores()

    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        if not todo:
            return
        threads = max(timeline.scenario.threads for timeline in todo)
        crew = Crew(self._workers, threads, folder, {"cache": None if cache is None else str(cache.absolute())})
        for ends, _ in crew.play([[timeline] for timeline in todo], tell):
            yield from ends
