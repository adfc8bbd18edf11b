"""The executor of one machine: worker processes side by side, each playing one timeline after another.

Worker processes that play timelines, one request after another; one that dies is replaced.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, final

from simulator.errors import ScenarioError, WorkerError
from simulator.study.executors.base import Executor, Tell, TimelineEnd, silent
from simulator.study.play import read_timeline
from simulator.study.timelines import Timeline
from simulator.system.worker import ChannelClosed, Worker, failure_of, worker_environment

__all__ = ["Crew", "Processes", "cores"]

_MODULE = "simulator.study.executors.worker"


@final
class Crew:
    """At most `count` workers of `threads` threads; one is started where none waits, and told `threads` and `about`.

    Every request to a worker is `request`, and the timelines that it plays: `simulator.study.executors.worker`.
    """

    def __init__(
        self, count: int, threads: int, folder: Path, request: Mapping[str, Any], about: Mapping[str, Any] | None = None
    ) -> None:
        self._count = count
        self._threads = threads
        self._folder = folder
        self._request = {"folder": str(folder.absolute()), **request}
        self._greeting = {"threads": threads, **(about or {})}
        self._lock = threading.Lock()
        self._waiting: list[Worker] = []
        self._all: list[Worker] = []
        self._ended = False

    def play(
        self, parts: Sequence[Sequence[Timeline]], tell: Tell
    ) -> Generator[tuple[list[TimelineEnd], dict[str, Any]], None, None]:
        """Yield, part by part as they end, the end of each timeline and what else the worker answered.

        Closing the iterator ends the workers.
        """
        pool = ThreadPoolExecutor(max_workers=min(self._count, len(parts)), thread_name_prefix="timeline")
        try:
            futures = [pool.submit(self._part, part, tell) for part in parts]
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self._end()
            pool.shutdown()

    def _part(self, part: Sequence[Timeline], tell: Tell) -> tuple[list[TimelineEnd], dict[str, Any]]:
        worker = self._take()
        for timeline in part:
            tell(timeline.name)
        try:
            answer, _ = worker.call({**self._request, "timelines": [timeline.values() for timeline in part]})
        except ChannelClosed:
            return self._lost(worker, part), {}
        with self._lock:
            self._waiting.append(worker)
        failures = answer["failures"]
        ends = [
            TimelineEnd(timeline.name, failure_of(failures[timeline.name]) if timeline.name in failures else None)
            for timeline in part
        ]
        return ends, answer

    def _end(self) -> None:
        """End every worker: those that wait have nothing to lose, the others were interrupted."""
        with self._lock:
            self._ended = True
        for worker in self._all:
            worker.kill()

    def _take(self) -> Worker:
        with self._lock:
            if self._ended:
                raise WorkerError("expected the study to go on, got its end; play it again")
            if self._waiting:
                return self._waiting.pop()
            worker = Worker(_MODULE, environment=worker_environment(os.environ, self._threads))
            self._all.append(worker)
        try:
            worker.call(self._greeting)
        except ChannelClosed as error:
            raise WorkerError(
                f"expected a worker to start, got its end (exit status {worker.exit_status()}); read what it said above"
            ) from error
        return worker

    def _lost(self, worker: Worker, part: Sequence[Timeline]) -> list[TimelineEnd]:
        """The ends of what a worker that died was playing: what it had completed is complete."""
        status = worker.exit_status()
        worker.kill()
        return [
            TimelineEnd(timeline.name, None if read_timeline(self._folder, timeline) else _lost(timeline, status))
            for timeline in part
        ]


def _lost(timeline: Timeline, status: int | None) -> WorkerError:
    return WorkerError(
        f"expected the worker of timeline '{timeline.name}' to answer, got its end (exit status {status}); "
        "what is complete is kept, play the study again"
    )


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


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
