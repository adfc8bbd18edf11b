"""The executor that trains timelines together: one thread a timeline, and one stack of models for their trainings."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from pathlib import Path
from typing import final

from simulator.errors import EbbdoorError, ScenarioError
from simulator.production.cohort.groups import Groups
from simulator.production.cohort.rendezvous import Rendezvous
from simulator.production.training.device import choose_device, pin_threads
from simulator.production.update import FITTED
from simulator.study.executors.base import Executor, Tell, TimelineEnd, silent
from simulator.study.executors.processes import WorkerPool, cores
from simulator.study.play import play_here
from simulator.study.timelines import Timeline
from simulator.system.messages import failure_of, failure_values

#: timelines that are played at the same time by default; a stack that a GPU cannot hold is halved
MEMBERS = 64

#: timelines for which another process is started by default: it takes seconds to start (estimated)
_A_PROCESS = 4

#: share of a GPU's memory for the tensors of all processes; the rest is for their CUDA contexts
_FOR_TENSORS = 0.9


@final
class Cohort(Executor):
    """Plays up to `members` timelines at the same time, and trains those of one shape and process as one stack.

    A timeline goes through the same stages as in other executors and decides for itself; it only waits for the others
    of its process where a training would begin. The order of floating-point sums differs, so records equal those of
    other executors within a tolerance (docs/studies.md), not bit for bit; that is why the shared cache is not used.
    `limit`: most members of one stack (None: `stack_limit`). `say` is called with a sentence for what is trained alone,
    and why. `processes`: None for `processes_for`; 1 for this process alone. Processes run at the same time between
    trainings; when one dies, the timelines it was playing fail.
    """

    def __init__(
        self,
        members: int | None = None,
        limit: int | None = None,
        say: Callable[[str], None] = lambda sentence: None,
        processes: int | None = None,
    ) -> None:
        for name, count in (("members", members), ("workers", processes)):
            if count is not None and count < 1:
                raise ScenarioError(f"expected {name} to be at least 1, got {count}; raise it")
        self._members = members or MEMBERS
        self._limit = limit
        self._say = _once(say)
        self._processes = processes

    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        if not todo:
            return
        if any(timeline.scenario.numerics == "portable" for timeline in todo):
            raise ScenarioError(
                "expected numerics to be native with the executor cohort, whose sums have an order of their own, "
                "got portable; use another executor, or set numerics: native"
            )
        at_once = min(self._members, len(todo))
        processes = self._processes or processes_for(todo, at_once)
        parts = parts_of(todo, math.ceil(at_once / processes))
        if processes == 1:
            groups = Groups(self._limit, self._say)
            for part in parts:
                yield from _side_by_side(part, folder, groups, tell)
        else:
            yield from self._apart(parts, processes, folder, tell)

    def _apart(
        self, parts: Sequence[Sequence[Timeline]], processes: int, folder: Path, tell: Tell
    ) -> Generator[TimelineEnd, None, None]:
        """Play each part in a worker process, `processes` at a time."""
        todo = [timeline for part in parts for timeline in part]
        devices = sorted({timeline.scenario.device for timeline in todo})
        threads = max(timeline.scenario.threads for timeline in todo)
        options, share = {"limit": self._limit}, _FOR_TENSORS / processes
        pool = WorkerPool(processes, threads, folder, "play_together", options, devices=devices, share=share)
        for ends, said in pool.play(parts, tell):
            for sentence in said:
                self._say(sentence)
            yield from ends


def processes_for(todo: Sequence[Timeline], at_once: int) -> int:
    """Return how many processes play `todo` by default, `at_once` timelines at a time.

    On a CPU one: there `Processes` is the executor for several. On CUDA one a core, as far as there are `_A_PROCESS`
    timelines for each: with one process alone the device is idle between trainings.
    """
    if all(choose_device(timeline.scenario.device).type == "cpu" for timeline in todo):
        return 1
    return max(1, min(cores(), at_once // _A_PROCESS))


def parts_of(todo: Sequence[Timeline], size: int) -> list[list[Timeline]]:
    """Return `todo` in parts of at most `size`; those of one seed are together, as they may train the same model."""
    ordered = sorted(todo, key=lambda timeline: timeline.seed)
    return [ordered[at : at + size] for at in range(0, len(ordered), size)]


def _side_by_side(
    timelines: Sequence[Timeline], folder: Path, groups: Groups, tell: Tell
) -> Generator[TimelineEnd, None, None]:
    pin_threads(max(timeline.scenario.threads for timeline in timelines))
    rendezvous = Rendezvous(len(timelines), groups)
    pool = ThreadPoolExecutor(max_workers=len(timelines), thread_name_prefix="cohort")
    try:
        futures = [pool.submit(copy_context().run, _play, timeline, folder, rendezvous, tell) for timeline in timelines]
        for future in as_completed(futures):
            yield future.result()
    finally:
        rendezvous.end()
        pool.shutdown(cancel_futures=True)


def _play(timeline: Timeline, folder: Path, rendezvous: Rendezvous, tell: Tell) -> TimelineEnd:
    FITTED.set(rendezvous.trained)
    try:
        with rendezvous.member():
            tell(timeline.name)
            play_here(timeline, folder, None)
    except EbbdoorError as error:
        return TimelineEnd(timeline.name, error)
    except Exception as error:  # noqa: BLE001  a third-party plug-in may raise anything; it ends this timeline alone
        return TimelineEnd(timeline.name, failure_of(failure_values(error, f"timeline '{timeline.name}'")))
    return TimelineEnd(timeline.name)


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say every sentence once."""
    said: set[str] = set()
    turn = threading.Lock()

    def heard(sentence: str) -> None:
        with turn:
            if sentence in said:
                return
            said.add(sentence)
        say(sentence)

    return heard
