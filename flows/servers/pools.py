"""Work pools on a Prefect server, in a process of its own so that settings are read after they are set.

`python -m flows.servers.pools make` makes them, and the automation that notices a lost host; `clear` marks the runs
that a stopped worker left running as crashed, for otherwise they stay so for ever and count against the pool's limit.
"""

from __future__ import annotations

import sys

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
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from flows.operate.reconcile import UNDER_WAY
from flows.servers.automations import ensure, zombies
from flows.servers.start import POOLS


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


if __name__ == "__main__":
    with get_client(sync_client=True) as connected:
        if sys.argv[1] == "make":
            make(connected)
        else:
            sys.stdout.write(f"{clear(connected)}\n")
