"""The flow `advance`: the next period of an open run, from the ledger alone, in whatever process it is called.

After a period is played and another is due: a flow run of its own for it, so that each period is one.

What is asked of a run from outside, noted in its ledger once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import State, flow, get_client, get_run_logger
from prefect.context import FlowRunContext
from prefect.states import Completed

from flows.allowed import check_in_flow
from flows.parameters import Arm, Execution, Periods, Retrain, Run, Until
from flows.reporting.away import unless_away
from flows.reporting.stamps import stamp
from flows.runs.due import Due
from flows.runs.folder import Place, find_place, place_of
from flows.runs.play import Stores, committed, export
from flows.runs.queue import Waiting, called_runs, due_now, in_turn, open_when_free, waiting_runs
from flows.settings import default_workspace
from flows.simulate import play_as_tasks
from simulator.errors import EbbdoorError, RunHeldError, ScenarioError

__all__ = ["advance", "call_next", "note_request"]


def note_request(stores: Stores, arm: str | None, reason: str) -> list[str]:
    """Have `arm` (None: every arm) retrain in its next period, and return the arms for which that was not noted yet.

    The caller holds the run. A flow run that is repeated asks for the same again, and changes nothing. An arm that has
    no period left is passed over, unless it is the one named.
    """
    from simulator.loop.run import request_retraining

    arms = [key.arm for key in stores.head.lineages if key.control == "none"] if arm is None else [arm]
    noted = []
    for each in arms:
        if (arm is None and _is_complete(stores, each)) or _is_noted(stores, each, reason):
            continue
        request_retraining(stores.head, stores.ledger, each, reason)
        noted.append(each)
    return noted


def _last_committed(stores: Stores, arm: str) -> int:
    from simulator.records import LineageKey

    return len(stores.ledger.entries(LineageKey(arm=arm))) - 1


def _is_complete(stores: Stores, arm: str) -> bool:
    return _last_committed(stores, arm) >= stores.scenario.periods


def _is_noted(stores: Stores, arm: str, reason: str) -> bool:
    if arm not in {key.arm for key in stores.head.lineages}:
        return False  # `request_retraining` says which arms there are
    last = _last_committed(stores, arm)
    return any(
        (action.kind, action.period, action.reason) == ("retrain", last, reason)
        for action in stores.ledger.actions(arm)
    )


#: Seconds. It is made once for its period: while the answer to an alarm holds the run it must not end for nothing.
_PATIENCE = 60.0


def call_next(workspace: Path, execution: Execution) -> list[str]:
    """Have the live runs that are due played next, and say so; an empty list when none is.

    In a deployment's flow run each gets a flow run of the same deployment, made once for a run and period. Elsewhere it
    is only said what is due.
    """
    try:
        runs = called_runs(workspace)
    except EbbdoorError as error:  # what was asked for is done
        get_run_logger().warning("%s", error)
        return []
    deployment = _deployment()
    sentences = []
    for waiting in runs:
        made = None if deployment is None else unless_away(_make, deployment, waiting, execution)
        then = f", flow run {made} is made for it" if made else ""
        sentences.append(f"run {waiting.place.run} is due: {waiting.due.words}{then}")
    return sentences


def _deployment() -> UUID | None:
    context = FlowRunContext.get()
    return None if context is None or context.flow_run is None else context.flow_run.deployment_id


def _make(deployment: UUID, waiting: Waiting, execution: Execution) -> str | None:
    run, period = waiting.place.run, waiting.due.period
    patient = execution.model_copy(update={"wait": max(execution.wait, _PATIENCE)})
    parameters: dict[str, Any] = {"run": str(waiting.place.folder), "execution": patient.model_dump(mode="json")}
    key = f"{run} period {period}"
    with get_client(sync_client=True) as client:
        made = client.create_flow_run_from_deployment(deployment, parameters=parameters, idempotency_key=key)
    # One that was made before and has ended did not play the period: the schedule will.
    return None if made.state is not None and made.state.is_final() else str(made.name)


@dataclass(frozen=True, slots=True)
class _Order:
    """What a flow run of `advance` was asked for."""

    periods: int | None
    until: int | None
    retrain: str | None
    arm: str | None
    execution: Execution


@dataclass(frozen=True, slots=True)
class _Step:
    """What came of a run: a sentence, and its last committed period (None: not looked at).

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
    for place in _candidates(run):
        try:
            steps.append(_carried_out(place, order))
        except Exception as error:  # noqa: BLE001 - raised below: a run that cannot go on must not hold up the others
            failures.append(error)
        if steps and steps[-1].played:
            break
    called = call_next(default_workspace(), execution) if steps and steps[-1].played else []
    if not failures:
        return _ended(steps or [_Step(_nothing_to_do())], called)
    for sentence in (*(step.sentence for step in steps), *called):
        failures[0].add_note(f"beside it: {sentence}")
    raise failures[0]


def _candidates(run: str | None) -> Iterator[Place]:
    """The runs to try in turn. One that is named needs no folder here: its name and the stores are enough."""
    workspace = default_workspace()
    if run is None:
        yield from (waiting.place for waiting in in_turn(waiting_runs(workspace)))
        return
    try:
        yield find_place(run, workspace)
    except ScenarioError:
        yield place_of(run, None, workspace)


def _nothing_to_do() -> str:
    waiting = [each for each in waiting_runs(default_workspace()) if each.live]
    if not waiting:
        return "no run is open; start one with `ebbdoor run SCENARIO --until 0`"
    first = min(waiting, key=lambda each: each.since)
    return f"no live run is due; run {first.place.run} waits for {first.due.words}"


def _carried_out(place: Place, order: _Order) -> _Step:
    unless_away(stamp, place.run)
    try:
        with ExitStack() as stack:
            stores = open_when_free(stack, place, order.execution, examine=check_in_flow)
            return _advanced(place, stores, order)
    except RunHeldError as error:
        if order.retrain is not None:  # what was asked for is not noted: that must be seen
            raise
        return _Step(f"{error}; nothing was played", place.run, held=True)


def _advanced(place: Place, stores: Stores, order: _Order) -> _Step:
    reached, length = _reached(stores), stores.scenario.periods
    if reached >= length:
        export(place, stores)  # it may have been killed between its last commit and its report
        return _Step(f"run {place.run} is complete: all its {length} updates are committed", place.run, reached)
    asked = _asked(stores, order)
    due = due_now(stores, get_run_logger().warning)
    if not due.playable or order.periods == 0:
        return _Step(f"{asked}run {place.run} waits for {due.words}; nothing was played", place.run, reached)
    finished = play_as_tasks(place, stores, order.execution, until=_last(order, due, reached, length))
    sentence = f"{asked}run {place.run} has committed period {finished.reached} of {length}"
    return _Step(sentence, place.run, finished.reached, played=finished.reached > reached)


def _asked(stores: Stores, order: _Order) -> str:
    """Note what is asked of the next period; it stands until that is played, whoever plays it."""
    if order.retrain is None:
        return ""
    arms = note_request(stores, order.arm, order.retrain)
    return f"noted that {', '.join(arms)} is to retrain; " if arms else "that was noted before; "


def _reached(stores: Stores) -> int:
    return min(len(line) for line in committed(stores).values()) - 1


def _last(order: _Order, due: Due, reached: int, length: int) -> int:
    counted = length if order.periods is None else reached + order.periods
    return min(counted if order.until is None else order.until, due.last)


def _ended(steps: list[_Step], called: list[str]) -> State[dict[str, Any]]:
    last = steps[-1]
    message = "; ".join([*(step.sentence for step in steps), *called])
    get_run_logger().info(message)
    held_by = last.sentence if last.held else None
    return Completed(message=message, data={"run": last.run, "committed": last.committed, "held": held_by})
