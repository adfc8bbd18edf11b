"""The flow `advance`: the next period of an open run, from the ledger alone, in whatever process it is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.states import Completed

from flows.allowed import check_in_flow
from flows.live.catching_up import call_next
from flows.live.due import Due
from flows.live.due_now import due_now
from flows.live.requests import note_request
from flows.live.runs import in_turn, waiting_runs
from flows.live.waiting import open_when_free
from flows.parameters import Arm, Execution, Periods, Retrain, Run, Until
from flows.places import Place, find_place, place_of
from flows.playing import Stores, committed, export
from flows.reporting.away import unless_away
from flows.reporting.stamps import stamp
from flows.settings import default_workspace
from flows.simulate import play_as_tasks
from simulator.errors import RunHeldError, ScenarioError

__all__ = ["advance"]


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
