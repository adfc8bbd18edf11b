"""The loop under Prefect: the same records, every stage seen, and what the pages show."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, get_client, tags
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.settings import PREFECT_API_URL

from flows.advance import advance
from flows.displays.base import Silent
from flows.execute import Order, execute
from flows.parameters import Execution
from flows.runs.folder import find_run_folder
from flows.simulate import simulate
from flows.tasks import as_task
from simulator.errors import RunHeldError, ScenarioError
from simulator.loop.events import Wrap, plain
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.production.registry.naming import lock_model
from simulator.scenario.load import load_scenario
from simulator.system.holder import Holder

HERE = Execution(processes=0)
ALONE: dict[str, Any] = {"twins": [], "arms": {"main": {}}}


def records(path: Path, wrap: Wrap) -> dict[str, list[str]]:
    scenario = load_scenario(str(path))
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "same")
    played = play(head, scenario, registry, ledger, wrap=wrap, processes=0)
    return {line: [entry.sha256 for entry in entries] for line, entries in played.items()}


def flow_run(name: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    assert len(found) == 1
    return found[0]


def artifacts(run: FlowRun) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        answer = client._client.post("/artifacts/filter", json={"flow_runs": {"id": {"any_": [str(run.id)]}}})
    return {item["key"]: item["data"] for item in answer.json()}


def task_runs(run: FlowRun) -> list[TaskRun]:
    with get_client(sync_client=True) as client:
        answer = client._client.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [str(run.id)]}}})
    return [TaskRun.model_validate(item) for item in answer.json()]


def test_a_flow_run_in_which_an_arm_diverged_says_so(tiny: Path, workspace: Path, prefect_server: None) -> None:
    arms = {"hot": {"recipe.update.schedule": {"use": "constant", "rate": 1e30}}, "calm": {}}
    done = simulate(scenario=str(tiny), overrides={"arms": arms, "twins": []}, run="hot-run", execution=HERE)
    assert done["committed"] == 2
    run = flow_run("hot-run")
    assert run.state is not None
    assert (run.state.is_completed(), run.state.name) == (True, "Diverged")
    assert "training of 'hot' diverged in period 1" in str(run.state.message)
    versions = json.loads(artifacts(run)["versions"])
    assert [(row["arm"], row["period"]) for row in versions if row["action"] == "diverged"] == [("hot", 1)]


def test_a_flow_commits_the_same_records_as_the_bare_loop(tiny: Path, prefect_server: None) -> None:
    @flow(name="same", persist_result=False)
    def same() -> dict[str, list[str]]:
        return records(tiny, as_task)

    bare = records(tiny, plain)
    assert {line: len(digests) for line, digests in bare.items()} == dict.fromkeys(
        ("slow", "slow.twin", "fast", "fast.twin"), 3
    )
    assert same() == bare


def test_simulate_shows_its_stages_versions_and_verdict(tiny: Path, workspace: Path, prefect_server: None) -> None:
    result = simulate(scenario=str(tiny), overrides={"periods": 1, "twins": []}, seed=3, run="shown", execution=HERE)
    assert result == {"run": "shown", "folder": str(workspace / "shown"), "committed": 1}
    assert {path.name for path in (workspace / "shown").iterdir()} == {
        "run.json",
        "periods.jsonl",
        "summary.json",
        "scenario.yaml",
        "report.html",
    }
    run = flow_run("shown")
    assert run.state_name == "Completed"
    found = artifacts(run)
    assert found["progress"] == 100
    assert "slow" in found["verdict"]
    rows = json.loads(found["versions"])
    assert [(row["arm"], row["period"]) for row in rows] == [(a, p) for a in ("slow", "fast") for p in (0, 1)]


def test_a_scenario_that_cannot_be_played_is_refused_before_its_run_is_opened(
    tiny: Path, workspace: Path, prefect_server: None
) -> None:
    with pytest.raises(ScenarioError, match="size"):
        simulate(scenario=str(tiny), overrides={"attack.size": 40}, run="bad", execution=HERE)
    assert not (workspace / "bad").exists()
    assert not (workspace / "mlflow.db").exists()


def test_every_stage_is_a_task_named_after_its_line_and_period_and_without_a_tag(
    tiny: Path, stocked: Path, prefect_server: None
) -> None:
    with tags("kept-by-the-flow-run"):  # before a task with a tag begins, Prefect asks its server, which may be away
        simulate(scenario=str(tiny), run="stages", until=0, execution=HERE)
    stages = ("ingest", "monitor", "train", "register", "probe", "commit")
    wanted = {f"{stage} {line} period 0" for stage in stages for line in ("slow", "slow.twin", "fast", "fast.twin")}
    names: set[str] = set()
    deadline = time.monotonic() + 120  # the server learns of tasks from events, a little later
    while not wanted <= names and time.monotonic() < deadline:
        names = {task.name for task in task_runs(flow_run("stages"))}
    assert wanted <= names
    run = flow_run("stages")
    assert run.tags == ["kept-by-the-flow-run"]
    assert {tuple(task.tags) for task in task_runs(run)} == {()}


def test_advance_plays_one_period_from_the_ledger_and_says_so(tiny: Path, stocked: Path, prefect_server: None) -> None:
    simulate(scenario=str(tiny), overrides=ALONE, run="steps", until=0, execution=HERE)
    messages = []
    for _ in range(3):
        state = advance(run="steps", execution=HERE, return_state=True)
        assert state.is_completed()
        messages.append(state.message)
    assert messages == [
        "run steps has committed period 1 of 2",
        "run steps has committed period 2 of 2",
        "run steps is complete: all its 2 updates are committed",
    ]


def test_advance_takes_the_newest_open_run_and_says_when_there_is_none(
    tiny: Path, stocked: Path, prefect_server: None
) -> None:
    assert advance(return_state=True).message.startswith("no run is open")
    simulate(scenario=str(tiny), overrides=ALONE, run="open", until=0, execution=HERE)
    assert advance(execution=HERE, periods=None, return_state=True).message == "run open has committed period 2 of 2"
    assert advance(return_state=True).message.startswith("no run is open")


def test_advance_leaves_a_run_alone_that_another_process_holds(
    tiny: Path, stocked: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is written as that process would: see tests/registry/test_one_writer.py for who writes it."""
    from mlflow import MlflowClient

    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    simulate(scenario=str(tiny), overrides=ALONE, run="held", until=0, execution=HERE)
    code = (
        "import sys\n"
        "from simulator.system.holder import Holder\n"
        "print(*Holder.current().values().values(), sep='\\n', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        told = Holder(*(holder.stdout.readline().strip() for _ in fields(Holder)))
        uri = f"sqlite:///{stocked / 'mlflow.db'}"
        client = MlflowClient(uri, registry_uri=uri)
        client.create_registered_model(lock_model("held"), tags={"run": "held", **told.values()})
        state = advance(run="held", execution=HERE, return_state=True)
        asked = advance(run="held", retrain="why", execution=HERE, return_state=True)
        with pytest.raises(RunHeldError, match="expected run 'held' to be free"):  # a person is told by an exit code
            execute(Order(find_run_folder("held", stocked)), lambda scenario: Silent(), print)
        holder.stdin.close()
    assert state.is_completed()
    assert "nothing was played" in state.message
    assert asked.is_failed()  # what was asked for is not noted
    assert find_run_folder("held", stocked).run == "held"


@pytest.mark.parametrize(
    ("flow_", "parameters", "sentence"),
    [
        (simulate, {"scenaro": "quickstart"}, "scenaro"),
        (simulate, {"execution": {"procesess": 1}}, "Extra inputs are not permitted"),
        (simulate, {"device": "gpu"}, "device"),
        (simulate, {"seed": -1}, "seed"),
        (simulate, {"run": "a/b"}, "run"),
        (simulate, {"until": -1}, "until"),
        (advance, {"periods": -1}, "periods"),
        (advance, {"run": ""}, "run"),
    ],
)
def test_wrong_parameters_are_refused(flow_: Any, parameters: dict[str, Any], sentence: str) -> None:
    from prefect.exceptions import ParameterTypeError, SignatureMismatchError

    with pytest.raises((ParameterTypeError, SignatureMismatchError), match=sentence):
        flow_.validate_parameters(parameters)


def test_the_form_describes_every_parameter_and_allows_no_other_key() -> None:
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(simulate).model_dump_for_openapi()
    properties = schema["properties"]
    names = ["scenario", "overrides", "seed", "device", "run", "out", "until", "live", "every", "execution"]
    assert list(properties) == names
    assert schema["definitions"]["Execution"]["additionalProperties"] is False
