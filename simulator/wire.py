"""Messages between our own processes: JSON and safetensors, never pickle.

A worker is a module of ours run with `python -m MODULE FD`; it answers each request once, in order. The parent owns it:
when the parent ends, the worker reads end-of-file and ends too.
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
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from simulator.errors import WorkerError
from simulator.interpreter import end_soon

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = Mapping[str, Tensor]

__all__ = [
    "Channel",
    "ChannelClosed",
    "ChannelTimeout",
    "Worker",
    "end_with_parent",
    "serve",
    "worker_environment",
]

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
