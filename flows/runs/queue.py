"""Live runs of a workspace: how one is opened, which one is next, what of it is due, and how to wait for its lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.runs.due import Due, due_of
from flows.runs.folder import RunFolder, noted_at, open_runs
from flows.runs.play import Stores, committed, open_place
from simulator.errors import RunHeldError, ScenarioError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from flows.parameters import Execution
    from simulator.production.registry.base import Ledger, StoredRun
    from simulator.records import LineageEnd
    from simulator.scenario.model import Scenario

#: seconds of the first and of the longest pause between two attempts to open a run
_FIRST, _LONGEST = 0.5, 15.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open run, what it waits for, and since when: its period's time, or when it was last advanced.

    `ended`: the lineages whose training diverged.
    """

    folder: RunFolder
    live: bool
    due: Due
    since: datetime
    ended: tuple[LineageEnd, ...] = ()


def live_values(scenario: Scenario, live: bool, every: float | None, until: int | None) -> dict[str, Any] | None:
    """Return `RunHead.live` of a run that is opened now; `ScenarioError` where the options exclude each other."""
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
    """Return the open runs whose folders lie in `workspace`, newest first, but those that their store has lost.

    A run whose head cannot be read is not live, and its words say why.
    """
    ledgers: dict[tuple[str | None, Path], tuple[Ledger, Mapping[str, StoredRun]]] = {}
    found: list[Waiting] = []
    for folder in open_runs(workspace):
        key = (folder.tracking_uri, folder.workspace)
        if key not in ledgers:
            try:
                ledgers[key] = _ledger(folder)
            except ScenarioError as refused:  # its folder names a server that the user did not
                found.append(Waiting(folder, False, Due(0, -1, str(refused)), noted_at(folder)))
                continue
        ledger, stored = ledgers[key]
        if folder.run in stored:
            try:
                found.append(_waiting(folder, ledger, stored[folder.run], now or datetime.now(UTC)))
            except StoreUnavailableError:
                raise
            except StoreError as error:
                found.append(Waiting(folder, False, Due(0, -1, str(error)), noted_at(folder)))
    return found


def in_turn(runs: Iterable[Waiting]) -> list[Waiting]:
    """Return the runs that may go on now, in the order in which they should.

    Of live runs first those that are due by clock or file, longest overdue first, then those that go on whenever they
    are advanced, longest idle first. Where no run is live, the newest.
    """
    runs = list(runs)
    live = [run for run in runs if run.live]
    if not live:
        return runs[:1]
    ready = [run for run in live if run.due.ready]
    return sorted(ready, key=lambda run: (not run.due.called, run.since))


def waiting_run(folder: RunFolder) -> Waiting:
    """Return what one run waits for; `StoreError` when its store does not know it."""
    ledger, stored = _ledger(folder)
    return _waiting(folder, ledger, stored.get(folder.run), datetime.now(UTC))


def _waiting(folder: RunFolder, ledger: Ledger, stored: StoredRun | None, now: datetime) -> Waiting:
    head = ledger.head(folder.run)
    committed, ended = ({}, ()) if stored is None else (stored.committed, stored.ended)
    due = due_of(head, committed, ended, now=now)
    return Waiting(folder, head.live is not None, due, due.when or noted_at(folder), ended)


def _ledger(folder: RunFolder) -> tuple[Ledger, Mapping[str, StoredRun]]:
    _, ledger = folder.open_stores()
    return ledger, {state.run: state for state in ledger.runs()}


def due_now(stores: Stores, report: Callable[[str], None]) -> Due:
    """Admit waiting files as periods, `report` which were set aside and why, and return what is due."""
    entries = committed(stores)
    if stores.scenario.stream.arrivals is not None:
        from simulator.world.arrivals.admit import admit

        reached = max(len(one) for one in entries.values()) - 1
        admitted = admit(stores.scenario, stores.head.run, committed=max(reached, 0))
        for name, reason in admitted.set_aside:
            report(f"set aside {name}: {reason}")
        if admitted.note:
            report(admitted.note)
    return due_of(stores.head, {name: len(one) for name, one in entries.items()}, stores.ledger.ends())


def open_when_free(
    stack: ExitStack, folder: RunFolder, execution: Execution, *, examine: Callable[[Scenario], None]
) -> Stores:
    """Enter `open_place` in `stack`; while another process holds the run, try again for `execution.wait` seconds.

    Raises `RunHeldError`, which names that process, when the time is over.
    """
    deadline = time.monotonic() + execution.wait
    pause = _FIRST
    while True:
        try:
            return stack.enter_context(
                open_place(
                    folder,
                    take_over=execution.take_over,
                    examine=examine,
                    accept_changed_code=execution.accept_changed_code,
                )
            )
        except RunHeldError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST)
