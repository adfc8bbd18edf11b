"""The executor of one machine: worker processes side by side, each playing one timeline after another."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, final

from simulator.errors import ScenarioError, WorkerError
from simulator.failures import failure_of
from simulator.study.executor import Executor, Tell, TimelineEnd, silent
from simulator.study.timelines import Timeline
from simulator.wire import ChannelClosed, Worker, worker_environment

__all__ = ["Processes"]

_MODULE = "simulator.study.worker"


@final
class Processes(Executor):
    """`workers` processes; None: one a core. A worker that dies takes its timeline with it, and is replaced."""

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ScenarioError(f"expected workers to be at least 1, got {workers}; raise it")
        self._workers = workers or _cores()

    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        if not todo:
            return
        count = min(self._workers, len(todo))
        crew = _Crew(max(timeline.scenario.threads for timeline in todo))
        pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="timeline")
        request = {"folder": str(folder.absolute()), "cache": None if cache is None else str(cache.absolute())}
        try:
            futures = [pool.submit(crew.play, timeline, request, tell) for timeline in todo]
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            crew.end()
            pool.shutdown()


class _Crew:
    """Workers that wait for a timeline; one is started where none waits."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: list[Worker] = []
        self._all: list[Worker] = []
        self._ended = False

    def play(self, timeline: Timeline, request: dict[str, Any], tell: Tell) -> TimelineEnd:
        """Play a timeline in a worker."""
        worker = self._take()
        tell(timeline.name)
        try:
            answer, _ = worker.call({**request, "timeline": timeline.values()})
        except ChannelClosed:
            return TimelineEnd(timeline.name, self._lost(worker, timeline))
        with self._lock:
            self._waiting.append(worker)
        return TimelineEnd(timeline.name, failure_of(answer) if "error" in answer else None)

    def end(self) -> None:
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
            worker.call({"threads": self._threads})
        except ChannelClosed as error:
            raise WorkerError(
                f"expected a worker to start, got its end (exit status {worker.exit_status()}); read what it said above"
            ) from error
        return worker

    def _lost(self, worker: Worker, timeline: Timeline) -> WorkerError:
        status = worker.exit_status()
        worker.kill()
        return WorkerError(
            f"expected the worker of timeline '{timeline.name}' to answer, got its end (exit status {status}); "
            "what is complete is kept, play the study again"
        )


def _cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
