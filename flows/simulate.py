"""The flow `simulate`: a run from its first period to its last, or opened to go on live; every stage a task."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prefect import State, flow, get_client, get_run_logger
from prefect.context import TagsContext
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.allowed import check_in_flow
from flows.displays.base import Display, Silent, all_of, ended_words
from flows.overrides import as_texts, with_options
from flows.parameters import Device, Every, Execution, Out, Overrides, PresetName, RunName, Seed, Until
from flows.reporting.alarms import Alarms
from flows.reporting.artifacts import Progress, publish_end, publish_tables
from flows.reporting.away import unless_away
from flows.reporting.requests import Requests
from flows.reporting.stamps import stamp
from flows.runs.folder import RunFolder, run_folder_of
from flows.runs.play import Finished, Stores, checked, numbered, open_place, play_place
from flows.runs.queue import due_now, live_values
from flows.settings import default_workspace
from flows.tasks import as_task
from simulator.errors import StoreError
from simulator.loop.events import Event, Listen
from simulator.observer.verdict import diverged_sentences
from simulator.production.registry.base import Entry
from simulator.scenario.load import load_scenario
from simulator.scenario.model import Scenario
from simulator.system.ending import in_command

#: how a command line in this process shows a run of a scenario; it is no parameter, for a display cannot travel
DISPLAY: ContextVar[Callable[[Scenario], AbstractContextManager[Display[Event]]]] = ContextVar(
    "DISPLAY", default=lambda scenario: Silent()
)


@flow(name="simulate", persist_result=False, validate_parameters=True)  # type: ignore[untyped-decorator]
def simulate(
    scenario: PresetName = "quickstart",
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters, and the form shows {}
    seed: Seed | None = None,
    device: Device | None = None,
    run: RunName | None = None,
    out: Out | None = None,
    until: Until | None = None,
    live: bool = False,
    every: Every | None = None,
    execution: Execution = Execution(),  # noqa: B008 - frozen
) -> dict[str, Any] | State[dict[str, Any]]:
    """Play a scenario: data arrive, drift, the model is fine-tuned again and again, and a backdoor ebbs or does not.

    A live run is opened with period 0 and goes on by `advance`: `every` so many seconds, or whenever it is advanced.
    """
    values = load_scenario(scenario, with_options(as_texts(overrides), seed=seed, device=device))
    check_in_flow(values)
    pace = live_values(values, live, every, until)
    folder = run_folder_of(run or _own_name(values), Path(out) if out else None, default_workspace())
    unless_away(stamp, folder.run)
    accept = execution.accept_changed_code
    with (
        checked(values, get_run_logger().warning),
        open_place(folder, values, take_over=execution.take_over, live=pace, accept_changed_code=accept) as stores,
    ):
        due_now(stores, get_run_logger().warning)
        finished = play_as_tasks(folder, stores, execution, until=0 if live else until)
    data = {"run": folder.run, "folder": str(folder.folder), "committed": finished.reached}
    if not finished.ended:
        return data
    told = "; ".join(diverged_sentences(finished.ended))
    return Completed(name="Diverged", message=told, data=data)


def play_as_tasks(folder: RunFolder, stores: Stores, execution: Execution, *, until: int | None) -> Finished:
    """Play inside the current flow run. What was committed becomes artifacts, however it ends."""
    unless_away(_rename, folder.run)
    # Tasks do not inherit the flow run's tags: one with a tag begins only after the server has answered for that tag,
    # so that a server that is away would stop the run.
    with TagsContext(current_tags=set()), DISPLAY.get()(stores.scenario) as display:
        listeners: list[Listen] = [Progress(), Requests(), display, _log()]
        if stores.head.live is not None:
            listeners.append(Alarms())
        try:
            finished = play_place(
                folder,
                stores,
                wrap=as_task,
                listen=all_of(listeners),
                until=until,
                processes=execution.processes,
            )
        except BaseException as error:
            with suppress(StoreError):  # the error that ended the run is the one to see
                publish_tables(folder.run, _all(numbered(stores)), stores.ledger.ends())
            if isinstance(error, KeyboardInterrupt) and not in_command():
                raise TerminationSignal(signal.SIGTERM) from error  # Prefect knows a cancelled flow run by it
            raise
    _publish(finished)
    return finished


def _publish(finished: Finished) -> None:
    from simulator.observer.summary import summarise
    from simulator.observer.verdict import verdict

    place = finished.place
    publish_tables(place.run, _all(finished.entries), finished.ended)
    publish_end(place.run, verdict(summarise(finished.entries, finished.ended)), finished.links, place.folder)


def _all(lineages: Mapping[str, Sequence[Entry]]) -> list[Entry]:
    return [entry for entries in lineages.values() for entry in entries]


def _own_name(scenario: Scenario) -> str:
    """The default name of a flow run's run: the same when Prefect retries the flow run, so that a retry goes on."""
    when = flow_run.scheduled_start_time
    return f"{scenario.name}-s{scenario.seed}-{when:%Y%m%d-%H%M%S}-{str(flow_run.id)[:4]}"


def _rename(name: str) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=name)


def _log() -> Listen:
    logger = get_run_logger()

    def log(event: Event) -> None:
        if event.kind == "period-committed" and event.control == "none":
            logger.info("%s period %d is committed", event.arm, event.period)
        elif event.kind == "lineage-ended":
            logger.error("%s", ended_words(event))

    return log
