"""The executor that trains timelines together: one process, one thread a timeline, their trainings in stacks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import final

from simulator.errors import EbbdoorError, ScenarioError
from simulator.failures import failure_of, failure_values
from simulator.production.cohort.groups import Groups
from simulator.production.cohort.rendezvous import Rendezvous
from simulator.production.training.device import pin_threads
from simulator.production.update import FITTED
from simulator.study.executor import Executor, Tell, TimelineEnd, silent
from simulator.study.play import play_here
from simulator.study.timelines import Timeline

__all__ = ["MEMBERS", "Cohort"]

#: timelines that are played side by side by default; what a GPU cannot hold at once is stacked in halves
MEMBERS = 64


@final
class Cohort(Executor):
    """Plays up to `members` timelines side by side in this process, and trains those of one shape as one stack.

    The stages are those of every executor, and every timeline decides for itself; only where a training would begin
    does it wait for the others. The order of floating-point sums differs, so records equal those of other executors
    within a tolerance (docs/studies.md), not bit for bit; that is why nothing is recalled from the shared cache or kept
    there. `limit`: members of one stack at most (None: `stack_limit`); `say` hears what is trained alone, and why.
    """

    def __init__(
        self, members: int | None = None, limit: int | None = None, say: Callable[[str], None] = lambda sentence: None
    ) -> None:
        if members is not None and members < 1:
            raise ScenarioError(f"expected workers to be at least 1, got {members}; raise it")
        self._members = members or MEMBERS
        self._groups = Groups(limit, _once(say))

    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        for at in range(0, len(todo), self._members):
            yield from self._side_by_side(todo[at : at + self._members], folder, tell)

    def _side_by_side(
        self, timelines: Sequence[Timeline], folder: Path, tell: Tell
    ) -> Generator[TimelineEnd, None, None]:
        pin_threads(max(timeline.scenario.threads for timeline in timelines))
        rendezvous = Rendezvous(len(timelines), self._groups)
        pool = ThreadPoolExecutor(max_workers=len(timelines), thread_name_prefix="cohort")
        try:
            futures = [pool.submit(_play, timeline, folder, rendezvous, tell) for timeline in timelines]
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
