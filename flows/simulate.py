"""The flow `simulate`: a run from its first period to its last, every stage a task."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_client, get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from flows.artifacts import Progress, publish_table, publish_verdict
from flows.display import Display, Silent
from flows.holders import stamp
from flows.overrides import as_texts, with_options
from flows.places import Place, place_of
from flows.playing import Finished, Stores, open_place, play_place
from flows.settings import default_workspace
from flows.tasks import as_task
from simulator.scenario.load import load_scenario
from simulator.scenario.model import Scenario
from simulator.stages import Event, Listen

__all__ = ["DISPLAY", "Execution", "play_as_tasks", "simulate"]

#: how a command line in this process shows a run of a scenario; it is no parameter, for a display cannot travel
DISPLAY: ContextVar[Callable[[Scenario], Display]] = ContextVar("DISPLAY", default=lambda scenario: Silent())

ScenarioName = Annotated[
    str, Field(min_length=1, max_length=4096, description="a preset's name, or a .yaml file's path")
]
Overrides = Annotated[dict[str, Any], Field(description='dotted keys and their values: {"stream.batch": 500}')]
Seed = Annotated[NonNegativeInt, Field(description="the scenario's seed")]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$", description="auto, cpu, cuda or cuda:N")]
RunName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$", description="the run's name; made up by default; an open one goes on"),
]
Out = Annotated[str, Field(description="the run's folder; by default it lies in the workspace under its name")]
Until = Annotated[NonNegativeInt, Field(description="stop after this period and leave the run open")]


class Execution(BaseModel):
    """How a run is carried out; none of it changes a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    processes: NonNegativeInt | None = Field(None, description="worker processes; 0: none; by default one an arm")
    take_over: bool = Field(False, description="become the writer of a run that another host holds")


@flow(name="simulate", persist_result=False, validate_parameters=True)  # type: ignore[untyped-decorator]
def simulate(
    scenario: ScenarioName = "quickstart",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters, and the form shows {}
    seed: Seed | None = None,
    device: Device | None = None,
    run: RunName | None = None,
    out: Out | None = None,
    until: Until | None = None,
    execution: Execution = Execution(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Play a scenario: data arrive, drift, the model is fine-tuned again and again, and a backdoor ebbs or does not."""
    values = load_scenario(scenario, with_options(as_texts(overrides), seed=seed, device=device))
    place = place_of(run or _own_name(values), Path(out) if out else None, default_workspace())
    stamp(place.run)
    with open_place(place, values, take_over=execution.take_over) as stores:
        finished = play_as_tasks(place, stores, execution, until=until)
    return {"run": place.run, "folder": str(place.folder), "committed": finished.reached}


def play_as_tasks(place: Place, stores: Stores, execution: Execution, *, until: int | None) -> Finished:
    """Play inside the current flow run, with its progress, table and verdict as artifacts."""
    from simulator.observer.summary import summarise
    from simulator.observer.verdict import verdict

    _rename(place.run)
    with DISPLAY.get()(stores.scenario) as display:
        listen = _all_of(Progress(), display, _log())
        finished = play_place(place, stores, wrap=as_task, listen=listen, until=until, processes=execution.processes)
    publish_table([entry.record for entries in finished.entries.values() for entry in entries])
    publish_verdict(place.run, verdict(summarise(finished.entries)), {**finished.links, "folder": str(place.folder)})
    return finished


def _own_name(scenario: Scenario) -> str:
    """The name a flow run gives its run: the same when Prefect retries it, so that a retry goes on."""
    when = flow_run.scheduled_start_time
    return f"{scenario.name}-s{scenario.seed}-{when:%Y%m%d-%H%M%S}-{str(flow_run.id)[:4]}"


def _rename(name: str) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=name)


def _log() -> Listen:
    logger = get_run_logger()

    def tell(event: Event) -> None:
        if event.kind == "period-committed" and event.control == "none":
            logger.info("%s period %d is committed", event.arm, event.period)

    return tell


def _all_of(*listeners: Callable[[Event], None]) -> Listen:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
