"""The flow `advance`: the next period of an open run, from the ledger alone, in whatever process it is called.

It also notes in the ledger that an operator wants a retraining, and has the next due period played by another flow run
of the same deployment, so that each period is one flow run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import State, flow, get_client, get_run_logger
from prefect.states import Completed

from flows.allowed import check_in_flow, current_deployment
from flows.parameters import Arm, Execution, Periods, Retrain, Run, Until
from flows.reporting.away import unless_away
from flows.reporting.stamps import stamp
from flows.runs.due import Due
from flows.runs.folder import RunFolder, find_run_folder, run_folder_of
from flows.runs.play import Finished, Stores, export, last_committed
from flows.runs.queue import Waiting, due_now, in_turn, open_when_free, waiting_runs
from flows.settings import default_workspace
from flows.simulate import play_as_tasks
from simulator.errors import EbbdoorError, RunHeldError, ScenarioError
from simulator.observer.verdict import diverged_sentences
from simulator.records import LineageKey


@dataclass(frozen=True, slots=True)
class _Order:
    """The parameters of a flow run of `advance`."""

    periods: int | None
    until: int | None
    retrain: str | None
    arm: str | None
    execution: Execution


@dataclass(frozen=True, slots=True)
class _Step:
    """What became of a run: a sentence, and its last committed period (None: unknown).

    `played`: whether any period was; `held`: whether another process had the run.
    """

    sentence: str
    run: str | None = None
    committed: int | None = None
    played: bool = False
    held: bool = False


@flow(name="advance", persist_result=False, validate_parameters=True)  # type: ignore[untyped-decorator]
def advance(
    run: Run | None = None,
    periods: Periods | None = 1,
    until: Until | None = None,
    retrain: Retrain | None = None,
    arm: Arm | None = None,
    execution: Execution = Execution(),  # noqa: B008 - frozen
) -> State[dict[str, Any]]:
    """Play the next period of an open run, or the next several (null: all that are left), and stop.

    Of a live run only what is due is played. `retrain` notes first that the next period retrains, whatever the policy
    says; with `periods` 0 that is all.
    """
    if retrain is not None and run is None:
        raise ScenarioError("expected run to be given with retrain, got none; name the run that is to retrain")
    if arm is not None and retrain is None:
        raise ScenarioError(f"expected arm to come with retrain, got '{arm}' alone; say why it is to retrain")
    order = _Order(periods, until, retrain, arm, execution)
    steps: list[_Step] = []
    failures: list[Exception] = []
    for folder in _candidates(run):
        try:
            steps.append(_attempt(folder, order))
        except Exception as error:  # noqa: BLE001 - raised below: a run that cannot go on must not keep the others from it
            failures.append(error)
        if steps and steps[-1].played:
            break
    following = call_next(default_workspace(), execution) if steps and steps[-1].played else []
    if not failures:
        return _ended(steps or [_Step(_nothing_to_do())], following)
    for sentence in (*(step.sentence for step in steps), *following):
        failures[0].add_note(f"beside it: {sentence}")
    raise failures[0]


def _candidates(run: str | None) -> Iterator[RunFolder]:
    """The runs to try in turn. A run given by name needs no folder here: its name and the stores are enough."""
    workspace = default_workspace()
    if run is None:
        yield from (waiting.folder for waiting in in_turn(waiting_runs(workspace)))
        return
    try:
        yield find_run_folder(run, workspace)
    except ScenarioError:
        yield run_folder_of(run, None, workspace)


def _nothing_to_do() -> str:
    waiting = [each for each in waiting_runs(default_workspace()) if each.live]
    if not waiting:
        return "no run is open; start one with `ebbdoor run SCENARIO --until 0`"
    first = min(waiting, key=lambda each: each.since)
    return f"no live run is due; run {first.folder.run} waits for {first.due.words}"


def _attempt(folder: RunFolder, order: _Order) -> _Step:
    unless_away(stamp, folder.run)
    try:
        with ExitStack() as stack:
            stores = open_when_free(stack, folder, order.execution, examine=check_in_flow)
            return _advanced(folder, stores, order)
    except RunHeldError as error:
        if order.retrain is not None:  # the request could not be noted, which the caller must see
            raise
        return _Step(f"{error}; nothing was played", folder.run, held=True)


def _advanced(folder: RunFolder, stores: Stores, order: _Order) -> _Step:
    reached, length = last_committed(stores), stores.scenario.periods
    if reached >= length:
        done = export(folder, stores)  # it may have been killed between its last commit and its report
        sentence = f"run {folder.run} is complete: all its {length} updates are committed{_diverged(done)}"
        return _Step(sentence, folder.run, reached)
    noted = _note(stores, order)
    due = due_now(stores, get_run_logger().warning)
    if not due.playable or order.periods == 0:
        return _Step(f"{noted}run {folder.run} waits for {due.words}; nothing was played", folder.run, reached)
    finished = play_as_tasks(folder, stores, order.execution, until=_last(order, due, reached, length))
    sentence = f"{noted}run {folder.run} has committed period {finished.reached} of {length}{_diverged(finished)}"
    return _Step(sentence, folder.run, finished.reached, played=finished.reached > reached)


def _diverged(finished: Finished) -> str:
    return "".join(f"; {sentence}" for sentence in diverged_sentences(finished.ended))


def _note(stores: Stores, order: _Order) -> str:
    """Note in the ledger that the next period is to retrain, and return a clause that says so."""
    if order.retrain is None:
        return ""
    arms = note_request(stores, order.arm, order.retrain)
    return f"noted that {', '.join(arms)} is to retrain; " if arms else "that was noted before; "


def _last(order: _Order, due: Due, reached: int, length: int) -> int:
    counted = length if order.periods is None else reached + order.periods
    return min(counted if order.until is None else order.until, due.last)


def _ended(steps: list[_Step], following: list[str]) -> State[dict[str, Any]]:
    last = steps[-1]
    message = "; ".join([*(step.sentence for step in steps), *following])
    get_run_logger().info(message)
    held_by = last.sentence if last.held else None
    return Completed(message=message, data={"run": last.run, "committed": last.committed, "held": held_by})


def note_request(stores: Stores, arm: str | None, reason: str) -> list[str]:
    """Have `arm` (None: every arm) retrain in its next period, and return the arms for which that was not noted yet.

    The caller holds the run's lock. A repeated flow run asks for the same again and changes nothing. An arm without a
    period left is skipped, unless it is the one named.
    """
    from simulator.loop.actions import request_retraining

    known = [key.arm for key in stores.head.lineages if key.control == "none"]
    noted = []
    for each in known if arm is None else [arm]:
        if each in known:  # `request_retraining` says which arms there are
            last = len(stores.ledger.entries(LineageKey(arm=each))) - 1
            same = ("retrain", last, reason)
            ended = any(end.lineage == LineageKey(arm=each) for end in stores.ledger.ends())
            if arm is None and (ended or last >= stores.scenario.periods):
                continue
            if any((action.kind, action.period, action.reason) == same for action in stores.ledger.actions(each)):
                continue
        request_retraining(stores.head, stores.ledger, each, reason)
        noted.append(each)
    return noted


#: Seconds to wait for a held run: each period gets one flow run, which must not end unused because an automation holds
#: the run for a moment.
_PATIENCE = 60.0


def call_next(workspace: Path, execution: Execution) -> list[str]:
    """Have the live runs that are due played next, and return a sentence for each; an empty list when none is due.

    Within a deployment's flow run each due run gets a flow run of the same deployment, once for a run and period.
    Elsewhere the sentences only say what is due.
    """
    try:
        runs = [waiting for waiting in in_turn(waiting_runs(workspace)) if waiting.live and waiting.due.called]
    except EbbdoorError as error:  # the period that was asked for has been played
        get_run_logger().warning("%s", error)
        return []
    deployment = current_deployment()
    sentences = []
    for waiting in runs:
        made = None if deployment is None else unless_away(_make, deployment, waiting, execution)
        then = f", flow run {made} is made for it" if made else ""
        sentences.append(f"run {waiting.folder.run} is due: {waiting.due.words}{then}")
    return sentences


def _make(deployment: UUID, waiting: Waiting, execution: Execution) -> str | None:
    run, period = waiting.folder.run, waiting.due.period
    patient = execution.model_copy(update={"wait": max(execution.wait, _PATIENCE)})
    parameters: dict[str, Any] = {"run": str(waiting.folder.folder), "execution": patient.model_dump(mode="json")}
    key = f"{run} period {period}"
    with get_client(sync_client=True) as client:
        made = client.create_flow_run_from_deployment(deployment, parameters=parameters, idempotency_key=key)
    # A flow run that exists already and has ended did not play the period; the schedule will.
    return None if made.state is not None and made.state.is_final() else str(made.name)
