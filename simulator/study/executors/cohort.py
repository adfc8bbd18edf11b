"""The executor that trains timelines together: one thread a timeline, their trainings in stacks."""

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

__all__ = ["MEMBERS", "Cohort", "parts_of", "processes_for"]

#: timelines that are played side by side by default; what a GPU cannot hold at once is stacked in halves
MEMBERS = 64

#: timelines that a process of its own is worth, by default: it takes seconds to start (estimated)
_A_PROCESS = 4

#: what of a GPU's memory the processes' tensors share; the rest is their drivers' contexts
_FOR_TENSORS = 0.9


@final
class Cohort(Executor):
    """Plays up to `members` timelines side by side, and trains those of one shape and one process as one stack.

    The stages are those of every executor, and every timeline decides for itself; only where a training would begin
    does it wait for the others of its process. The order of floating-point sums differs, so records equal those of
    other executors within a tolerance (docs/studies.md), not bit for bit; that is why nothing is recalled from the
    shared cache or kept there. `limit`: members of one stack at most (None: `stack_limit`); `say` hears what is trained
    alone, and why. `processes`: None: `processes_for`; one is this process. What they do between trainings, they do at
    the same time; one that dies takes what it was playing with it.
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
    """Return how many processes play `todo` by default: one on a CPU, where `processes` is the executor of several.

    On CUDA a core each, while there are `_A_PROCESS` timelines for it: the device waits for what one process does
    between trainings.
    """
    if all(choose_device(timeline.scenario.device).type == "cpu" for timeline in todo):
        return 1
    return max(1, min(cores(), at_once // _A_PROCESS))


def parts_of(todo: Sequence[Timeline], size: int) -> list[list[Timeline]]:
    """Return `todo` in parts of at most `size`; those of one seed lie together, because they may train the same."""
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
    except Exception as error:  # noqa: BLE001  a stranger's plug-in may raise anything; it ends this timeline alone
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
