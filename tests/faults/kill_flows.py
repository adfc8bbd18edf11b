"""What MLflow and Prefect say of a run that was killed after `ebbdoor reconcile`: nothing may be called running."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flows.runs.folder import RunFolder

__all__ = ["called_running", "flow_states", "not_completed", "reconcile"]

_ENDED = ("Completed", "Crashed", "Failed", "Cancelled")


def reconcile(workspace: Path) -> None:
    """Have the command line close what nobody works on; it ends this process when something is wrong."""
    os.environ["EBBDOOR_WORKSPACE"] = str(workspace)
    from flows.cli import main

    main(["reconcile"])


def called_running(place: RunFolder) -> list[str]:
    """What MLflow or Prefect call running of a run that nobody works on."""
    from mlflow import MlflowClient

    uri = place.tracking_uri or f"sqlite:///{place.workspace / 'mlflow.db'}"
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("ebbdoor")
    runs = [] if experiment is None else client.search_runs([experiment.experiment_id], f"tags.run = '{place.run}'")
    wrong = [f"MLflow run {run.info.run_name} is called running" for run in runs if run.info.status == "RUNNING"]
    states = flow_states(place)
    return [*wrong, *[f"flow run '{name}' is called {state}" for name, state in states if state not in _ENDED]]


def flow_states(place: RunFolder) -> list[tuple[str, str]]:
    """Return the name and the state of every flow run of a run, oldest first. `PREFECT_API_URL` says where."""
    from prefect import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(limit=200, sort=FlowRunSort.START_TIME_ASC)
    return [(run.name, str(run.state_name)) for run in found if _is_of(run, place)]


def not_completed(place: RunFolder) -> list[str]:
    """What is wrong with a finished run that was played as a flow: no flow run completed it."""
    states = flow_states(place)
    return [] if any(state == "Completed" for _, state in states) else [f"no flow run completed: {states}"]


def _is_of(run: Any, place: RunFolder) -> bool:
    given = str(run.parameters.get("run", ""))
    return place.run in (run.name, given) or given == str(place.folder)
