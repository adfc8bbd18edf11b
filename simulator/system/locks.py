"""A lock between the processes of one host: a wait for it is told of, says who holds it, and ends."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from simulator.errors import LockHeldError
from simulator.system.patience import patience

_SILENT: Final = 2.0  # seconds of waiting before a word: most locks are held for less
_PAUSE: Final = 0.05  # seconds between two tries
_TURNS: Final = 10  # a queue of processes: so many times the patience in all


class Waited(Protocol):
    """Whoever holds a lock; as text it is what a person needs to find it."""

    @property
    def pid(self) -> int:
        """A number that tells one holder from another."""

    @property
    def is_stopped(self) -> bool:
        """Whether it is known to do nothing until a person lets it go on."""


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The process that holds a lock, as the system tells; `command` and `state` are empty when it tells nothing."""

    pid: int
    command: str = ""
    since: str = ""
    state: str = ""

    @property
    def is_stopped(self) -> bool:
        """Whether the process was stopped (Ctrl-Z, SIGSTOP, a debugger): it frees nothing until it goes on."""
        return self.state in ("stopped", "tracing-stop")

    def __str__(self) -> str:
        about = f" ({self.command})" if self.command else ""
        since = f", running since {self.since}" if self.since else ""
        stopped = f", which is stopped: `kill -CONT {self.pid}` lets it go on" if self.is_stopped else ""
        return f"process {self.pid}{about}{since}{stopped}"


@contextmanager
def exclusive(path: Path, *, seconds: float | None = None, talkative: bool = True) -> Iterator[None]:
    """Wait for the lock file `path` and hold it for the block; the system frees it when its holder ends.

    Raises `LockHeldError` when one process holds it for `seconds` (by default half of `EBBDOOR_STORE_PATIENCE`: 30), or
    many one after another for ten times as long. Standard error is told whom we wait for; unless `talkative` only when
    that process is stopped. The file stays: removing it would race. A link in its place is not followed: others may
    write to the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "w"):
        if not _taken(descriptor):
            await_lock(
                lambda: _taken(descriptor), lambda: lock_holder(descriptor), str(path), seconds, talkative=talkative
            )
        yield


def await_lock(
    taken: Callable[[], bool],
    held_by: Callable[[], Waited | None],
    name: str,
    seconds: float | None = None,
    *,
    talkative: bool = True,
) -> None:
    """Return once `taken`, which tries to take the lock `name`, returns True; see `exclusive` for how long it waits."""
    seconds = patience() / 2 if seconds is None else seconds
    began = changed = time.monotonic()
    holder, told = held_by(), False
    while not taken():
        now, found = time.monotonic(), held_by()
        if found is not None and holder is not None and found.pid != holder.pid:
            changed = now
        holder = found or holder
        if now - changed >= seconds or now - began >= _TURNS * seconds:
            raise LockHeldError(_sentence(name, holder, now - began))
        if not told and now - began >= _SILENT and (talkative or (holder is not None and holder.is_stopped)):
            told = True
            sys.stderr.write(f"waiting for {name}, which is held by {_who(holder)}\n")
            sys.stderr.flush()
        time.sleep(min(_PAUSE, seconds))


def lock_holder(descriptor: int) -> LockHolder | None:
    """Return who holds a lock on an open file, where the system tells (Linux), else None."""
    try:
        status = os.fstat(descriptor)
        lines = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return None
    inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:  # `1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF`; one that waits has `->` before FLOCK
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == inode and words[4].isdigit() and words[4] != "0":
            return _about(int(words[4]))
    return None


def _about(pid: int) -> LockHolder:
    import psutil

    try:
        process = psutil.Process(pid)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.create_time()))
        return LockHolder(pid, " ".join(" ".join(process.cmdline()).split())[:120], since, str(process.status()))
    except psutil.Error:  # it has ended, and a process that it started keeps the file open; or it is another user's
        return LockHolder(pid)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _who(holder: Waited | None) -> str:
    return "a process of which the system says nothing" if holder is None else str(holder)


def _sentence(name: str, holder: Waited | None, seconds: float) -> str:
    return (
        f"expected {name} to be free, got it held by {_who(holder)} ({seconds:.0f} s waited); "
        "let that process go on or end it, then try again"
    )
