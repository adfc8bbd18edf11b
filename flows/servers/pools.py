"""Our work pools on a Prefect server, and what the server does by itself about our runs and flow runs.

Run in a process of its own, so that settings are read after they are set. `python -m flows.servers.pools make` makes
the pools, and the automation that notices a lost host; `answer` the one that calls a deployment, once the deployments
are registered; `clear` marks the runs that a stopped worker left running as crashed, for otherwise they stay so for
ever and count against the pool's limit.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from flows.operate.reconcile import UNDER_WAY
from flows.reporting.alarms import ALARM
from flows.reporting.stamps import TAG
from flows.servers.start import POOLS

#: the deployment that answers an alarm
ON_ALARM = "advance/on-alarm"

#: Six heartbeats, one every 30 s (`settings` and prefect.yaml say so): a busy machine, a slow database or a server
#: that starts again may lose a few of a living run, and a lost host need not be known sooner.
WINDOW = timedelta(seconds=180)

_LOST = (
    f"nothing was heard of it for {WINDOW.seconds} s: its host is lost. What was committed is kept; "
    "`ebbdoor status` says where the run stands, `ebbdoor reconcile` closes what it left open"
)


def zombies() -> AutomationCore:
    """A flow run of ours that has sent a heartbeat, and then nothing for `WINDOW`, has crashed: its host is lost."""
    return AutomationCore(
        name="ebbdoor: crash flow runs whose host is lost",
        tags=[TAG],
        description=f"No sign of a flow run for {WINDOW.seconds} s after a heartbeat. Go on with `ebbdoor resume DIR`.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
            after={"prefect.flow-run.heartbeat"},
            # any event of the flow run is a sign: one that is ending sends states, and no heartbeats any more
            expect={"prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=WINDOW,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=_LOST)],
    )


def retraining(deployment: UUID) -> AutomationCore:
    """An alarm of a live run after which the run itself did not retrain: the arm is to retrain in its next period."""
    reason = "drift alarm in period {{ event.payload.period }} by {{ event.payload.method }}"
    return AutomationCore(
        name="ebbdoor: retrain on a drift alarm",
        tags=[TAG],
        description=f"Calls {ON_ALARM} for the arm. The decision inside the flow is made without it.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "ebbdoor.run.*", "live": "true", "retrained": "false"},
            expect={ALARM},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment,
                parameters={
                    "run": _filled("{{ event.payload.run }}"),
                    "arm": _filled("{{ event.payload.arm }}"),
                    "retrain": _filled(reason),
                },
            )
        ],
    )


def ensure(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Make an automation, or bring ours of its name up to date; one that a person has switched off stays so.

    Ours carries our tag, or what an earlier version made says what ours says. Another of that name is left alone.
    """
    named = client.read_automations_by_name(wanted.name)
    found = [one for one in named if TAG in one.tags or one.description == wanted.description]
    if not found:
        client.create_automation(wanted)
        return
    client.update_automation(found[0].id, wanted.model_copy(update={"enabled": found[0].enabled}))
    for copy in found[1:]:
        client.delete_automation(copy.id)


def _filled(template: str) -> dict[str, Any]:
    return {"__prefect_kind": "jinja", "template": template}


def make(client: SyncPrefectClient) -> None:
    """Make the pools, or give those that are there our limits; install the automation that notices a lost host."""
    template = ProcessWorker.get_default_base_job_template()
    for name, limit in POOLS.items():
        pool = WorkPoolCreate(name=name, type="process", base_job_template=template, concurrency_limit=limit)
        client.create_work_pool(pool, overwrite=True)
    ensure(client, zombies())


def clear(client: SyncPrefectClient) -> int:
    """Mark runs under way in our pools as crashed and return how many. Call it when no worker of the pools is alive."""
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=list(POOLS))),
    )
    for run in runs:
        client.set_flow_run_state(run.id, Crashed(message="its worker was stopped by `ebbdoor down`"), force=True)
    return len(runs)


def answer(client: SyncPrefectClient) -> None:
    """Install the automation that calls a deployment; none where a prefect.yaml of the user's own lacks that one."""
    with suppress(ObjectNotFound):
        ensure(client, retraining(client.read_deployment_by_name(ON_ALARM).id))


if __name__ == "__main__":
    with get_client(sync_client=True) as connected:
        if sys.argv[1] == "clear":
            sys.stdout.write(f"{clear(connected)}\n")
        else:
            {"make": make, "answer": answer}[sys.argv[1]](connected)
