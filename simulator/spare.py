"""Workers that are started before anyone asks for them: they import torch while their parent opens its stores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Final

from simulator.wire import Worker, worker_environment

__all__ = ["WORKER", "start_worker", "workers_begun"]

#: the module that a worker runs
WORKER: Final = "simulator.worker"

_SPARE: ContextVar[tuple[int, list[Worker]]] = ContextVar("_SPARE", default=(0, []))


@contextmanager
def workers_begun(count: int, threads: int) -> Iterator[None]:
    """Start `count` workers of `threads` threads for the block; those that nobody has taken by its end are killed."""
    with ExitStack() as stack:
        spare: list[Worker] = []
        stack.callback(_end, spare)
        for _ in range(count):
            spare.append(_started(threads))
        token = _SPARE.set((threads, spare))
        try:
            yield
        finally:
            _SPARE.reset(token)


def start_worker(threads: int) -> Worker:
    """Return a worker of `threads` threads, one that was begun before if there is any; it is the caller's to end."""
    begun, spare = _SPARE.get()
    return spare.pop(0) if spare and begun == threads else _started(threads)


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.kill()


def _started(threads: int) -> Worker:
    return Worker(WORKER, environment=worker_environment(os.environ, threads))
