"""Inter-process messages: JSON and safetensors over a socket, never pickle.

A request is a frame that names a method, its arguments (JSON values) and a number that counts a channel's requests,
with tensors beside. Its answer carries the same number and either the method's value or the values of a failure.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import simulator.errors as errors
from simulator.errors import EXIT_CODES, EbbdoorError, WorkerError, text_of

if TYPE_CHECKING:
    from torch import Tensor

#: named tensors, on any device; they arrive on the CPU
Tensors = Mapping[str, "Tensor"]
#: what a worker can be asked for: (arguments, tensors) -> (value, tensors); arguments and value are JSON values
Method = Callable[[dict[str, Any], "dict[str, Tensor]"], tuple[Any, Tensors]]

#: sizes in bytes of a frame's JSON text and of its tensors
HEAD: Final = struct.Struct(">QQ")

#: seconds between two looks at a process whose answer is waited for
LOOK_SECONDS: Final = 2.0


class ChannelClosed(WorkerError):
    """The other process has ended or has closed its side."""


class ChannelTimeout(WorkerError):
    """The other process did not answer in time."""


class Channel:
    """Sends and receives frames over a connected socket: a JSON value and named tensors."""

    def __init__(self, connection: socket.socket, look: Callable[[], None] | None = None) -> None:
        """`look` is called every few seconds of a wait without limit; what it raises ends the wait."""
        self._socket = connection
        self._look = look

    def send(self, message: Any, tensors: Tensors | None = None, timeout: float | None = None) -> None:
        """Send one frame; tensors are copied to the CPU and made contiguous. `timeout`: see `send_bytes`."""
        from safetensors.torch import save  # imports torch, which a process that only starts workers does not need

        blob = save({name: value.detach().cpu().contiguous() for name, value in (tensors or {}).items()})
        self.send_bytes(json.dumps(message).encode(), blob, timeout)

    def receive(self, timeout: float | None = None) -> tuple[Any, dict[str, Tensor]]:
        """Return the next frame, or raise `ChannelTimeout` after `timeout` seconds."""
        from safetensors.torch import load

        body, blob = self.receive_bytes(timeout)
        return json.loads(body), load(blob)

    def send_bytes(self, body: bytes, blob: bytes, timeout: float | None = None) -> None:
        """Send a frame that is already encoded; raise `ChannelTimeout` when it is not taken in `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for part in (HEAD.pack(len(body), len(blob)) + body, blob):
            view = memoryview(part)
            while view:
                self._await(select.POLLOUT, deadline)
                try:
                    view = view[self._socket.send(view, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise ChannelClosed(f"the other process is gone ({error})") from error

    def receive_bytes(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Return the next frame as it was encoded: its JSON text and its tensors."""
        deadline = None if timeout is None else time.monotonic() + timeout
        size, extra = HEAD.unpack(self._read(HEAD.size, deadline))
        return self._read(size, deadline), self._read(extra, deadline)

    def close(self) -> None:
        """Close the socket; the other side reads end-of-file."""
        self._socket.close()

    def _await(self, event: int, deadline: float | None) -> None:
        """Wait until the socket can be read or written, which it also can be when the other side has closed it."""
        poll = select.poll()
        poll.register(self._expect_open(), event)
        while not poll.poll(_milliseconds(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                raise ChannelTimeout("the other process did not answer in time")
            self._expect_open()
            if deadline is None and self._look is not None:
                self._look()

    def _expect_open(self) -> socket.socket:
        if self._socket.fileno() < 0:  # another thread has closed it
            raise ChannelClosed("this side of the connection was closed")
        return self._socket

    def _read(self, size: int, deadline: float | None) -> bytes:
        buffer = bytearray(size)
        view = memoryview(buffer)
        done = 0
        while done < size:
            self._await(select.POLLIN, deadline)
            try:
                count = self._socket.recv_into(view[done:])
            except OSError as error:
                raise ChannelClosed(f"the other process is gone ({error})") from error
            if count == 0:
                raise ChannelClosed("the other process is gone")
            done += count
        return bytes(buffer)


def _milliseconds(deadline: float | None) -> float:
    """Return for how long to wait before the next look."""
    left = LOOK_SECONDS if deadline is None else deadline - time.monotonic()
    return 1000 * min(max(left, 0.0), LOOK_SECONDS)


def failure_values(error: Exception, asked: str) -> dict[str, Any]:
    """Return `error` as JSON values; one that ebbdoor did not foresee becomes a sentence about what was `asked` for.

    A third-party plug-in may raise anything. Its traceback is printed with `EBBDOOR_TRACEBACK=1`.
    """
    if isinstance(error, EbbdoorError):
        return {"error": str(error), "code": error.exit_code, "kind": type(error).__name__}
    if os.environ.get("EBBDOOR_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    said = f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")
    sentence = (
        f"expected {asked} to work, got {said}; "
        "correct the plug-in that raised it, or see where with EBBDOOR_TRACEBACK=1"
    )
    return {"error": sentence, "code": WorkerError.exit_code, "kind": "WorkerError"}


def failure_of(values: Mapping[str, Any]) -> EbbdoorError:
    """Return the error in `values`, of its class where that is one of ours, so that the exit code stays the same."""
    kind = getattr(errors, values["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, EbbdoorError)) or values["code"] not in EXIT_CODES:
        return WorkerError(values["error"])
    return kind(values["error"])
