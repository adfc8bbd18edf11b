"""Tell MLflow and Prefect the truth about runs whose processes have ended; processes decide it, never a clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from flows.operate.reconcile_stores import reconcile_stores, stores_of
from flows.operate.reconciled import Ask, Row
from flows.operate.words import committed_words, next_words, updates
from flows.places import Place, runs
from flows.studies.places import STAMPED
from simulator.errors import StoreError, StoreUnavailableError

__all__ = ["reconcile"]


def reconcile(workspace: Path, ask: Ask, say: Callable[[str], None]) -> list[Row]:
    """Reconcile the stores in use, then the Prefect server in use; `say` tells what was not looked at."""
    places = {place.run: place for place, _ in runs(workspace)}
    rows = reconcile_stores(workspace, ask, places)
    if not os.environ.get("PREFECT_API_URL"):
        say("Prefect was not looked at: no server is known; start it with `make up`, or set PREFECT_API_URL")
        return rows
    from flows.operate.reconcile_flow_runs import reconcile_flow_runs

    try:
        return rows + reconcile_flow_runs(ask, _following(workspace, places))
    except StoreError as error:
        for row in rows:
            error.add_note(f"Before that, in MLflow: {row.run}: {row.done}")
        raise


def _following(workspace: Path, places: dict[str, Place]) -> Callable[[str], tuple[str, str]]:
    """What is committed of a run, and what to do next with it, as sentences of a flow run's message."""
    _, ledger = stores_of(workspace)
    states = {state.run: state for state in ledger.runs() if state.status != "opening"}

    def following(run: str) -> tuple[str, str]:
        if run.startswith(STAMPED):
            return "the study's folder keeps what is complete", "begin it again: it goes on"
        if run not in states:
            return "nothing is committed", "begin it again"
        try:
            head = ledger.head(run)
        except StoreUnavailableError:
            raise
        except StoreError as error:  # it must not keep other flow runs from being closed
            return f"{max(updates(states[run]), 0)} updates are committed", str(error)
        committed = committed_words(states[run], int(head.scenario["periods"]))
        return f"{committed} updates are committed", next_words(states[run], head, places.get(run))

    return following
