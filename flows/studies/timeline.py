"""The flow `timeline`: one timeline of a study's folder, wherever the folder can be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger

from flows.allowed import check_in_flow
from flows.parameters import Cache, Folder, TimelineName
from flows.reporting.away import unless_away
from flows.reporting.stamps import STUDY, stamp
from simulator.errors import ScenarioError
from simulator.study.executors.processes import play_alone
from simulator.study.expand import timelines_of
from simulator.study.play import read_timeline
from simulator.study.run import read_study
from simulator.study.timelines import Timeline


@flow(name="timeline", persist_result=False, validate_parameters=True)  # type: ignore[untyped-decorator]
def timeline(folder: Folder, name: TimelineName, cache: Cache | None = None) -> dict[str, Any]:
    """Play one timeline of the study in `folder`, unless it is complete there; called again, it changes nothing.

    The flow `study` calls it with the executor work-pool. Without `cache` nothing is cached.
    """
    path = Path(folder).absolute()
    wanted = _timeline(path, name)
    check_in_flow(wanted.scenario)
    unless_away(stamp, f"{STUDY}{wanted.study}")
    found = read_timeline(path, wanted) is not None
    if not found:
        play_alone(wanted, path, None if cache is None else Path(cache).absolute())
    get_run_logger().info("timeline %s %s in %s", name, "was complete" if found else "is complete", path)
    return {"timeline": name, "folder": str(path), "found": found}


def _timeline(folder: Path, name: str) -> Timeline:
    study = read_study(folder)
    for each in timelines_of(study):
        if each.name == name:
            return each
    raise ScenarioError(
        f"expected a timeline of study '{study.name}', got '{name}'; `ls {folder}` shows what is played"
    )
