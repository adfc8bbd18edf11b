"""Ending everything that a process has started, also what has moved to a session of its own or lost its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import psutil

_SET_DEATH_SIGNAL: Final = 1  # of Linux's prctl.h
_SET_CHILD_SUBREAPER: Final = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, where the system can do that; else a no-op."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Let the kernel end this process as soon as its `parent` has ended, where it can do that."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def end_descendants(patience: float = 10.0) -> None:
    """Kill and reap every descendant of this process; those that start more meanwhile, for `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        _kill(psutil.Process().children(recursive=True))
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.002)
            continue
        return


def end_marked(name: str, value: str) -> None:
    """Kill the processes that were started with the environment variable `name` of `value`, whoever is their parent."""
    marked = [process for process in psutil.process_iter() if process.pid != os.getpid() and _has(process, name, value)]
    _kill(marked)
    psutil.wait_procs(marked, timeout=5)


def private_bytes() -> int:
    """Return the memory that the descendants of this process share with no other process."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error, OSError, AttributeError):
            total += process.memory_full_info().uss
    return total


def _has(process: psutil.Process, name: str, value: str) -> bool:
    try:
        return bool(process.environ().get(name) == value)
    except (psutil.Error, OSError):  # another user's, or ended meanwhile
        return False


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _prctl(option: int, value: int) -> None:
    with suppress(AttributeError, OSError):  # not Linux
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
