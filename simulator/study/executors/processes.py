"""The executor of one machine: a pool of worker processes, each playing one timeline after another."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, final

from simulator.errors import EbbdoorError, ScenarioError, WorkerError
from simulator.records import Numerics
from simulator.study.executors.base import Executor, Tell, TimelineEnd, silent
from simulator.study.play import play_here, read_timeline
from simulator.study.timelines import Timeline
from simulator.system.messages import ChannelClosed, failure_of
from simulator.system.numerics import began_portable
from simulator.system.worker import Worker, worker_environment

_TARGET = "simulator.study.executors.worker:methods"


@final
class WorkerPool:
    """At most `count` worker processes of `threads` threads that play timelines; one that dies is replaced.

    Each call is of `method` in `simulator.study.executors.worker`, with `arguments` and the timelines of a part. A
    worker takes at most `share`, in (0, 1], of the memory of each of `devices`.
    """

    def __init__(
        self,
        count: int,
        threads: int,
        folder: Path,
        method: str,
        arguments: Mapping[str, Any],
        *,
        devices: Sequence[str] = (),
        share: float = 1.0,
    ) -> None:
        self._count = count
        self._threads = threads
        self._folder = folder
        self._method = method
        self._arguments = {"folder": str(folder.absolute()), **arguments}
        self._facts = {"threads": threads, "devices": list(devices), "share": share}
        self._lock = threading.Lock()
        self._waiting: dict[Numerics, list[Worker]] = {"native": [], "portable": []}
        self._all: list[Worker] = []
        self._ended = False

    def play(
        self, parts: Sequence[Sequence[Timeline]], tell: Tell
    ) -> Generator[tuple[list[TimelineEnd], list[str]], None, None]:
        """Yield, part by part as they end, the end of each timeline and what the worker said of their trainings.

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

    def _part(self, part: Sequence[Timeline], tell: Tell) -> tuple[list[TimelineEnd], list[str]]:
        numerics = part[0].scenario.numerics
        worker = self._take(numerics)
        for timeline in part:
            tell(timeline.name)
        arguments = {**self._arguments, "timelines": [timeline.values() for timeline in part]}
        try:
            answer, _ = worker.call(self._method, arguments, asked=f"timeline '{part[0].name}'")
        except EbbdoorError as error:
            return self._lost(worker, part, error), []
        with self._lock:
            self._waiting[numerics].append(worker)
        failures = answer["failures"]
        ends = [
            TimelineEnd(timeline.name, failure_of(failures[timeline.name]) if timeline.name in failures else None)
            for timeline in part
        ]
        return ends, answer["said"]

    def _end(self) -> None:
        """End every worker: those that wait have nothing to do, the others were interrupted."""
        with self._lock:
            self._ended = True
        for worker in self._all:
            worker.kill()

    def _take(self, numerics: Numerics) -> Worker:
        with self._lock:
            if self._ended:
                raise WorkerError("expected the study to go on, got its end; play it again")
            if self._waiting[numerics]:
                return self._waiting[numerics].pop()
            worker = Worker(_TARGET, environment=worker_environment(os.environ, self._threads, numerics))
            self._all.append(worker)
        try:
            worker.call("greet", self._facts)
        except ChannelClosed as error:
            raise WorkerError(
                f"expected a worker to start, got its end (exit status {worker.exit_status()}); read what it said above"
            ) from error
        return worker

    def _lost(self, worker: Worker, part: Sequence[Timeline], error: EbbdoorError) -> list[TimelineEnd]:
        """End a worker that gave no answer, and return the ends of its timelines: what it had completed is complete."""
        failures = dict.fromkeys((timeline.name for timeline in part), error)
        if isinstance(error, ChannelClosed):
            status = worker.exit_status()
            failures = {timeline.name: _ended(timeline, status) for timeline in part}
        worker.kill()
        return [
            TimelineEnd(timeline.name, None if read_timeline(self._folder, timeline) else failures[timeline.name])
            for timeline in part
        ]


def _ended(timeline: Timeline, status: int | None) -> WorkerError:
    return WorkerError(
        f"expected the worker of timeline '{timeline.name}' to answer, got its end (exit status {status}); "
        "what is complete is kept, play the study again"
    )


def cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


@final
class Processes(Executor):
    """Plays timelines in `workers` processes (None: one a core); one that dies is replaced, and its timeline fails."""

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
        shared = {"cache": None if cache is None else str(cache.absolute())}
        pool = WorkerPool(self._workers, threads, folder, "play", shared)
        for ends, _ in pool.play([[timeline] for timeline in todo], tell):
            yield from ends


def play_alone(timeline: Timeline, folder: Path, cache: Path | None) -> None:
    """Play one timeline: in this process, or in a worker process where this one does not compute as it asks.

    For a process that somebody else started: a worker of Prefect's or Ray's. Raises what ended the timeline.
    """
    if timeline.scenario.numerics == "native" or began_portable():
        play_here(timeline, folder, cache)
        return
    for end in Processes(1).play([timeline], folder, cache):
        if end.error is not None:
            raise end.error
