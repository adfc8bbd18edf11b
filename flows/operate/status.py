"""Every run that is known: where it stands, who holds it, what it waits for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows.operate.known import KnownRun, known_runs
from flows.operate.reconcile_stores import stores_of
from flows.operate.serving import serving_words
from flows.operate.wording import committed_words, holder_words, next_words, over, updates
from flows.runs.folder import RunFolder
from flows.runs.play import recorded
from simulator.errors import EbbdoorError, StoreUnavailableError

if TYPE_CHECKING:
    from simulator.production.registry.base import Ledger, Registry, RunHead, StoredRun

COLUMNS = ("run", "state", "committed", "serves", "holder", "waits for")


def run_status(workspace: Path) -> list[dict[str, str]]:
    """Return the `COLUMNS` of every run, newest first. Nothing is changed."""
    registry, ledger = stores_of(workspace)
    return [_row(registry, ledger, one) for one in known_runs(ledger, workspace)]


def _row(registry: Registry, ledger: Ledger, known: KnownRun) -> dict[str, str]:
    found, state = known.state, known.stored
    if state is None:
        return _columns(known.run, found, waits=known.fault)
    done = f"{max(updates(state), 0)} updates"
    if state.fault:
        return _columns(state.run, found, done, holder="unknown", waits=state.fault)
    holder = holder_words(state.holder)
    if state.status == "opening" and updates(state) < 0:
        waits = "nothing: it is being opened" if found == "running" else "`ebbdoor reconcile`"
        return _columns(state.run, found, "nothing", holder=holder, waits=waits)
    try:
        head = ledger.head(state.run)
        done = committed_words(state, int(head.scenario["periods"]))
        serves, asked = serving_words(registry, ledger, head)
        waits = "; ".join([*asked, _waits(registry, ledger, state, head, found, known.place)])
    except StoreUnavailableError:
        raise
    except EbbdoorError as error:  # what cannot be read of one run must not hide the others
        return _columns(state.run, found, done, holder=holder, waits=str(error))
    return _columns(state.run, found, done, serves, holder, waits)


def _columns(
    run: str, state: str, committed: str = "unknown", serves: str = "unknown", holder: str = "unknown", waits: str = ""
) -> dict[str, str]:
    return dict(zip(COLUMNS, (run, state, committed, serves, holder, waits), strict=True))


def _waits(
    registry: Registry, ledger: Ledger, state: StoredRun, head: RunHead, found: str, place: RunFolder | None
) -> str:
    if found == "running":
        return "nothing: it is being played"
    parts = [next_words(state, head, place)]
    if not over(state, int(head.scenario["periods"])):
        parts += _in_shadow(registry, ledger, head)
    if state.status in ("running", "opening") or state.holder is not None:
        parts.insert(0, "`ebbdoor reconcile`")
    return "; ".join(parts)


def _in_shadow(registry: Registry, ledger: Ledger, head: RunHead) -> list[str]:
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
            number = registry.numbers(key).get(challenger, challenger + 1)
            words.append(f"version {number} of '{key.name}', the challenger, in shadow, {seen} of {periods}")
    return words
