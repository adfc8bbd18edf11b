"""Which process plays a flow run: noted on it at its start, so that the end of the process can be proved later.

Prefect 3.8 keeps a process id without its host, and only for processes that a worker started; a process id alone proves
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from simulator.system.holder import Holder

#: tag of all flow runs that a deployment or the command line begins
TAG = "ebbdoor"

#: before a study's name where a run's name is expected; no run's name has a colon
STUDY = "study:"
#: likewise before the address of the first model of an audit
AUDIT = "audit:"

_PREFIX = "ebbdoor."


@dataclass(frozen=True, slots=True)
class Stamp:
    """The run (or `study:NAME`) that a flow run plays, and the process that plays it."""

    run: str
    holder: Holder


def stamp(run: str) -> None:
    """Note on the current flow run which run it plays (`STUDY` and a study's name for a study), and which process."""
    labels = {f"{_PREFIX}{name}": value for name, value in {"run": run, **Holder.current().values()}.items()}
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(flow_run.id, labels)


def stamp_of(found: FlowRun) -> Stamp | None:
    """Return what was noted on a flow run; None when it ended before it could, or is not one of ours."""
    noted = {name.removeprefix(_PREFIX): str(value) for name, value in found.labels.items() if name.startswith(_PREFIX)}
    if "run" not in noted or "pid" not in noted:
        return None
    return Stamp(noted["run"], Holder.of(noted, f"flow run '{found.name}'"))
