"""After a period is played and another is due: a flow run of its own for it, so that each period is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_client, get_run_logger
from prefect.context import FlowRunContext

from flows.live.runs import Waiting, called_runs
from flows.parameters import Execution
from flows.reporting.away import unless_away
from simulator.errors import EbbdoorError

__all__ = ["call_next"]

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
