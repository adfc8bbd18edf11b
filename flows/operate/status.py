"""Every run of the stores in use: where it stands, who holds it, what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flows.operate.reconcile_stores import stores_of
from flows.operate.wording import committed_words, holder_words, next_words, over, updates
from flows.runs.folder import RunFolder, runs
from flows.runs.play import recorded
from simulator.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from simulator.production.registry.base import Ledger, RunHead, StoredRun

COLUMNS = ("run", "state", "committed", "holder", "waits for")


def run_status(workspace: Path) -> list[dict[str, str]]:
    """Return the `COLUMNS` of every run, newest first. Nothing is changed."""
    _, ledger = stores_of(workspace)
    states = ledger.runs()
    folders = {place.run: place for place, _ in runs(workspace)} if states else {}
    return [_row(ledger, state, folders) for state in states]


def _row(ledger: Ledger, state: StoredRun, folders: Mapping[str, RunFolder]) -> dict[str, str]:
    found = _state(state)
    if state.status == "opening":
        committed, waits = "nothing", "nothing: it is being opened" if found == "running" else "`ebbdoor reconcile`"
    else:
        try:
            head = ledger.head(state.run)
            committed = committed_words(state, int(head.scenario["periods"]))
            waits = _waits(ledger, state, head, found, folders.get(state.run))
        except StoreUnavailableError:
            raise
        except StoreError as error:  # what cannot be read of one run must not hide the others
            committed, waits = f"{max(updates(state), 0)} updates", str(error)
    return dict(zip(COLUMNS, (state.run, found, committed, holder_words(state.holder), waits), strict=True))


def _state(state: StoredRun) -> str:
    """The store's word, unless who holds the run says otherwise."""
    if state.holder is not None and not state.holder.is_dead:
        return "running"
    return "interrupted" if state.status in ("running", "opening") else state.status


def _waits(ledger: Ledger, state: StoredRun, head: RunHead, found: str, place: RunFolder | None) -> str:
    if found == "running":
        return "nothing: it is being played"
    parts = [next_words(state, head, place)]
    if not over(state, int(head.scenario["periods"])):
        parts += _in_shadow(ledger, head)
    if state.status in ("running", "opening") or state.holder is not None:
        parts.insert(0, "`ebbdoor reconcile`")
    return "; ".join(parts)


def _in_shadow(ledger: Ledger, head: RunHead) -> list[str]:
    """Which challengers predict beside their champion, and for how much longer."""
    from simulator.production.lineage import LineageState
    from simulator.scenario.overrides import arm_scenario

    scenario = recorded(head)
    words = []
    for key in head.lineages:
        periods = arm_scenario(scenario, key.arm).shadow.periods
        if key.control != "none" or not periods:
            continue
        records = [entry.record for entry in ledger.entries(key)]
        challenger = LineageState.of(records, ledger.actions(key.arm)).challenger
        if challenger is not None:
            made = next(record.period for record in records if record.candidate == challenger)
            seen = records[-1].period - made  # in each period since it was trained it has predicted
            words.append(f"challenger {challenger} of '{key.name}' in shadow, {seen} of {periods}")
    return words
