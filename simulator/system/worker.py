"""The parent's side of a worker process: starting it, calling its methods, ending it.

Workers can be started before they are needed, so that they import torch while their parent opens its stores.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, final

from simulator.errors import WorkerError
from simulator.system.environment import child_environment
from simulator.system.liveness import Liveness
from simulator.system.messages import Channel, Tensors, failure_of

if TYPE_CHECKING:
    from torch import Tensor

    from simulator.records import Numerics

#: what a worker of lineages serves, as `module:function`
LINEAGES: Final = "simulator.loop.executors:methods"
#: the module that serves methods one after another in its own process
SERVING: Final = "simulator.system.serving"


@final
class Worker:
    """A child process that serves the methods of `target` (`module:function`, see `simulator.system.serving`).

    It ends when this process ends. Its standard output goes to our standard error, so that results on ours stay clean.
    A `Worker` is used by one thread at a time.
    """

    def __init__(
        self, target: str, *, environment: Mapping[str, str] | None = None, program: str = SERVING, apart: bool = False
    ) -> None:
        """Start `program`, the module that serves `target`; `apart`: in a session of its own, without a terminal."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", program, target, str(theirs.fileno())],
                start_new_session=apart,
                pass_fds=[theirs.fileno()],
                env=dict(os.environ if environment is None else environment),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
            )
        self._liveness = Liveness(self._process)
        self._channel = Channel(ours, self._liveness.look)
        self._number = 0

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def call(
        self,
        method: str,
        arguments: Mapping[str, Any] | None = None,
        tensors: Tensors | None = None,
        *,
        timeout: float | None = None,
        asked: str | None = None,
    ) -> tuple[Any, dict[str, Tensor]]:
        """Call `method` in the worker and return its value and tensors; what it raised is raised here.

        `asked` says in words what is asked for, for the sentence about an error that ebbdoor did not foresee. Raises
        `ChannelTimeout` after `timeout` seconds and `ChannelClosed` when the worker has ended. Without a `timeout` it
        is waited for as long as it lives; one that is stopped or computes nothing is told on standard error.
        """
        return self.finish(self.begin(method, arguments, tensors, asked=asked, timeout=timeout), timeout)

    def begin(
        self,
        method: str,
        arguments: Mapping[str, Any] | None = None,
        tensors: Tensors | None = None,
        *,
        asked: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Send a request without waiting for its answer, and return its number for `finish`.

        Raises `ChannelTimeout` when the worker does not take the request in `timeout` seconds.
        """
        self._number += 1
        asked = asked or f"method '{method}' of a worker"
        message = {"number": self._number, "method": method, "arguments": dict(arguments or {}), "asked": asked}
        self._liveness.expect(asked)
        self._channel.send(message, tensors, timeout)
        return self._number

    def finish(self, number: int, timeout: float | None = None) -> tuple[Any, dict[str, Tensor]]:
        """Return the answer to request `number`, the oldest that has none yet; answers come in order of requests."""
        answer, tensors = self._channel.receive(timeout)
        if answer["number"] != number:
            raise WorkerError(f"expected the answer to request {number}, got one to {answer['number']}; start again")
        if "failure" in answer:
            raise failure_of(answer["failure"])
        return answer["value"], tensors

    def exit_status(self, patience: float = 5.0) -> int | None:
        """Return the exit status, negative for a signal; None when the process goes on after `patience` seconds."""
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End the process now."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def close(self, patience: float = 5.0) -> None:
        """Let the process end by itself, and end it after `patience` seconds."""
        self._channel.close()
        if self.exit_status(patience) is None:
            self.kill()


def worker_environment(
    environment: Mapping[str, str], threads: int, numerics: Numerics | None = None
) -> dict[str, str]:
    """Return `environment` for a worker of `threads` numerical threads; see `child_environment`."""
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {**child_environment(environment, numerics), **pinned}


#: threads, numerics, and the workers that wait
_PRESTARTED: ContextVar[tuple[int, Numerics, list[Worker]]] = ContextVar("_PRESTARTED", default=(0, "native", []))


@contextmanager
def prestarted_workers(count: int, threads: int, numerics: Numerics = "native") -> Iterator[None]:
    """Start `count` workers of lineages with `threads` threads; those not taken by the block's end are killed."""
    waiting: list[Worker] = []
    token = _PRESTARTED.set((threads, numerics, waiting))
    try:
        for _ in range(count):
            waiting.append(_new_worker(threads, numerics))
        yield
    finally:
        _PRESTARTED.reset(token)
        for worker in waiting:
            worker.kill()


def start_worker(threads: int, numerics: Numerics = "native") -> Worker:
    """Return a worker of lineages that computes so, a prestarted one if there is any; the caller ends it."""
    *prestarted, waiting = _PRESTARTED.get()
    alike = prestarted == [threads, numerics]
    return waiting.pop(0) if waiting and alike else _new_worker(threads, numerics)


def _new_worker(threads: int, numerics: Numerics) -> Worker:
    return Worker(LINEAGES, environment=worker_environment(os.environ, threads, numerics))


def _has_descriptor(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True
