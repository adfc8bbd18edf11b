"""The progress of a command that works step by step: what it says, and on a terminal the time left below it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO, final

from flows.displays.base import about


@final
class Steps:
    """How much of a command's work is done, by the clock `now`. `out` prints a line; `timed`: with the time left."""

    def __init__(
        self, what: str, out: Callable[[str], None], *, timed: bool = True, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._out, self._timed, self._now = what, out, timed, now
        self._begun = self._at = now()
        self._share = 0.0
        self._total = self._count = 0

    def done(self, share: float) -> None:
        """Note which share of the work is done, in [0, 1]."""
        self._share, self._at = share, self._now()

    def expect(self, total: int) -> None:
        """Note how many steps there will be."""
        self._total = total

    def step(self) -> None:
        """Note that one of the steps is done."""
        self._count += 1
        self.done(self._count / max(self._total, self._count))

    def say(self, text: str) -> None:
        """Print a line."""
        self._out(f"{text}{self._left()}" if self._timed else text)

    @property
    def line(self) -> str:
        """What is under way, since when, and the time left."""
        return f"{self._what}, {about(self._now() - self._begun)} so far{self._left()}"

    def _left(self) -> str:
        """What takes longer than the steps before lets the time left stand, so that it does not reach 0 too early."""
        if self._share in (0.0, 1.0):
            return ""
        took, since = self._at - self._begun, self._now() - self._at
        left = took / self._share * (1 - self._share)
        return f", about {about(max(left - since, left / 2))} left"


@contextmanager
def steps(what: str, stream: TextIO | None = None) -> Iterator[Steps]:
    """Show that `what` is under way, on a terminal in a line that is gone at the end; in a log only what is said."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield Steps(what, partial(print, file=stream, flush=True))
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=stream)
    shown = Steps(what, lambda text: console.print(Text(text)), timed=False)
    with Live(
        get_renderable=lambda: Text(shown.line, style="dim"), console=console, refresh_per_second=2, transient=True
    ) as live:
        live.refresh()
        yield shown
