"""A barrier at which the trainings of several timelines meet: each waits until all that still play have one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from simulator.errors import WorkerError
from simulator.guard.call import ending
from simulator.production.training.job import Job, Trained

#: trains jobs and gives for each its result, or the exception to raise where it was handed in
TrainAll = Callable[[Sequence[Job]], Sequence[Trained | Exception]]


@final
class Rendezvous:
    """Lets `members` threads play one timeline each, one thread at a time, and trains when all of them wait for it.

    One at a time because they use torch's global random states between trainings, and because Python would not let them
    compute in parallel anyway. `train` does the jobs.
    """

    def __init__(self, members: int, train: TrainAll) -> None:
        self._playing = members
        self._train = train
        self._turn = threading.Semaphore(1)
        self._lock = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._ended = False

    @contextmanager
    def member(self) -> Iterator[None]:
        """Play a timeline inside the block; after it, however it ends, the others no longer wait for it."""
        self._turn.acquire()
        try:
            self._check_going()
            yield
        finally:
            with self._lock:
                self._playing -= 1
            try:
                self._train_when_all_wait()
            finally:
                self._turn.release()

    def trained(self, job: Job) -> Trained:
        """Hand in a job; once all that still play have done so, return its result or raise its exception."""
        self._check_going()
        mine = _Waiting(job)
        with self._lock:
            self._waiting.append(mine)
        self._train_when_all_wait()
        if mine.result is None:
            self._turn.release()
            with self._lock:
                self._lock.wait_for(lambda: mine.result is not None or self._ended)
            self._turn.acquire()
            self._check_going()
        if isinstance(mine.result, Trained):
            return mine.result
        assert mine.result is not None
        raise mine.result

    def end(self) -> None:
        """Stop all waiting and training: every member raises `WorkerError` at its next call."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def _check_going(self) -> None:
        if self._ended:
            raise WorkerError("expected the study to go on, got its end; play it again")

    def _train_when_all_wait(self) -> None:
        """Train when every member waits; the last one to arrive does it, and no other computes meanwhile."""
        with self._lock:
            if self._ended or not self._waiting or len(self._waiting) < self._playing:
                return
            waiting, self._waiting = self._waiting, []
        results = self._results([each.job for each in waiting])
        with self._lock:
            for each, result in zip(waiting, results, strict=True):
                each.result = result
            self._lock.notify_all()

    def _results(self, jobs: Sequence[Job]) -> Sequence[Trained | Exception]:
        try:
            return self._train(jobs)
        except Exception as error:  # noqa: BLE001  none may wait endlessly: each raises it where its job was handed in
            return [error] * len(jobs)
        except SystemExit as error:
            return [ending(f"network '{job.recipe.network.use}'", error) for job in jobs]


@dataclass(slots=True)
class _Waiting:
    """A job that was handed in, and its result."""

    job: Job
    result: Trained | Exception | None = None
