"""Open a run that somebody else may hold: wait for it a while, then say who holds it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from flows.parameters import Execution
from flows.places import Place
from flows.playing import Stores, open_place
from simulator.errors import RunHeldError
from simulator.scenario.model import Scenario

__all__ = ["open_when_free"]

_FIRST, _LONGEST = 0.5, 15.0


def open_when_free(
    stack: ExitStack, place: Place, execution: Execution, *, examine: Callable[[Scenario], None]
) -> Stores:
    """Enter `open_place` in `stack`; while another process holds the run, try again for `execution.wait` seconds.

    Raises `RunHeldError`, which names the holder, when that time is over.
    """
    deadline = time.monotonic() + execution.wait
    pause = _FIRST
    while True:
        try:
            return stack.enter_context(open_place(place, take_over=execution.take_over, examine=examine))
        except RunHeldError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST)
