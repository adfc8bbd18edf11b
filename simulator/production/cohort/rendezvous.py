"""Where the trainings of several timelines meet: who comes waits until all that still play are there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

from simulator.errors import WorkerError
from simulator.production.training.job import Job, Trained

__all__ = ["Rendezvous", "TrainAll"]

#: what each job gave: its result, or what is raised where the job was handed in
TrainAll = Callable[[Sequence[Job]], Sequence[Trained | Exception]]


@final
class Rendezvous:
    """Threads that play one timeline each, one of them at a time, until all wait with a training; then all are done.

    One at a time, because what they do between trainings uses torch's global random states, and because Python would
    not let them compute side by side anyway. `members` is how many come; `train` does the jobs.
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
        """Play a timeline inside the block; whatever ends it, the others no longer wait for it."""
        self._turn.acquire()
        try:
            self._go_on()
            yield
        finally:
            with self._lock:
                self._playing -= 1
            try:
                self._train_when_all_wait()
            finally:
                self._turn.release()

    def trained(self, job: Job) -> Trained:
        """Hand in a job and return its result once all that play have handed in theirs; raise what it raised."""
        self._go_on()
        mine = _Waiting(job)
        with self._lock:
            self._waiting.append(mine)
        self._train_when_all_wait()
        if mine.result is None:
            self._turn.release()
            with self._lock:
                self._lock.wait_for(lambda: mine.result is not None or self._ended)
            self._turn.acquire()
            self._go_on()
        if isinstance(mine.result, Trained):
            return mine.result
        assert mine.result is not None
        raise mine.result

    def end(self) -> None:
        """Let nobody wait or train any more: every member raises `WorkerError` where it is next asked."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def _go_on(self) -> None:
        if self._ended:
            raise WorkerError("expected the study to go on, got its end; play it again")

    def _train_when_all_wait(self) -> None:
        """Done by whoever comes last, while nobody else computes."""
        with self._lock:
            if self._ended or not self._waiting or len(self._waiting) < self._playing:
                return
            there, self._waiting = self._waiting, []
        results = self._results([waiting.job for waiting in there])
        with self._lock:
            for waiting, result in zip(there, results, strict=True):
                waiting.result = result
            self._lock.notify_all()

    def _results(self, jobs: Sequence[Job]) -> Sequence[Trained | Exception]:
        try:
            return self._train(jobs)
        except Exception as error:  # noqa: BLE001  nobody may wait for ever: each raises it where its job was handed in
            return [error] * len(jobs)


@final
class _Waiting:
    """A job that was handed in, and what came of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.result: Trained | Exception | None = None
