"""A workspace with two played runs, `whole` (complete) and `part` (period 0 of 1), made once and copied for a test."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flows.runs.folder import run_folder_of
from flows.runs.play import open_place, play_place
from simulator.loop.events import ignore, plain
from simulator.production.registry.base import Entry, Ledger, Registry, VersionPayload
from simulator.production.registry.open import open_stores
from simulator.records import LineageKey
from simulator.scenario.load import load_scenario
from simulator.system.holder import Holder

MAIN, TWIN = LineageKey(arm="main"), LineageKey(arm="main", control="paced")
TINY = """
name: tiny
periods: 1
device: cpu
source: {use: digits}
stream: {base: 120, batch: 40, validation: 40, relearning: 10, test: 60}
attack: {use: patch, target: 0, size: 2}
campaign: {use: one-shot, period: 0, rate: 0.1}
recipe:
  base: {epochs: 2, batch: 32}
  update: {epochs: 1, batch: 32}
trusted: {images: 20}
gate: {use: none}
probes: [{use: attack-success}]
"""


@dataclass(frozen=True)
class Kept:
    """A workspace, and MLflow's own client on its store: what the tests look at is what a user of MLflow sees."""

    workspace: Path
    dead: Holder

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri, registry_uri=self.uri)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.workspace / 'mlflow.db'}"

    def stores(self) -> tuple[Registry, Ledger]:
        return open_stores(tracking_uri=None, workspace=self.workspace)

    def experiment(self) -> str:
        return str(self.client.get_experiment_by_name("ebbdoor").experiment_id)

    def words(self, run: str) -> dict[str, tuple[str, str]]:
        """Name -> our status word and MLflow's status, of every MLflow run of a run."""
        found = self.client.search_runs([self.experiment()], f"tags.run = '{run}'")
        return {item.info.run_name: (item.data.tags["status"], item.info.status) for item in found}

    def versions(self, run: str, line: LineageKey = MAIN) -> list[int]:
        """Ordinals of the line's logged models."""
        query = f"tags.run = '{run}' AND tags.line = '{line.name}'"
        models = self.client.search_logged_models([self.experiment()], query)
        return sorted(int(model.tags["ordinal"]) for model in models)

    def aliases(self, run: str, line: LineageKey = MAIN) -> dict[str, int]:
        """Alias -> ordinal of the version that it names."""
        name = f"ebbdoor.{run}.{line.name}"
        named = self.client.get_registered_model(name).aliases
        return {
            alias: int(self.client.get_model_version(name, number).tags["ordinal"]) for alias, number in named.items()
        }

    def models(self) -> set[str]:
        return {model.name for model in self.client.search_registered_models()}

    def dump(self) -> list[str]:
        """Everything that is in the database."""
        with sqlite3.connect(self.workspace / "mlflow.db") as database:
            lines = list(database.iterdump())
        database.close()
        return lines

    def hold(self, run: str, holder: Holder) -> None:
        """Let `holder` hold a run."""
        self.client.create_registered_model(f"ebbdoor.{run}.writer_lock", tags={"run": run, **holder.values()})

    def kill_in_period_one(self, holder: Holder | None = None) -> None:
        """Leave `part` as a process does that dies between its twin's commit of period 1 and its own."""
        self.hold("part", holder or self.dead)
        registry, ledger = self.stores()
        head = ledger.head("part")
        registry.open(head)
        for line in (TWIN, MAIN):
            weights = registry.weights(line, 0)
            architecture = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [8, 8], "classes": 10}
            registry.register(VersionPayload(line, 1, 0, 1, weights, architecture))
        last = ledger.entries(TWIN)[-1].record
        record = last.model_copy(update={"period": 1, "version": 1, "parent": 0, "candidate": 1, "candidate_parent": 0})
        from simulator.production.lineage import LineageState

        registry.publish(record, {}, LineageState.of([last, record]))
        ledger.commit(Entry(record, record.digest()))


@pytest.fixture(scope="session")
def dead() -> Holder:
    """A process of this host that has ended."""
    code = "from simulator.system.holder import Holder; print(*Holder.current().values().values(), sep='\\n')"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return Holder(*printed.splitlines())


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[Path, Path]:
    """The workspace of all tests, and a copy of it as it was at first."""
    folder = tmp_path_factory.mktemp("operate")
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "runs").mkdir()
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    scenario = load_scenario(str(folder / "tiny.yaml"))
    for run, until in (("whole", 1), ("part", 0)):
        place = run_folder_of(run, None, folder / "runs")
        with open_place(place, scenario) as stores:
            play_place(place, stores, wrap=plain, listen=ignore, until=until, processes=0)
    shutil.copytree(folder / "runs", folder / "copy")
    return folder / "runs", folder / "copy"


@pytest.fixture
def kept(template: tuple[Path, Path], dead: Holder, monkeypatch: pytest.MonkeyPatch) -> Kept:
    workspace, copy = template
    _restore(workspace, copy)
    monkeypatch.chdir(workspace.parent)
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(workspace))
    for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    return Kept(workspace, dead)


def _restore(workspace: Path, copy: Path) -> None:
    """In place: MLflow keeps connections to the database, and the folder of a run's files, in this process."""
    with sqlite3.connect(copy / "mlflow.db") as source, sqlite3.connect(workspace / "mlflow.db") as target:
        source.backup(target)
    source.close()
    target.close()
    for folder in (path for path in copy.iterdir() if path.is_dir()):
        shutil.rmtree(workspace / folder.name, ignore_errors=True)
        shutil.copytree(folder, workspace / folder.name)


@pytest.fixture
def elsewhere(dead: Holder) -> Holder:
    """A process of another host."""
    return replace(dead, host="another-host")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def say(said: list[str]) -> Callable[[str], None]:
    return said.append
