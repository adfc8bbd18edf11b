"""Whether a child process whose answer is waited for can give one: it may be dead, stopped, or compute nothing.

A training step may take hours, so there is no limit of time: only what the system says of the process counts. A dead
one is the caller's to deal with; of one that is stopped or computes nothing, standard error is told, and the wait
goes on.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final, final

import psutil

from simulator.system.holder import is_stopped
from simulator.system.messages import ChannelClosed

#: seconds without computing after which standard error is told
IDLE_SECONDS: Final = 600.0
#: seconds of computing within them that still count as none: an idle process wakes up now and then
_IDLE_CPU: Final = 1.0
#: seconds between two looks at what it has computed, which takes a while
_CPU_LOOK_SECONDS: Final = 30.0


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


@final
class Liveness:
    """Looks at one child process while its answer is waited for; `asked` says in words what it was asked for."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        say: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._process = process
        self._say = _say if say is None else say
        self._clock = clock
        self.expect("")

    def expect(self, asked: str) -> None:
        """Begin to wait anew: for the answer to what was `asked`."""
        self._asked = asked
        self._stopped_looks = 0
        self._idle_told = False
        self._looked = self._active = self._clock()
        self._cpu: float | None = None

    def look(self) -> None:
        """Say what keeps the process from answering; raise `ChannelClosed` when it has ended.

        Its socket may be open all the same: a process that it has forked may hold it.
        """
        if self._process.poll() is not None:
            raise ChannelClosed("the other process is gone")
        if not self._is_stopped():
            self._look_at_cpu()

    def _is_stopped(self) -> bool:
        """Whether it is stopped; told at the second look, since Ctrl-Z and `fg` may meet this process first."""
        stopped = is_stopped(self._process.pid)
        if self._stopped_looks > 1 and not stopped:
            self._say(f"process {self._process.pid} goes on with {self._asked}")
        self._stopped_looks = self._stopped_looks + 1 if stopped else 0
        if self._stopped_looks == 2:
            pid = self._process.pid
            self._say(
                f"process {pid}, asked for {self._asked}, is stopped and waited for: let it go on with "
                f"`kill -CONT {pid}`, or end it with `kill -KILL {pid}`"
            )
        if stopped:
            self._cpu = None
        return stopped

    def _look_at_cpu(self) -> None:
        now = self._clock()
        if self._idle_told or now - self._looked < _CPU_LOOK_SECONDS:
            return
        paused = now - self._looked > 2 * _CPU_LOOK_SECONDS  # this process was stopped itself
        self._looked, used = now, _cpu_seconds(self._process.pid)
        if paused or self._cpu is None or abs(used - self._cpu) >= _IDLE_CPU:  # less: a child of it has ended
            self._cpu, self._active = used, now
        elif now - self._active >= IDLE_SECONDS:
            self._idle_told, pid = True, self._process.pid
            self._say(
                f"process {pid}, asked for {self._asked}, has computed nothing for {now - self._active:.0f} seconds "
                f"and is waited for: look at what it does, or end it with `kill -KILL {pid}`"
            )


def _cpu_seconds(pid: int) -> float:
    """Return the processor seconds of a process and all that it has started."""
    total = 0.0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return total
    for one in family:
        try:
            times = one.cpu_times()
        except psutil.Error:  # it has ended meanwhile
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
