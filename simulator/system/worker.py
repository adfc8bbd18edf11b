"""Messages between our own processes: JSON and safetensors, never pickle.

A worker is a module of ours run with `python -m MODULE FD`; it answers each request once, in order. The parent owns it:
when the parent ends, the worker reads end-of-file and ends too.

What went wrong in another process, told there as values and raised here as the same kind of error.

Workers that are started before anyone asks for them: they import torch while their parent opens its stores.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import simulator.errors as errors
from simulator.errors import EXIT_CODES, EbbdoorError, WorkerError
from simulator.system.startup import end_soon

__all__ = [
    "WORKER",
    "Channel",
    "ChannelClosed",
    "ChannelTimeout",
    "Worker",
    "end_with_parent",
    "failure_of",
    "failure_values",
    "serve",
    "start_worker",
    "worker_environment",
    "workers_begun",
]

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = Mapping[str, Tensor]


_HEAD = struct.Struct(">QQ")


class ChannelClosed(WorkerError):
    """The other side is gone."""


class ChannelTimeout(WorkerError):
    """The other side did not answer in time."""


class Channel:
    """Framed messages over a connected socket: a JSON value and named tensors."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, message: Any, tensors: Tensors | None = None) -> None:
        """Send one message; tensors travel as safetensors, made contiguous on the CPU."""
        from safetensors.torch import save  # torch: whoever only starts a worker does without

        body = json.dumps(message).encode()
        blob = save({name: value.detach().cpu().contiguous() for name, value in (tensors or {}).items()})
        try:
            self._socket.sendall(_HEAD.pack(len(body), len(blob)) + body + blob)
        except OSError as error:
            raise ChannelClosed(f"the other process is gone ({error})") from error

    def receive(self, timeout: float | None = None) -> tuple[Any, dict[str, Tensor]]:
        """Return the next message, or raise `ChannelTimeout` after `timeout` seconds."""
        from safetensors.torch import load

        deadline = None if timeout is None else time.monotonic() + timeout
        size, extra = _HEAD.unpack(self._read(_HEAD.size, deadline))
        return json.loads(self._read(size, deadline)), load(self._read(extra, deadline))

    def close(self) -> None:
        """Close the socket; the other side reads end-of-file."""
        self._socket.close()

    def _read(self, size: int, deadline: float | None) -> bytes:
        buffer = bytearray(size)
        view = memoryview(buffer)
        done = 0
        while done < size:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], wait)[0]:
                raise ChannelTimeout("the other process did not answer in time")
            try:
                count = self._socket.recv_into(view[done:])
            except OSError as error:
                raise ChannelClosed(f"the other process is gone ({error})") from error
            if count == 0:
                raise ChannelClosed("the other process is gone")
            done += count
        return bytes(buffer)


class Worker:
    """A child process running `module`, spoken to over a private socket.

    Its standard output goes to standard error, so that results on ours stay clean.
    """

    def __init__(self, module: str, *, environment: Mapping[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=dict(os.environ if environment is None else environment),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
            )
        self._channel = Channel(ours)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def call(
        self, message: Any, tensors: Tensors | None = None, timeout: float | None = None
    ) -> tuple[Any, dict[str, Tensor]]:
        """Send a request and return its answer."""
        self._channel.send(message, tensors)
        return self._channel.receive(timeout)

    def send(self, message: Any, tensors: Tensors | None = None) -> None:
        """Send a request without waiting for its answer."""
        self._channel.send(message, tensors)

    def receive(self, timeout: float | None = None) -> tuple[Any, dict[str, Tensor]]:
        """Return the answer to an earlier `send`."""
        return self._channel.receive(timeout)

    def exit_status(self, patience: float = 5.0) -> int | None:
        """The status of a process that has ended or is ending, negative for a signal; None when it goes on."""
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
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def worker_environment(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return `environment` for a worker of `threads` numerical threads.

    It finds modules exactly where this process does, so that `module:Name` means the same in both; its own working
    directory is not put first, where a user's folder could hide one of ours.
    """
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    return {**environment, **pinned, "PYTHONPATH": places, "PYTHONSAFEPATH": "1"}


def serve(descriptor: int, answer: Callable[[Any, dict[str, Tensor]], tuple[Any, Tensors]]) -> None:
    """Answer requests on the socket `descriptor` until the other side closes it.

    Ctrl-C reaches every process of a terminal; what to do about it is the parent's business.
    """
    end_soon()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=descriptor))
    while True:
        try:
            message, tensors = channel.receive()
        except ChannelClosed:
            return
        found = answer(message, tensors)
        try:
            channel.send(*found)
        except ChannelClosed:  # the parent has died meanwhile, and nobody waits for the answer
            return


def end_with_parent() -> None:
    """Let this process end within a second of its parent, even in the middle of what takes long or never returns."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _has_descriptor(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def failure_values(error: Exception, asked: str) -> dict[str, Any]:
    """Return `error` as JSON values. What ebbdoor did not foresee becomes a sentence about what was `asked` for.

    A stranger's plug-in may raise anything; where, is printed with `EBBDOOR_TRACEBACK=1`.
    """
    if isinstance(error, EbbdoorError):
        return {"error": str(error), "code": error.exit_code, "kind": type(error).__name__}
    if os.environ.get("EBBDOOR_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    sentence = (
        f"expected {asked} to work, got {type(error).__name__}: {error}; "
        "correct the plug-in that raised it, or see where with EBBDOOR_TRACEBACK=1"
    )
    return {"error": sentence, "code": WorkerError.exit_code, "kind": "WorkerError"}


def failure_of(values: Mapping[str, Any]) -> EbbdoorError:
    """Return the error that `values` tell of, of its kind where that is one of ours: its exit code is the same."""
    kind = getattr(errors, values["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, EbbdoorError)) or values["code"] not in EXIT_CODES:
        return WorkerError(values["error"])
    return kind(values["error"])


#: the module that a worker runs
WORKER: Final = "simulator.loop.worker"

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
