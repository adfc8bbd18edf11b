"""`ebbdoor reconcile`: close what MLflow and Prefect still call running though its process has ended.

The process table decides, never a clock. Prefect is imported here, and its flow runs are closed here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectException
from prefect.states import Crashed

from flows.operate.reconcile_stores import reconcile_stores, stores_of
from flows.operate.wording import Ask, Row, committed_words, left_alone, next_words, updates
from flows.reporting.stamps import AUDIT, STUDY, TAG, Stamp, stamp_of
from flows.runs.folder import RunFolder, runs, unreadable
from simulator.errors import StoreError, StoreUnavailableError

#: states of a flow run in which a process plays it, or is about to
UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]

_PAGE = 200


def reconcile(workspace: Path, ask: Ask, say: Callable[[str], None]) -> list[Row]:
    """Reconcile the stores in use, then the Prefect server in use; `say` tells what was not looked at."""
    folders = {place.run: place for place, _ in runs(workspace)}
    rows = reconcile_stores(workspace, ask, folders)
    for name, why in unreadable(workspace).items():
        rows.append(Row("folder", name, "unreadable", "unreadable", "left alone", why))
    if not os.environ.get("PREFECT_API_URL"):
        say("Prefect was not looked at: no server is known; start it with `ebbdoor up`, or set PREFECT_API_URL")
        return rows
    try:
        return rows + reconcile_flow_runs(ask, _following(workspace, folders))
    except StoreError as error:
        for row in rows:
            error.add_note(f"Before that, in MLflow: {row.run}: {row.done}")
        raise


def _following(workspace: Path, folders: dict[str, RunFolder]) -> Callable[[str], tuple[str, str]]:
    """What is committed of a run, and what to do next with it, as sentences of a flow run's message."""
    _, ledger = stores_of(workspace)
    states = {state.run: state for state in ledger.runs() if state.status != "opening"}

    def following(run: str) -> tuple[str, str]:
        if run.startswith(STUDY):
            return "the study's folder keeps what is complete", "begin it again: it goes on"
        if run.startswith(AUDIT):
            return "models keep what was found about them", "begin it again"
        if run not in states:
            return "nothing is committed", "begin it again"
        try:
            head = ledger.head(run)
        except StoreUnavailableError:
            raise
        except StoreError as error:  # it must not keep other flow runs from being closed
            return f"updates committed: {max(updates(states[run]), 0)}", str(error)
        committed = committed_words(states[run], int(head.scenario["periods"]))
        return f"updates committed: {committed}", next_words(states[run], head, folders.get(run))

    return following


def reconcile_flow_runs(ask: Ask, following: Callable[[str], tuple[str, str]]) -> list[Row]:
    """Reconcile every flow run of ours that is under way; never by clock.

    `following` returns what is committed of a run, and what to do next with it. Raises `StoreUnavailableError` when
    the server does not answer.
    """
    try:
        with get_client(sync_client=True) as client:
            return [_reconciled(client, found, ask, following) for found in list(_ours(client))]
    except (httpx.HTTPError, PrefectException, OSError) as error:
        raise StoreUnavailableError(
            f"expected the Prefect server to list and close flow runs, got {type(error).__name__}: {error}; "
            "see that it answers at PREFECT_API_URL, then repeat the command"
        ) from error


def _ours(client: SyncPrefectClient) -> Iterator[FlowRun]:
    under_way = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)))
    for offset in range(0, 1_000_000, _PAGE):
        page = client.read_flow_runs(flow_run_filter=under_way, limit=_PAGE, offset=offset)
        yield from (found for found in page if TAG in found.tags or stamp_of(found) is not None)
        if len(page) < _PAGE:
            return


def _reconciled(
    client: SyncPrefectClient, found: FlowRun, ask: Ask, following: Callable[[str], tuple[str, str]]
) -> Row:
    noted = stamp_of(found)
    run, was = noted.run if noted else found.name, str(found.state_name)
    alone = left_alone(noted.holder, ask) if noted else _unstamped(found, ask)
    if alone is not None:
        return Row("Prefect", run, was, was, *alone)
    committed, after = following(run)
    sentence = f"{_ended(noted)} and left it {was}; {committed}"
    if ask.dry_run:
        return Row("Prefect", run, was, was, f"would be crashed: {sentence}", after)
    message = f"{sentence}. Next: {after}. Said by `ebbdoor reconcile`."
    client.set_flow_run_state(found.id, Crashed(message=message), force=True)
    return Row("Prefect", run, was, "Crashed", f"flow run '{found.name}' crashed: {sentence}", after)


def _unstamped(found: FlowRun, ask: Ask) -> tuple[str, str] | None:
    """A flow run that never said which process it is: it has not begun yet, or its process ended before it could."""
    if ask.take_over:
        return None
    process = f"process {found.infrastructure_pid} of an unknown host" if found.infrastructure_pid else "no process yet"
    return (
        f"left alone: flow run '{found.name}' is begun by {process}, of which nothing can be known",
        "when no worker is about to begin it: `ebbdoor reconcile --take-over`",
    )


def _ended(noted: Stamp | None) -> str:
    if noted is None:
        return "its process never began it"
    ending = "ended" if noted.holder.is_dead else "is said to have ended"
    return f"process {noted.holder.pid} on host '{noted.holder.host}' {ending}"
