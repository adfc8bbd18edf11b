"""What a Prefect server says of a run's flow runs after `ebbdoor reconcile`: none may be called running for ever."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flows.places import Place

__all__ = ["flow_states", "reconcile", "still_running"]


def reconcile(environment: Mapping[str, str]) -> None:
    """Have the command line close what nobody works on; it ends this process."""
    os.environ.update(environment)
    from flows.cli import main

    main(["reconcile"])


def flow_states(place: Place) -> list[tuple[str, str]]:
    """Return the name and the state of every flow run of a run, oldest first. `PREFECT_API_URL` says where."""
    from prefect import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(limit=200, sort=FlowRunSort.START_TIME_ASC)
    return [(run.name, str(run.state_name)) for run in found if _is_of(run, place)]


def still_running(states: list[tuple[str, str]]) -> list[str]:
    """What is wrong with the states of a finished run's flow runs: one that goes on, or none that completed."""
    ended = ("Completed", "Crashed", "Failed", "Cancelled")
    wrong = [f"flow run '{name}' is called {state}" for name, state in states if state not in ended]
    return wrong if any(state == "Completed" for _, state in states) else [*wrong, f"no flow run completed: {states}"]


def _is_of(run: Any, place: Place) -> bool:
    given = str(run.parameters.get("run", ""))
    return place.run in (run.name, given) or given == str(place.folder)
