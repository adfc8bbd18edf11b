"""Live runs of a workspace: how one is opened, and which one is next.

What may be played of a run that is held: files that wait in its drop folder are looked at first.

Open a run that somebody else may hold: wait for it a while, then say who holds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.runs.due import Due, due_of
from flows.runs.folder import Place, noted_at, open_runs
from flows.runs.play import Stores, committed, open_place
from simulator.errors import RunHeldError, ScenarioError, StoreError, StoreUnavailableError

__all__ = [
    "Waiting",
    "called_runs",
    "due_now",
    "in_turn",
    "live_values",
    "open_when_free",
    "waiting_run",
    "waiting_runs",
]

if TYPE_CHECKING:
    from flows.parameters import Execution
    from simulator.production.registry.base import Ledger
    from simulator.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open run, what it waits for, and since when: its period's time, or when it was last advanced."""

    place: Place
    live: bool
    due: Due
    since: datetime


def live_values(scenario: Scenario, live: bool, every: float | None, until: int | None) -> dict[str, Any] | None:
    """Return what `RunHead.live` holds for a run that is opened now; `ScenarioError` for what does not go together."""
    if not live:
        if every is not None:
            raise ScenarioError(f"expected every to come with a live run, got {every:g} without; set live too")
        return None
    if until is not None:
        raise ScenarioError(f"expected a live run to be opened with period 0, got until {until}; leave until out")
    if every is not None and scenario.stream.arrivals is not None:
        raise ScenarioError(
            f"expected a drop folder or every to say when a period is due, got both; leave every ({every:g}) out"
        )
    return {"every": every, "since": datetime.now(UTC).isoformat(timespec="seconds")}


def waiting_runs(workspace: Path, *, now: datetime | None = None) -> list[Waiting]:
    """Return the open runs whose folders lie in `workspace`, newest first. One that its store lost is left out.

    One whose head cannot be read is no live run, and its words say why: it holds up no other.
    """
    ledgers: dict[tuple[str | None, Path], tuple[Ledger, Mapping[str, Mapping[str, int]]]] = {}
    found: list[Waiting] = []
    for place in open_runs(workspace):
        key = (place.tracking_uri, place.workspace)
        if key not in ledgers:
            ledgers[key] = _ledger(place)
        ledger, committed = ledgers[key]
        if place.run in committed:
            try:
                found.append(_waiting(place, ledger, committed[place.run], now or datetime.now(UTC)))
            except StoreUnavailableError:
                raise
            except StoreError as error:
                found.append(Waiting(place, False, Due(0, -1, str(error)), noted_at(place)))
    return found


def in_turn(runs: Iterable[Waiting]) -> list[Waiting]:
    """Return the runs that may go on now, the one to go on first first.

    Of live runs those that a clock or a file calls, longest overdue first, then those that go on whenever somebody
    asks, longest left alone first. Where no run is live, the newest.
    """
    runs = list(runs)
    live = [run for run in runs if run.live]
    if not live:
        return runs[:1]
    ready = [run for run in live if run.due.ready]
    return sorted(ready, key=lambda run: (not run.due.called, run.since))


def called_runs(workspace: Path) -> list[Waiting]:
    """Return the live runs that a clock or a file calls, longest overdue first."""
    return sorted((run for run in waiting_runs(workspace) if run.live and run.due.called), key=lambda run: run.since)


def waiting_run(place: Place) -> Waiting:
    """Return what one run waits for; `StoreError` when its store does not know it."""
    ledger, committed = _ledger(place)
    return _waiting(place, ledger, committed.get(place.run, {}), datetime.now(UTC))


def _waiting(place: Place, ledger: Ledger, committed: Mapping[str, int], now: datetime) -> Waiting:
    head = ledger.head(place.run)
    due = due_of(head, committed, now=now)
    return Waiting(place, head.live is not None, due, due.when or noted_at(place))


def _ledger(place: Place) -> tuple[Ledger, Mapping[str, Mapping[str, int]]]:
    _, ledger = place.open_stores()
    return ledger, {state.run: state.committed for state in ledger.runs()}


def due_now(stores: Stores, tell: Callable[[str], None]) -> Due:
    """Make waiting files periods, `tell` which were set aside and why, and return what is due."""
    entries = committed(stores)
    if stores.scenario.stream.arrivals is not None:
        from simulator.world.arrivals.admit import admit

        reached = max(len(line) for line in entries.values()) - 1
        admitted = admit(stores.scenario, stores.head.run, committed=max(reached, 0))
        for name, reason in admitted.set_aside:
            tell(f"set aside {name}: {reason}")
        if admitted.note:
            tell(admitted.note)
    return due_of(stores.head, {name: len(line) for name, line in entries.items()})


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
