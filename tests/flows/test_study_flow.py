"""Studies under Prefect: equal records wherever timelines are played, and what a lost flow run costs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.flow_engine import run_flow
from prefect.states import Crashed

from flows.studies.executors import executor_named
from flows.studies.study import study
from flows.studies.timeline import timeline
from flows.studies.work_pool import WorkPool
from simulator.errors import PluginError, ScenarioError, WorkerError
from simulator.study.executors.base import TimelineEnd
from simulator.study.expand import timelines_of
from simulator.study.load import load_study
from simulator.study.play import play_here, read_timeline
from simulator.study.run import play_study

SERVED = "timeline/served"


@pytest.fixture
def path(tmp_path: Path, tiny_text: str) -> Path:
    """A study of three timelines, each a second of playing."""
    scenario = yaml.safe_load(tiny_text) | {"periods": 1, "arms": {"main": {}}}
    values = {"name": "small", "scenario": scenario, "seeds": [0, 1, 2]}
    values["quick"] = {"seeds": [1]}
    given = tmp_path / "small.yaml"
    given.write_text(yaml.safe_dump(values))
    return given


def records(folder: Path, path: Path) -> dict[str, dict[str, list[str]]]:
    """The digests of every complete timeline's records by line."""
    found = {each.name: read_timeline(folder, each) for each in timelines_of(load_study(str(path)))}
    return {
        name: {line: [entry.sha256 for entry in entries] for line, entries in played.entries.items()}
        for name, played in found.items()
        if played is not None
    }


@pytest.fixture(scope="module")
def served(prefect_server: None) -> str:
    """A deployment of the flow `timeline` without a work pool."""
    timeline.to_deployment("served").apply()
    return SERVED


def play(run: FlowRun) -> None:
    run_flow(timeline, flow_run=run, parameters=run.parameters, return_type="state")


def crash(run: FlowRun) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Crashed(message="its host is lost"), force=True)


@contextmanager
def working(treat: Callable[[FlowRun], None], crowd: int = 1) -> Iterator[list[int]]:
    """Take scheduled flow runs, one after another, as whoever serves the deployment; the value: how many waited.

    The first is taken half a second after a `crowd` waits.
    """
    scheduled = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    ended = threading.Event()
    waited: list[int] = []

    def work() -> None:
        with get_client(sync_client=True) as client:
            while not ended.is_set():
                found = client.read_flow_runs(flow_run_filter=scheduled)
                if len(found) >= (1 if waited else crowd):
                    time.sleep(0 if waited else 0.5)
                    waited.append(len(client.read_flow_runs(flow_run_filter=scheduled)))
                    treat(found[0])
                time.sleep(0.1)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield waited
    finally:
        ended.set()
        worker.join()


@pytest.mark.slow
def test_a_work_pool_plays_the_records_of_this_process_and_at_most_so_many_at_a_time(
    path: Path, workspace: Path, served: str
) -> None:
    values = load_study(str(path))
    for each in timelines_of(values):
        play_here(each, workspace / "here", None)
    with working(play, crowd=2) as waited:
        played = play_study(values, workspace / "there", WorkPool(workers=2, deployment=served), None)
    assert len(played) == 3
    assert max(waited) == 2
    assert records(workspace / "there", path) == records(workspace / "here", path)
    assert all(len(digests) == 2 for lines in records(workspace / "here", path).values() for digests in lines.values())


def ends(path: Path, folder: Path, treat: Callable[[FlowRun], None], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr("flows.studies.work_pool._SEEN", 0.0)
    values = load_study(str(path))
    seen: list[TimelineEnd] = []
    with working(treat):
        seen.extend(WorkPool(workers=3, deployment=SERVED).play(timelines_of(values), folder, None))
    return {end.name: end.error for end in seen}


def test_a_flow_run_that_is_lost_costs_its_timeline_and_no_other(
    path: Path, workspace: Path, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_here(timelines_of(load_study(str(path)))[0], workspace / "f", None)

    def treat(run: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            if run.parameters["name"] == "main-s2":
                client.delete_flow_run(run.id)
                return
        crash(run)

    found = ends(path, workspace / "f", treat, monkeypatch)
    assert found.pop("main-s0") is None  # its flow run crashed after the timeline was complete: the folder decides
    assert {type(error) for error in found.values()} == {WorkerError}
    assert "got Crashed: its host is lost" in str(found["main-s1"])
    assert "it was deleted" in str(found["main-s2"])


def test_a_worker_that_does_not_reach_the_folder_is_told_so(
    path: Path, workspace: Path, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.states import Completed

    def elsewhere(run: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Completed(), force=True)

    found = ends(path, workspace / "f", elsewhere, monkeypatch)
    assert len(found) == 3
    assert all("let the workers reach that folder under the same path" in str(error) for error in found.values())


def test_a_study_that_ends_early_has_its_flow_runs_cancelled(path: Path, workspace: Path, served: str) -> None:
    playing = WorkPool(workers=3, deployment=served).play(
        timelines_of(load_study(str(path))), workspace / "f", None, tell=lambda name: None
    )
    with working(lambda run: crash(run) if run.parameters["name"] == "main-s0" else None):
        assert next(playing).name == "main-s0"
        playing.close()
    with get_client(sync_client=True) as client:
        newest = sorted(client.read_flow_runs(), key=lambda run: str(run.created))[-3:]
    assert sorted(str(run.state_name) for run in newest) == ["Cancelled", "Cancelled", "Crashed"]


def test_a_deployment_that_is_not_there_is_refused(path: Path, workspace: Path, prefect_server: None) -> None:
    pool = WorkPool(workers=1, deployment="timeline/none-such")
    with pytest.raises(WorkerError, match=r"expected the deployment timeline/none-such .* `ebbdoor up`"):
        next(pool.play(timelines_of(load_study(str(path))), workspace / "f", None))


def test_a_timeline_is_played_once_and_a_wrong_name_is_refused(
    path: Path, workspace: Path, prefect_server: None
) -> None:
    folder = workspace / "f"
    note(path, folder)
    done = timeline(folder=str(folder), name="main-s0")
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file() and file.name[0] != "."}
    again = timeline(folder=str(folder), name="main-s0")
    assert (done["found"], again["found"]) == (False, True)
    assert before == {file: file.stat().st_mtime_ns for file in before}
    with pytest.raises(ScenarioError, match="expected a timeline of study 'small', got 'main-s9'"):
        timeline(folder=str(folder), name="main-s9")
    with pytest.raises(ScenarioError, match="expected a study in"):
        timeline(folder=str(workspace), name="main-s0")


def test_the_flow_shows_progress_settings_and_verdicts(path: Path, workspace: Path, prefect_server: None) -> None:
    claim = {"id": "erased", "sentence": "It goes.", "endpoint": {"measure": "clean/accuracy"}}
    sides = {"one": {"setting": "main"}, "other": {"value": 0.5}, "direction": "greater"}
    done = study(study=str(path), overrides={"claims": [claim | sides]}, quick=True, workers=1)
    assert done == {"study": "small", "folder": str(workspace / "studies" / "small"), "timelines": 1}
    shown = artifacts()
    assert shown["progress"] == 100
    assert [row["setting"] for row in json.loads(shown["study-settings"])] == ["main"]
    verdict = json.loads(shown["study-verdicts"])
    assert [(row["claim"], row["holds"]) for row in verdict] == [("erased", "undecided")]  # of one pair nothing follows


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_ray_is_missed_in_a_sentence() -> None:
    with pytest.raises(PluginError, match=r"expected the package ray .* got none; install ebbdoor\[ray\]"):
        executor_named("ray", 2)


def test_an_unknown_executor_is_refused() -> None:
    with pytest.raises(ScenarioError, match="processes, work-pool, ray, cohort, got 'threads'"):
        executor_named("threads")
    with pytest.raises(ScenarioError, match="expected workers to be at least 1, got 0"):
        executor_named("work-pool", 0)


def note(path: Path, folder: Path) -> None:
    """Write the study's note into its folder, and play nothing."""
    values = load_study(str(path))
    folder.mkdir(parents=True)
    noted = {"digest": values.digest(), "study": values.model_dump(mode="json")}
    (folder / "study.json").write_text(json.dumps(noted))


def artifacts() -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        answer = client._client.post("/artifacts/latest/filter", json={})
    return {item["key"]: item["data"] for item in answer.json()}
