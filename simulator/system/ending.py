"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is open is closed, then the process exits with 128 + signal.

A service manager, `docker stop`, `timeout` and a closed terminal send these signals, and their default action ends a
process at once: its run would stay open in the stores.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

#: signals that ask a process to end, where the platform has them
SIGNALS: Final = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)

#: Seconds in which a repeated signal counts as the same request: `timeout` signals its child, then the whole process
#: group, and a closing terminal signals twice too.
_SAME_REQUEST: Final = 1.0


class Ended(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Requests:
    """The first request to end this process (None: none yet), and when it came, by the monotonic clock."""

    number: int | None = None
    when: float = 0.0
    commands: int = 0  # blocks of `ending_by_signal(command=True)` that are open


def exit_status(otherwise: int) -> int:
    """Return 128 + the number of the signal that ended the command, as shells report it; without one `otherwise`.

    To be called last: a repetition of the request is ignored from here on, for Python would meet it by default.
    """
    if _Requests.number is None or otherwise == 0:
        return otherwise
    if time.monotonic() - _Requests.when <= _SAME_REQUEST:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    return 128 + _Requests.number


def in_command() -> bool:
    """Return whether this process is a command of ours, which turns a signal into its exit status itself."""
    return _Requests.commands > 0


@contextmanager
def ending_by_signal(*, command: bool = False) -> Iterator[None]:
    """Raise `Ended` in the block at the first of `SIGNALS`; another one, a second later, ends the process at once.

    A signal that is ignored (`nohup`) stays ignored. Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _handle)
    _Requests.commands += command
    try:
        yield
    finally:
        _Requests.commands -= command
        ending = command and _Requests.number is not None  # then the same request may still arrive once more
        for number, handler in before.items():
            if handler is not None and not ending:  # None: set by other code than Python's
                signal.signal(number, handler)


def _handle(number: int, _: FrameType | None) -> None:
    now = time.monotonic()
    if _Requests.number is not None:
        if now - _Requests.when > _SAME_REQUEST:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        return
    _Requests.number, _Requests.when = number, now
    if number == getattr(signal, "SIGHUP", None):
        _leave_terminal()
    raise Ended(number)


def _leave_terminal() -> None:
    """Point standard streams that are a terminal to nowhere: writing to one that was closed would raise errors."""
    for descriptor in (0, 1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
