"""Who writes to a run: a process on a host. That it has ended is read from the process table, never from a clock."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from uuid import uuid4

from simulator.errors import HeldElsewhereError, RunHeldError, StoreError

#: no system numbers its processes so high
_MOST_PIDS = 2**31


@dataclass(frozen=True, slots=True)
class Holder:
    """One writer: `host`, its `boot` (boot id and process namespace), `pid`, when it `started`, a random `token`.

    A host that was started again since, or another container, counts as another host: nothing proves its process dead.
    """

    host: str
    boot: str
    pid: str
    started: str
    token: str

    @staticmethod
    def current() -> Holder:
        """Return this process with a new token."""
        pid = os.getpid()
        return Holder(socket.gethostname(), _boot(), str(pid), started(pid) or "", uuid4().hex)

    @staticmethod
    def of(values: Mapping[str, str], where: str) -> Holder:
        """Return the holder written as `values`, or raise `StoreError` when they are not one."""
        try:
            found = Holder(*(str(values[field.name]) for field in fields(Holder)))
            known = found.pid.isascii() and found.pid.isdigit() and 0 <= int(found.pid) < _MOST_PIDS
        except (KeyError, TypeError, ValueError):
            known = False
        if not known:
            got = repr(dict(values) if isinstance(values, Mapping) else values)
            raise StoreError(
                f"expected {where} to name a host and a process, got {got[:200]}; when no process works on it, "
                "remove it by hand"
            )
        return found

    def values(self) -> dict[str, str]:
        """Return what `of` reads."""
        return asdict(self)

    @property
    def is_here(self) -> bool:
        """Whether the process is, or was, one of this host since it was started."""
        return self.host == socket.gethostname() and self.boot == _boot()

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; False when it cannot be known."""
        return self.is_here and started(int(self.pid)) != self.started

    @property
    def is_stopped(self) -> bool:
        """Whether the process is known to be stopped (Ctrl-Z, SIGSTOP): it frees nothing until it goes on."""
        return self.is_here and is_stopped(int(self.pid))

    def refuse_unless_free(self, run: str, take_over: bool) -> None:
        """Raise `RunHeldError` unless this holder is dead, or on another host and `take_over` is given."""
        if self.is_dead or (take_over and not self.is_here):
            return
        held = f"expected run '{run}' to be free, got one held by process {self.pid} on host '{self.host}'"
        if not self.is_here:
            raise HeldElsewhereError(
                f"{held}; if that process has ended, `ebbdoor reconcile --take-over` frees the run, "
                "and `resume` with `--take-over` goes on with it"
            )
        if self.is_stopped:
            raise RunHeldError(f"{held}; that process is stopped: let it go on with `kill -CONT {self.pid}`, or end it")
        raise RunHeldError(f"{held}; wait for it, or end that process")


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped; False when there is none."""
    import psutil

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return False


def started(pid: int) -> str | None:
    """Return when a process started, as text; None when there is no such process, or only its exit status is left.

    On Linux in clock ticks since the machine was started: setting the clock moves both times that psutil gives, and not
    their difference. Elsewhere as the date that `ps` prints.
    """
    import psutil

    booted = psutil.boot_time()
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        created = process.create_time()
    except psutil.NoSuchProcess:
        return None
    if sys.platform != "linux":
        return time.ctime(created)
    if psutil.boot_time() != booted:  # the clock was set just now
        return started(pid)
    return str(round((created - booted) * os.sysconf("SC_CLK_TCK")))


def _boot() -> str:
    """Return which start of the machine, and which container: psutil's boot time moves with the clock."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no /proc: the host's name must do
        return ""
