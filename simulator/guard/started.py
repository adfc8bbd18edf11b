"""Threads and processes that a plug-in has started and left at work.

Libraries keep threads and processes of their own (a pool of workers, a progress bar's), and ebbdoor starts some in
other threads meanwhile. So what counts is who asked for it: the innermost code outside the standard library. Python
tells an audit hook of each process before it starts, but not of threads: their `start` is wrapped.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, wraps
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, final

import psutil

from simulator.guard.own_files import is_standard, is_users_file

_PROCESS_EVENTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn")
#: seconds that a process has to end by itself: a forked one does the rest of its parent's work first
_PATIENCE = 15.0

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_processes = [0]


@final
@dataclass(frozen=True, slots=True)
class Started:
    """What was at work when a plug-in was called."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]
    processes: int

    @staticmethod
    def now() -> Started:
        return Started(frozenset(threading.enumerate()), _children(), _processes[0])

    def left(self) -> list[str]:
        """Return the names of what the user's own code has started since and that is still at work.

        Its processes are ended: nothing of ours waits for them.
        """
        return sorted((*self._threads_left(), *(self._processes_left() if _processes[0] != self.processes else ())))

    def noted_threads(self) -> list[str]:
        """Return the names of the threads that the user's own code has started since and that are still at work."""
        return sorted(f"thread {one.name}" for one in set(_threads) - self.threads if one.is_alive())

    def _threads_left(self) -> list[str]:
        new = set(threading.enumerate()) - self.threads
        return [f"thread {one.name}" for one in new if one.is_alive() and (one in _threads or _runs_users_code(one))]

    def _processes_left(self) -> list[str]:
        """Return the processes that are left, by number, after some patience; forked ones end by themselves."""
        kept = self.children | {getattr(resource_tracker._resource_tracker, "_pid", None)}
        end = time.monotonic() + _PATIENCE
        while (found := [pid for pid in _children() - kept if _is_alive(pid)]) and time.monotonic() < end:
            time.sleep(0.01)
        for pid in found:
            with suppress(psutil.Error):
                psutil.Process(pid).kill()
        return [f"process {pid}" for pid in found]


def forget_threads(before: frozenset[threading.Thread]) -> None:
    """Let those that were not there `before` go on: they are a defense's, which may be called in another process."""
    for one in set(_threads) - before:
        _threads.discard(one)


def _runs_users_code(thread: threading.Thread) -> bool:
    """Whether a thread runs a function of the user's own, whoever has started it."""
    target = getattr(thread, "_target", None) or type(thread).run
    code = getattr(getattr(target, "__func__", target), "__code__", None)
    return code is not None and _whose(code.co_filename) == "user's"


def _children() -> frozenset[int]:
    """The children of this process that this thread has started; all of them where the system does not tell."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
        return frozenset(int(pid) for pid in text.split())
    except OSError:
        return frozenset(child.pid for child in psutil.Process().children())


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    """Note that the user's own code starts a process."""
    if event in _PROCESS_EVENTS:
        _processes[0] += _is_users_doing()


def _noting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """Return `start`, which notes a thread that the user's own code starts."""

    @wraps(start)
    def noted(thread: threading.Thread) -> None:
        if _is_users_doing():
            _threads.add(thread)
        start(thread)

    return noted


def _is_users_doing() -> bool:
    """Whether the innermost code outside the standard library and this file is the user's own."""
    frame = sys._getframe(2)
    while frame is not None:
        whose = _whose(frame.f_code.co_filename)
        if whose:
            return whose == "user's"
        frame = frame.f_back  # type: ignore[assignment]
    return False


@cache
def _whose(name: str) -> str:
    """Whose a file is: the user's, another's, or empty for the standard library's and for code without a file."""
    if not os.path.isabs(name):
        return ""
    file = Path(name).resolve()
    if is_standard(file):
        return ""
    return "user's" if is_users_file(file) else "another's"


sys.addaudithook(_note)
threading.Thread.start = _noting(threading.Thread.start)  # type: ignore[method-assign,assignment]
