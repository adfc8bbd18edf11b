"""Forking a process for one call of a defense, watching over it, and ending it with all that it has started."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
import traceback
from contextlib import suppress
from typing import Any, Final, Literal, final

from simulator.system.descendants import end_descendants, own_bytes, private_bytes
from simulator.system.messages import HEAD, ChannelClosed

#: what became of a call
End = Literal["answered", "late", "ended", "signal", "memory", "size", "surplus"]

#: bytes of an answer's JSON text, and how much larger its tensors may be than those it was given
LARGEST_TEXT: Final = 2_000_000
_SLACK: Final = 1_000_000
#: bytes of a call's output that are passed on
_LARGEST_OUTPUT: Final = 100_000
#: seconds between two looks at a call's memory
_LOOK: Final = 0.5


def attend(method: str, arguments: dict[str, Any], blob: bytes, parent: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Run `method` in a fork of this process; return what became of it (`end`, `detail`, `text`) and its tensors.

    The limits are `seconds`, `memory` in bytes, and an answer not much larger than what was given, or than `expected`
    bytes. When `parent` closes its side, this process and the call end.
    """
    answer, answering = socket.socketpair()
    output, printing = os.pipe()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        _become_child(method, arguments, blob, answering.detach(), printing)
    answering.close()
    os.close(printing)
    try:
        call = _Call(process, answer, output, len(blob) + arguments.get("expected", 0) + _SLACK)
        end = call.watch(arguments["seconds"], arguments["memory"], parent)
        detail = call.status() if end == "ended" else 0
    finally:
        end_descendants()
        answer.close()
        os.close(output)
    if end == "ended" and detail < 0:
        return {"end": "signal", "detail": -detail, "text": ""}, b""
    text, tensors = call.answer() if end == "answered" else ("", b"")
    return {"end": end, "detail": detail, "text": text}, tensors


def _become_child(method: str, arguments: dict[str, Any], blob: bytes, answering: int, printing: int) -> None:
    """Never return: the fork does what was asked for, and ends."""
    try:
        from simulator.production.defending.child import answer

        answer(method, arguments, blob, answering, printing)
    except BaseException:  # noqa: BLE001  nothing may return from here
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


@final
class _Call:
    """A call that goes on in the process `process`, and what has come of it so far."""

    def __init__(self, process: int, answer: socket.socket, output: int, largest: int) -> None:
        self._process = process
        self._answer = answer
        self._output = output
        self._largest = largest
        self._received = bytearray()
        self._passed_on = 0
        self._status: int | None = None
        self._open = {answer.fileno(), output}

    def watch(self, seconds: float, memory: int, parent: socket.socket) -> End:
        """Wait for the whole answer, or for what ends the call before."""
        deadline, looked = time.monotonic() + seconds, time.monotonic()
        most = memory + own_bytes("RssAnon")  # one process alone meets its own limit first, at the same place always
        while self._answer.fileno() in self._open:
            if self._whole():
                return "answered"
            if (excess := self._excess()) is not None:
                return excess
            self._read(parent, max(0.0, min(deadline - time.monotonic(), _LOOK)))
            if time.monotonic() >= deadline and not self._whole():
                return "late"
            if time.monotonic() - looked >= _LOOK:
                if private_bytes() > most:
                    return "memory"
                if self._has_ended() and not self._read(parent, 0.0):  # what it has started holds its descriptors
                    break
                looked = time.monotonic()
        return "answered" if self._whole() else "ended"

    def answer(self) -> tuple[str, bytes]:
        """Return the answer's text and tensors."""
        size, _ = HEAD.unpack_from(self._received)
        body = self._received[HEAD.size : HEAD.size + size]
        return body.decode("utf-8", "replace"), bytes(self._received[HEAD.size + size :])

    def status(self) -> int:
        """Return the exit status of the process, negative for a signal; it has closed its side, so it is ending."""
        deadline = time.monotonic() + 2.0
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(0.002)
        return self._status or 0

    def _has_ended(self) -> bool:
        if self._status is None:
            found, status = os.waitpid(self._process, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if found else None
        return self._status is not None

    def _whole(self) -> bool:
        return len(self._received) >= HEAD.size and len(self._received) == HEAD.size + sum(self._sizes())

    def _sizes(self) -> tuple[int, int]:
        text, tensors = HEAD.unpack_from(self._received)
        return text, tensors

    def _excess(self) -> Literal["size", "surplus"] | None:
        """Return `size` where the answer is larger than it may be, `surplus` where more comes than it announces."""
        if len(self._received) < HEAD.size:
            return None
        text, tensors = self._sizes()
        if text > LARGEST_TEXT or tensors > self._largest:
            return "size"
        return "surplus" if len(self._received) > HEAD.size + text + tensors else None

    def _read(self, parent: socket.socket, wait: float) -> bool:
        """Read what has arrived in `wait` seconds; whether anything has. The parent's end is ours."""
        poll = select.poll()
        poll.register(parent, 0)  # a closed side is always told
        for descriptor in self._open:
            poll.register(descriptor, select.POLLIN)
        events = poll.poll(wait * 1000)
        for descriptor, _ in events:
            if descriptor == parent.fileno():
                raise ChannelClosed("the process that asked has ended")
            try:
                data = os.read(descriptor, 1 << 20)
            except OSError:  # the other side may do with its end what it likes
                data = b""
            if not data:
                self._open.discard(descriptor)
            elif descriptor == self._output:
                self._pass_on(data)
            else:
                self._received += data
        return bool(events)

    def _pass_on(self, data: bytes) -> None:
        """Hand what was printed to our own standard error, up to a limit: a log must not fill a disk."""
        shown = data[: max(0, _LARGEST_OUTPUT - self._passed_on)]
        self._passed_on += len(data)
        if shown:
            with suppress(OSError):
                os.write(2, shown)
