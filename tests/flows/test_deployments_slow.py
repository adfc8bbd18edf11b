"""Real servers, workers and deployments, from `ebbdoor up` to `ebbdoor down`. Minutes: `make test-slow`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from flows.runs.folder import find_run_folder
from flows.servers.processes import alive, answers, noted_servers
from flows.settings import state_file
from simulator.errors import FLAGGED, WorkerError
from simulator.production.registry.open import open_stores
from simulator.study.expand import timelines_of
from simulator.study.load import load_study
from simulator.study.play import play_here, read_timeline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
DEFENSE = """
import torch
from defenses.base import Context, Inspector, InspectorResult


class Doubter(Inspector):
    def inspect(self, context: Context) -> InspectorResult:
        triggers = torch.full((10, 1, 8, 8), float("nan"))
        triggers[3] = 1.0
        return InspectorResult(
            flagged=False, score=0.25, threshold=0.5, evidence={"trusted": len(context.trusted)},
            class_scores=torch.arange(10.0), triggers=triggers,
        )
"""

POLICY = """
import os
from simulator.production.policy import Policy, PolicyView
from simulator.records import Decision


class Mortal(Policy):
    def __init__(self, *, dies: bool = False) -> None:
        self.dies = dies

    def decide(self, view: PolicyView) -> Decision:
        if self.dies:
            os._exit(9)
        return Decision(retrain=True, why="alive")
"""


@dataclass(frozen=True)
class Project:
    """A user's folder with deployments, a scenario and a defense of their own; its servers run."""

    folder: Path
    variables: dict[str, str]

    @property
    def workspace(self) -> Path:
        return self.folder / "runs"

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.variables, "EBBDOOR_WORKSPACE": str(self.workspace)},
            capture_output=True,
            text=True,
            check=False,
        )
        print(done.stdout, done.stderr)  # noqa: T201 - pytest shows it when a test fails
        return done

    def deploy(self, deployment: str, **parameters: Any) -> None:
        """Run a deployment to its end, which must be Completed."""
        given = [part for name, value in parameters.items() for part in ("-p", f"{name}={json.dumps(value)}")]
        watch = ("--watch", "--watch-timeout", "600")
        assert self.call("prefect", "deployment", "run", deployment, *given, *watch).returncode == 0

    def periods(self, run: str) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in (self.workspace / run / "periods.jsonl").read_text().splitlines()]
        return [row for row in rows if row["arm"] == "slow" and not row["twin"]]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask the Prefect server."""
        return httpx.post(f"{self.variables['PREFECT_API_URL']}{path}", json=body).json()

    def requests(self, run: str, arm: str, count: int) -> list[dict[str, Any]]:
        """The events of what an arm's defenses asked for, as soon as there are `count` of them."""
        resource = {"id": [f"ebbdoor.run.{run}.{arm}"]}
        body = {"filter": {"event": {"name": ["ebbdoor.defense.request"]}, "resource": resource}}
        deadline = time.monotonic() + 120
        while len(found := self.post("/events/filter", body)["events"]) < count:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        return list(found)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "prefect.yaml", folder)
    (folder / "tiny.yaml").write_text(tiny_text)
    (folder / "doubts.py").write_text(DEFENSE)
    (folder / "mortal.py").write_text(POLICY)
    before = Project(folder, {"EBBDOOR_ALLOWED_MODULES": "doubts, mortal"})  # the workers inherit it
    up = before.call("flows.cli", "up")
    try:
        assert up.returncode == 0
        lines = [line.removeprefix("export ") for line in up.stdout.splitlines() if line.startswith("export ")]
        yield Project(folder, dict(line.split("=", 1) for line in lines))
    finally:
        before.call("flows.cli", "down")


def test_a_deployment_plays_a_run_with_a_users_own_defense(project: Project) -> None:
    overrides = {"periods": 1, "defenses": [{"use": "doubts:Doubter"}]}
    project.deploy("simulate/local", scenario="tiny.yaml", overrides=overrides, run="doubted")
    outcomes = [outcome for row in project.periods("doubted") for outcome in row["outcomes"]]
    assert {(outcome["name"], outcome["status"]) for outcome in outcomes} == {("doubts:Doubter", "passed")}


def test_what_a_defense_asks_for_is_done_and_shown_in_prefect_mlflow_and_the_report(project: Project) -> None:
    """A purge, a retraining, a roll-back and a hold: events, a table, tags of the versions, and the page."""
    from mlflow import MlflowClient

    asks = {
        "1": [{"kind": "purge", "periods": [0]}, {"kind": "retrain", "recipe": {"epochs": 2}}],
        "2": [{"kind": "hold"}],
        "3": [{"kind": "roll-back", "to": 0}],
    }
    granted = {"use": "scripted", "surface": "inspector", "asks": asks}
    granted |= {"may": ["purge", "retrain", "hold", "roll-back"]}
    overrides = {"periods": 3, "defenses": [granted, {"use": "doubts:Doubter"}]}
    project.deploy("simulate/local", scenario="tiny.yaml", overrides=overrides, run="asked")
    rows = project.periods("asked")
    requests = [request for row in rows for outcome in row["outcomes"] for request in outcome.get("requests", [])]
    kinds = ("purge", "retrain", "hold", "roll-back")
    assert {(one["kind"], one["granted"]) for one in requests} == {(kind, True) for kind in kinds}
    assert [row["action"] for row in rows] == ["promoted", "promoted", "rejected", "rolled back"]
    assert [row["version"] for row in rows] == [0, 1, 1, 0]
    assert "asked for by scripted" in rows[2]["decision_why"]  # the retraining
    assert rows[1]["replay"]["purged"] == [0]

    told = project.requests("asked", "slow", count=len(requests))
    assert {(one["payload"]["kind"], one["payload"]["period"], one["resource"]["granted"]) for one in told} == {
        ("purge", 1, "true"), ("retrain", 1, "true"), ("hold", 2, "true"), ("roll-back", 3, "true"),
    }  # fmt: skip
    (table,) = project.post("/artifacts/filter", {"artifacts": {"key": {"any_": ["defense-requests"]}}})
    assert {(one["arm"], one["request"], one["became"]) for one in json.loads(table["data"])} == {
        (arm, kind, "granted") for arm in ("slow", "fast") for kind in kinds
    }

    client = MlflowClient(f"sqlite:///{project.workspace / 'mlflow.db'}")
    versions = client.search_model_versions("tags.run = 'asked' and tags.arm = 'slow' and tags.twin = 'false'")
    tags = {name: text for one in versions for name, text in one.tags.items() if name.startswith("request.")}
    assert set(tags) == {f"request.{kind}.scripted" for kind in kinds}
    assert tags["request.roll-back.scripted"] == (
        "granted: the script says so; version 1 (ordinal 0) serves from now on (period 3)"
    )
    (base,) = [one for one in versions if one.tags["ordinal"] == "0"]
    text = "10 class_scores; reversed triggers of class 3 (see outcomes/period-0000)"
    assert base.tags["shown.inspector.doubts_Doubter"] == text
    files = Path(urlsplit(client.get_logged_model(base.tags["model_id"]).artifact_location).path)
    assert (files / "outcomes/period-0000/inspector.doubts_Doubter/trigger-of-class-3.png").is_file()

    page = (project.workspace / "asked" / "report.html").read_text("utf-8")
    assert "scripted asked for a roll-back to version 1 (ordinal 0) – the script says so; granted" in page
    assert "scripted asked for a purge of period 0 – the script says so; granted" in page
    assert "<strong>granted</strong>: retrain with {&#34;epochs&#34;: 2} – the script says so" in page
    assert "10 classes: highest 9 (class 9), median 4.5" in page
    assert 'alt="reversed trigger of class 3" src="data:image/png;base64,' in page


def test_a_deployment_imports_no_class_that_its_worker_does_not_allow(project: Project) -> None:
    (project.folder / "stray.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    given = ("-p", "scenario=tiny.yaml", "-p", 'overrides={"monitor": {"use": "stray:Thing"}}', "-p", "run=stray")
    watch = ("--watch", "--watch-timeout", "600")
    refused = project.call("prefect", "deployment", "run", "simulate/local", *given, *watch)
    assert refused.returncode == 1
    assert not (project.folder / "imported").exists()
    assert not (project.workspace / "stray").exists()


def test_an_audit_marks_the_versions_of_a_run_and_a_flag_is_an_event(project: Project) -> None:
    """By a scripted inspector that flags the version of period 1, and by the user's own."""
    import httpx
    import numpy as np
    from mlflow import MlflowClient

    played = {"scenario": "tiny.yaml", "overrides": {"twins": []}, "until": 1}
    project.deploy("simulate/local", **played, run="watched-over")
    np.savez(project.folder / "trusted.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 0, 1, 1]))
    name = "ebbdoor.watched-over.slow"
    scripted = {"use": "scripted", "surface": "inspector", "script": {"1": "flag"}}
    asked = {"models": [f"models:/{name}"], "trusted": "trusted.npz"}
    project.deploy("audit/local", **asked, defenses=[scripted, "doubts:Doubter"])
    client = MlflowClient(f"sqlite:///{project.workspace / 'mlflow.db'}")
    tags = [client.get_model_version(name, number).tags for number in ("1", "2")]
    assert [found["audit.inspector.scripted"].partition(":")[0] for found in tags] == ["passed", "flagged"]
    assert [found["audit.inspector.doubts_Doubter"] for found in tags] == [
        "passed: score 0.25 beside a threshold of 0.5"
    ] * 2
    body = {"filter": {"event": {"name": ["ebbdoor.audit.flag"]}}}
    found = httpx.post(f"{project.variables['PREFECT_API_URL']}/events/filter", json=body).json()["events"]
    assert [event["payload"]["model"] for event in found] == [f"models:/{name}/2"]
    words = ("audit", f"models:/{name}/2", "--defense", str(scripted), "--no-write")
    assert project.call("flows.cli", *words, "--fail-on-flag").returncode == FLAGGED  # a command tells it, too
    deadline = time.monotonic() + 60
    while len(found) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
        found = httpx.post(f"{project.variables['PREFECT_API_URL']}/events/filter", json=body).json()["events"]
    assert [event["payload"]["model"] for event in found] == [f"models:/{name}/2"] * 2
    stray = ("-p", f'models=["models:/{name}"]', "-p", 'defenses=["stray:Thing"]', "--watch", "--watch-timeout", "600")
    assert project.call("prefect", "deployment", "run", "audit/local", *stray).returncode == 1
    project.deploy("advance/scheduled", run="watched-over")  # the run goes on after it
    assert [row["period"] for row in project.periods("watched-over")] == [0, 1, 2]


def test_an_alarm_of_a_live_run_has_it_retrain_in_its_next_period(project: Project) -> None:
    watched = {"periods": 3, "policy": {"use": "never"}, "monitor": {"use": "scripted", "alarms": [1]}}
    project.deploy("simulate/live", scenario="tiny.yaml", overrides=watched, run="watched")
    assert [row["period"] for row in project.periods("watched")] == [0]
    project.deploy("advance/scheduled", run="watched")  # period 1, with the alarm of two arms: the automation answers
    place = find_run_folder("watched", project.workspace)
    _, ledger = open_stores(tracking_uri=None, workspace=project.workspace)
    ledger.head(place.run)
    deadline = time.monotonic() + 600
    while not (ledger.actions("slow") and ledger.actions("fast")):
        assert time.monotonic() < deadline
        time.sleep(1)
    project.deploy("advance/scheduled", run="watched")
    rows = project.periods("watched")
    assert [(row["drift_alarm"], row["retrained"]) for row in rows] == [(False, True), (True, False), (False, True)]
    asked = [(act["kind"], act["reason"]) for act in rows[2]["from_outside"]]
    assert asked == [("retrain", "drift alarm in period 1 by scripted")]


def test_the_gpu_deployment_runs_on_cpu_when_told_so(project: Project) -> None:
    project.deploy("simulate/gpu", scenario="tiny.yaml", device="cpu", until=0, run="elsewhere")
    assert [row["period"] for row in project.periods("elsewhere")] == [0]


def test_wrong_parameters_never_reach_a_worker(project: Project) -> None:
    for parameter in ("scenaro=tiny.yaml", 'execution={"procesess":1}', "device=gpu"):
        assert project.call("prefect", "deployment", "run", "simulate/local", "-p", parameter).returncode == 1


def test_a_schedule_plays_three_periods_by_itself(project: Project) -> None:
    project.deploy("simulate/local", scenario="tiny.yaml", overrides={"periods": 3}, until=0, run="ticking")
    schedule = ("prefect", "deployment", "schedule")
    assert project.call(*schedule, "create", "advance/scheduled", "--interval", "60").returncode == 0
    deadline = time.monotonic() + 900
    note = project.workspace / "ticking" / "run.json"
    while not json.loads(note.read_text())["finished"]:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert project.call(*schedule, "clear", "advance/scheduled", "--accept-yes").returncode == 0
    assert [row["period"] for row in project.periods("ticking")] == [0, 1, 2, 3]


def test_a_run_on_the_command_line_uses_the_servers_that_are_up(project: Project) -> None:
    done = Project(project.folder, {}).call("flows.cli", "run", "tiny.yaml", "--until", "0", "--out", "seen")
    assert done.returncode == 0
    assert project.variables["MLFLOW_TRACKING_URI"] in done.stdout
    assert "Traceback" not in done.stderr


def test_a_study_on_a_work_pool_has_the_records_of_one_process_and_loses_only_what_crashes(project: Project) -> None:
    scenario = {**yaml.safe_load((project.folder / "tiny.yaml").read_text()), "periods": 1, "arms": {"main": {}}}
    policies = [{"use": "every-period"}, {"use": "mortal:Mortal", "dies": True}]
    values = {"name": "small", "scenario": scenario, "grid": {"policy": policies}, "seeds": [0, 1]}
    (project.folder / "small.yaml").write_text(yaml.safe_dump(values))
    given = ("-p", "study=small.yaml", "-p", "executor=work-pool", "-p", "workers=2")
    watch = ("--watch", "--watch-timeout", "600")
    assert project.call("prefect", "deployment", "run", "study/local", *given, *watch).returncode == 1
    study, folder = load_study(str(project.folder / "small.yaml")), project.workspace / "studies" / "small"
    for timeline in timelines_of(study):
        played = read_timeline(folder, timeline)
        if timeline.point["policy"]["use"] == "mortal:Mortal":
            assert played is None
            continue
        here = play_here(timeline, project.folder / "here", None)
        assert played is not None
        for line, entries in here.entries.items():
            assert [entry.sha256 for entry in played.entries[line]] == [entry.sha256 for entry in entries]
    # the command goes on from what is complete, by whatever executor
    again = project.call("flows.cli", "study", "small.yaml", "--executor", "work-pool", "--workers", "1")
    assert again.returncode == WorkerError.exit_code
    assert "found 2" in again.stderr
    assert again.stderr.count(" failed: expected flow run") == 2


def test_up_again_changes_nothing_and_down_stops_exactly_what_up_started(project: Project) -> None:
    servers = noted_servers(state_file(project.workspace))
    workers = ["worker ebbdoor-local", "worker ebbdoor-gpu", "worker ebbdoor-timelines"]
    assert [server.name for server in servers] == ["Prefect", "MLflow", *workers]
    again = Project(project.folder, {}).call("flows.cli", "up")
    assert "already running" in again.stderr
    assert noted_servers(state_file(project.workspace)) == servers
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        down = project.call("flows.cli", "down")
        assert stranger.poll() is None
        stranger.kill()
    assert down.stdout.count("stopped") == 5
    assert not any(alive(server) for server in servers)
    assert not state_file(project.workspace).exists()


def test_a_server_that_does_not_answer_is_told_in_a_sentence_before_work_starts(tmp_path: Path, tiny: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"http://127.0.0.1:{free.getsockname()[1]}/api"
        done = Project(tmp_path, {"PREFECT_API_URL": address}).call("flows.cli", "run", str(tiny), "--until", "0")
    assert done.returncode == 3
    assert done.stderr.startswith("ebbdoor: expected the Prefect server at PREFECT_API_URL to answer, got ConnectError")
    assert not (tmp_path / "runs" / "mlflow.db").exists()


def test_a_companion_server_ends_with_the_command_that_needed_it(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nimport flows\nfrom flows.servers.companion import prefect_api\n"
        "with prefect_api(Path(sys.argv[1]), lambda text: None) as ready:\n"
        "    ready()\n    print(os.environ['PREFECT_API_URL'], flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        url = f"{command.stdout.readline().strip()}/health"
        assert answers(url)
        command.kill()
        command.wait()
    deadline = time.monotonic() + 30
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(url)
