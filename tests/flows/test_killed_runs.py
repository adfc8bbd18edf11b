"""Runs that are killed without a warning, as a power cut or the kernel would, and then gone on with.

The command line plays them in processes of its own on a real SQLite MLflow; what counts is that records, versions and
aliases are those of a run that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.runs.folder import find_run_folder
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.production.registry.open import open_stores
from simulator.scenario.load import load_scenario

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EBBDOOR = [sys.executable, "-m", "flows.cli"]
SCENARIO = """
name: tiny
periods: 3
device: cpu
stream: {base: 600, batch: 200, validation: 100, relearning: 40, test: 200}
drift: [{use: rotation, degrees: 5}]
attack: {use: patch, target: 0, size: 4}
campaign: {use: one-shot, rate: 0.1}
recipe:
  base: {epochs: 6, batch: 32, schedule: {use: one-cycle, peak: 0.1}}
  update: {epochs: 1, batch: 32}
trusted: {images: 60}
gate: {use: accuracy, tolerance: 0.2}
probes: [{use: attack-success}]
"""


@dataclass(frozen=True)
class Killed:
    """A workspace with a run that was killed, and its scenario."""

    workspace: Path
    scenario: Path

    def processes(self) -> list[str]:
        """The command lines of living processes that were given this workspace."""
        return [command for command in map(self._command, Path("/proc").glob("[0-9]*")) if command]

    def _command(self, process: Path) -> str:
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            mine = f"EBBDOOR_WORKSPACE={self.workspace}".encode() in (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended while we looked
            return ""
        return command if mine and state != "Z" and int(process.name) != os.getpid() else ""

    def client(self) -> Any:
        from mlflow import MlflowClient

        uri = f"sqlite:///{self.workspace / 'mlflow.db'}"
        return MlflowClient(uri, registry_uri=uri)


def is_commit(event: dict[str, Any], control: str, period: int) -> bool:
    return event["kind"] == "period-committed" and (event["control"], event["period"]) == (control, period)


def play_and_kill(folder: Path, control: str, period: int, *, wait: float, group: bool) -> Killed:
    """Play until a commit and `wait` times its period's seconds more, then SIGKILL the command, or all its group."""
    (folder / "tiny.yaml").write_text(SCENARIO)
    command = [*EBBDOOR, "run", "tiny.yaml", "--no-prefect", "--display", "json", "--out", "mine", "--processes", "2"]
    variables = {**os.environ, "EBBDOOR_WORKSPACE": str(folder / "runs")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, env=variables, start_new_session=True) as child:
        assert child.stdout is not None
        event = next(event for event in map(json.loads, child.stdout) if is_commit(event, control, period))
        time.sleep(wait * event["seconds"])
        assert child.poll() is None, "it ended by itself"
        (os.killpg if group else os.kill)(child.pid, signal.SIGKILL)
    return Killed(folder / "runs", folder / "tiny.yaml")


def undisturbed(run: str, scenario: Path) -> dict[str, list[str]]:
    """The digests of the same run, of the same name, in memory and in one process."""
    registry, ledger = MemoryRegistry(), MemoryLedger()
    values = load_scenario(str(scenario))
    played = play(open_run(values, registry, ledger, run), values, registry, ledger, processes=0)
    return {line: [entry.sha256 for entry in entries] for line, entries in played.items()}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to find processes by environment")
@pytest.mark.parametrize(
    ("control", "period", "latest", "group"),
    [
        pytest.param("none", 1, 0.0, True, id="all processes after period 1"),
        pytest.param("paced", 2, 0.0, True, id="all processes between the commits of a twin and its arm"),
        pytest.param("none", 1, 0.9, False, id="the command alone, somewhere in period 2"),
    ],
)
def test_a_killed_run_goes_on_as_if_nobody_had_disturbed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: str, period: int, latest: float, group: bool
) -> None:
    wait = random.uniform(0.0, latest)
    print(f"killed {wait:.3f} periods after the commit")  # noqa: T201 - shown when the test fails
    monkeypatch.chdir(tmp_path)
    killed = play_and_kill(tmp_path, control, period, wait=wait, group=group)
    deadline = time.monotonic() + 30
    while killed.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert killed.processes() == []

    again = subprocess.run(
        [*EBBDOOR, "resume", "mine", "--no-prefect", "--display", "json", "--processes", "2"],
        env={**os.environ, "EBBDOOR_WORKSPACE": str(killed.workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    continued = [json.loads(line) for line in again.stdout.splitlines()]
    assert not any(is_commit(event, "none", done) for event in continued for done in (0, 1))

    place = find_run_folder("mine", killed.workspace)
    _, ledger = open_stores(tracking_uri=None, workspace=killed.workspace)
    lines = {key.name: ledger.entries(key) for key in ledger.head(place.run).lineages}
    found = {name: [entry.sha256 for entry in entries] for name, entries in lines.items()}
    assert found == undisturbed(place.run, killed.scenario)
    assert {name: len(digests) for name, digests in found.items()} == {"main": 4, "main.twin": 4}
    check_registry(killed.client(), place.run, lines)


def check_registry(client: Any, run: str, lines: dict[str, list[Any]]) -> None:
    """Every trained version is there once, on its line's run; aliases name what served; no lock and no run is left."""
    experiment = client.get_experiment_by_name("ebbdoor").experiment_id
    found = client.search_runs([experiment])
    assert sorted(item.info.run_name for item in found) == sorted([run, *lines])
    assert {item.info.status for item in found} == {"FINISHED"}
    runs = {item.info.run_name: item.info.run_id for item in found}
    assert {model.name for model in client.search_registered_models()} == {f"ebbdoor.{run}.{line}" for line in lines}
    models = client.search_logged_models([experiment])
    rows = client.search_model_versions(f"tags.run = '{run}'")
    assert sorted(row.tags["model_id"] for row in rows) == sorted(model.model_id for model in models)
    for line, entries in lines.items():
        name = f"ebbdoor.{run}.{line}"
        mine = [row for row in rows if row.name == name]
        trained = [entry.record.candidate for entry in entries if entry.record.candidate is not None]
        assert sorted(int(row.tags["ordinal"]) for row in mine) == trained
        assert {row.run_id for row in mine} == {runs[line]}
        named = client.get_registered_model(name).aliases
        by_number = {str(row.version): int(row.tags["ordinal"]) for row in mine}
        served = [entry.record.version for entry in entries]
        assert by_number[str(named["champion"])] == served[-1]
        assert by_number[str(named["previous"])] == [version for version in served if version != served[-1]][-1]
        weights = {int(row.tags["ordinal"]): row.tags["weights"] for row in mine}
        assert [weights[entry.record.version] for entry in entries] == [entry.record.weights for entry in entries]
