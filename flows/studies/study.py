"""The flow `study`: a grid of scenarios x seeds, whose timelines the named executor plays."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from prefect import flow, get_run_logger

from flows.allowed import check_in_flow
from flows.displays.base import all_of
from flows.overrides import as_texts
from flows.parameters import Deployment, Executor, Overrides, PresetName, Quick, StudyOut, Workers
from flows.reporting.away import unless_away
from flows.reporting.stamps import STUDY, stamp
from flows.runs.costs import tell_costs
from flows.settings import TIMELINE, cache_folder, default_workspace, study_folder
from flows.studies.artifacts import StudyProgress, publish
from flows.studies.executors import executor_named
from simulator.study.expand import timelines_of
from simulator.study.load import load_study
from simulator.study.progress import Listen, StudyEvent, ignore
from simulator.study.run import UnfinishedStudy, play_study

#: how a command line in this process shows a study; it is no parameter, for a display cannot travel
DISPLAY: ContextVar[Listen] = ContextVar("DISPLAY", default=ignore)


@flow(name="study", persist_result=False, validate_parameters=True)  # type: ignore[untyped-decorator]
def study(
    study: PresetName,
    overrides: Overrides = {},  # noqa: B006 - Prefect copies parameters, and the form shows {}
    executor: Executor = "processes",
    workers: Workers | None = None,
    quick: Quick = False,
    out: StudyOut | None = None,
    deployment: Deployment = TIMELINE,
    accept_changed_code: bool = False,
) -> dict[str, Any]:
    """Play a study: what is complete in its folder is found, the other timelines are played, then tables are written.

    Begun again, with any executor, it goes on. Timelines that were played with other code of the user's own are refused
    unless `accept_changed_code` is set; then the study says so.
    """
    values = load_study(study, as_texts(overrides))
    settings = {each.setting: each.scenario for each in timelines_of(values)}.values()  # all, also with `quick`
    for scenario in settings:
        check_in_flow(scenario)
    tell_costs(settings, get_run_logger().warning)
    chosen = executor_named(executor, workers or values.workers, deployment)
    workspace = default_workspace()
    folder = study_folder(values.name, out, workspace)
    unless_away(stamp, f"{STUDY}{values.name}")
    listeners: list[Listen] = [StudyProgress(values.name), DISPLAY.get(), _log()]
    try:
        played = play_study(
            values,
            folder,
            chosen,
            cache_folder(workspace),
            all_of(listeners),
            quick,
            accept_changed_code=accept_changed_code,
        )
    except UnfinishedStudy as unfinished:
        publish(values, folder, unfinished.played)
        raise
    publish(values, folder, played)
    return {"study": values.name, "folder": str(folder), "timelines": len(played)}


def _log() -> Listen:
    logger = get_run_logger()

    def log(event: StudyEvent) -> None:
        if event.kind == "timeline-failed":
            logger.warning("timeline %s failed: %s", event.timeline, event.sentence)
        elif event.kind != "timeline-started":
            logger.info(event.counts)

    return log
