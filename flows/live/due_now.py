"""What may be played of a run that is held: files that wait in its drop folder are looked at first."""

from __future__ import annotations

from collections.abc import Callable

from flows.live.due import Due, due_of
from flows.playing import Stores, committed

__all__ = ["due_now"]


def due_now(stores: Stores, tell: Callable[[str], None]) -> Due:
    """Make waiting files periods, `tell` which were set aside and why, and return what is due."""
    entries = committed(stores)
    if stores.scenario.stream.arrivals is not None:
        from simulator.arrivals import admit

        reached = max(len(line) for line in entries.values()) - 1
        admitted = admit(stores.scenario, stores.head.run, committed=max(reached, 0))
        for name, reason in admitted.set_aside:
            tell(f"set aside {name}: {reason}")
        if admitted.note:
            tell(admitted.note)
    return due_of(stores.head, {name: len(line) for name, line in entries.items()})
