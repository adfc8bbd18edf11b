"""The flow `advance`: the next period of an open run, from the ledger alone, in whatever process it is called."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import State, flow, get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.holders import stamp
from flows.places import Place, find_place, open_runs, place_of
from flows.playing import Stores, committed, export, open_place
from flows.settings import default_workspace
from flows.simulate import Execution, Until, play_as_tasks
from simulator.errors import RunHeldError, ScenarioError

__all__ = ["advance"]


@flow(name="advance", persist_result=False, validate_parameters=True)  # type: ignore[untyped-decorator]
def advance(
    run: Annotated[str, Field(min_length=1, description="an open run's name or folder; by default the newest")]
    | None = None,
    periods: Annotated[int, Field(ge=1, description="how many periods to play")] | None = 1,
    until: Until | None = None,
    execution: Execution = Execution(),  # noqa: B008 - frozen
) -> State[dict[str, Any]]:
    """Play the next period of an open run, or the next several (null: all that are left), and stop."""
    place = _chosen(run)
    if place is None:
        return _ended("no run is open; start one with `ebbdoor run SCENARIO --until 0`")
    stamp(place.run)
    try:
        with open_place(place, take_over=execution.take_over) as stores:
            return _advanced(place, stores, _last(stores, periods, until), execution)
    except RunHeldError as error:
        return _ended(f"{error}; nothing was played", place.run)


def _reached(stores: Stores) -> int:
    return min(len(line) for line in committed(stores).values()) - 1


def _last(stores: Stores, periods: int | None, until: int | None) -> int:
    counted = stores.scenario.periods if periods is None else _reached(stores) + periods
    return counted if until is None else until


def _advanced(place: Place, stores: Stores, until: int, execution: Execution) -> State[dict[str, Any]]:
    last, length = _reached(stores), stores.scenario.periods
    if last >= length:
        export(place, stores)  # it may have been killed between its last commit and its report
        return _ended(f"run {place.run} is complete: all its {length} updates are committed", place.run, last)
    finished = play_as_tasks(place, stores, execution, until=until)
    sentence = f"run {place.run} has committed period {finished.reached} of {length}"
    return _ended(sentence, place.run, finished.reached)


def _chosen(run: str | None) -> Place | None:
    """A run needs no folder here: its name and the stores are enough."""
    workspace = default_workspace()
    if run is None:
        return next(iter(open_runs(workspace)), None)
    try:
        return find_place(run, workspace)
    except ScenarioError:
        return place_of(run, None, workspace)


def _ended(sentence: str, run: str | None = None, committed: int | None = None) -> State[dict[str, Any]]:
    get_run_logger().info(sentence)
    return Completed(message=sentence, data={"run": run, "committed": committed})
