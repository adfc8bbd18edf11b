"""Telling what defenses will cost, before anything is trained, to whoever began the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from simulator.errors import EbbdoorError

if TYPE_CHECKING:
    from simulator.scenario.model import Scenario

Say = Callable[[str], None]

#: where a command line in this process prints; it is no parameter, for it cannot travel to a flow
_SAY: ContextVar[Say | None] = ContextVar("_SAY", default=None)


@contextmanager
def telling(say: Say) -> Iterator[None]:
    """Let `tell_costs` print through `say` inside the block, also in flows that it calls."""
    token = _SAY.set(say)
    try:
        yield
    finally:
        _SAY.reset(token)


def tell_costs(scenarios: Iterable[Scenario], otherwise: Say | None = None) -> None:
    """Tell each cost once: to the command line that called, else to `otherwise`, if it is given.

    What is wrong with a scenario is left to its own checks.
    """
    say = _SAY.get() or otherwise
    if say is None:
        return
    from simulator.preflight.costs import costs_of_all

    with suppress(EbbdoorError):
        for line in costs_of_all(scenarios):
            say(line)
