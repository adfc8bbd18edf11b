"""Ending everything that a process has started, also what has moved to a session of its own or lost its parent."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

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
        _kill(_descendants())
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
    for process in _descendants():
        with suppress(psutil.Error, OSError, AttributeError):
            total += process.memory_full_info().uss
    return total


def own_bytes(name: Literal["VmData", "RssAnon"]) -> int:
    """Return how much memory this process has, as Linux tells; 0 where that is not known.

    `VmData` counts against its limit `RLIMIT_DATA`; a fork can make copies of at most `RssAnon`.
    """
    with suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def _descendants() -> list[psutil.Process]:
    """Return what this process and its threads have started, and those in turn; orphans that it adopts too.

    Linux lists the children of a thread. Elsewhere every process of the machine is read, which costs far more.
    """
    found: list[psutil.Process] = []
    asked = [os.getpid()]
    try:
        for one in asked:  # grows
            for number in _children(one):
                asked.append(number)
                with suppress(psutil.Error):
                    found.append(psutil.Process(number))
    except _Unlisted:
        found = psutil.Process().children(recursive=True)
    return found


class _Unlisted(Exception):
    """The system does not list the children of a process."""


def _children(process: int) -> Iterator[int]:
    threads = Path(f"/proc/{process}/task")
    for thread in _names(threads):
        try:
            yield from map(int, (threads / thread / "children").read_text().split())
        except OSError as error:
            if process == os.getpid():
                raise _Unlisted from error


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # it has ended meanwhile, or this is not Linux
        return ["none"]


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
