"""A real SQLite MLflow for each test: the schema is made once and copied (making it takes seconds)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from simulator.production.registry.base import Entry, Ledger, Registry, RunHead, VersionPayload
from simulator.production.registry.environment import prepare_environment
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.memory import MemoryLedger
from simulator.production.registry.open import open_stores
from simulator.production.training.networks import build_network
from simulator.records import Arrival, Decision, Judgement, LineageKey, PeriodRecord, Reading, Signal
from simulator.scenario.model import Use
from simulator.tensors import weights_digest, weights_of

MAIN = LineageKey(arm="main")
TWIN = LineageKey(arm="main", control="paced")
ARCHITECTURE = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [8, 8], "classes": 3}


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prepare_environment()
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("schema") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_registered_models(max_results=1)
    return path


@pytest.fixture
def workspace(schema: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copyfile(schema, folder / "mlflow.db")
    return folder


@pytest.fixture
def stores(workspace: Path) -> Any:
    return open_stores(tracking_uri=None, workspace=workspace)


@pytest.fixture
def client(workspace: Path) -> Any:
    """MLflow's own client: what the tests look at is what a user of MLflow sees."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{workspace / 'mlflow.db'}"
    return MlflowClient(uri, registry_uri=uri)


@pytest.fixture(params=["memory", "folder", "mlflow"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Ledger]:
    """A function that gives the ledger as a fresh process would find it (memory: the only one there is)."""
    if request.param == "memory":
        only = MemoryLedger()
        return lambda: only
    if request.param == "folder":
        return lambda: FolderLedger(tmp_path / "runs")
    workspace = request.getfixturevalue("workspace")
    return lambda: open_stores(tracking_uri=None, workspace=workspace)[1]


@pytest.fixture
def head() -> RunHead:
    return make_head()


@pytest.fixture
def payload() -> Callable[..., VersionPayload]:
    return make_payload


@pytest.fixture
def record() -> Callable[..., PeriodRecord]:
    return make_record


def make_head(run: str = "r1", **changes: Any) -> RunHead:
    values: dict[str, Any] = {
        "run": run,
        "scenario": {"name": "quick", "seed": 3, "arms": {"main": {"recipe.update.epochs": 2}}},
        "scenario_digest": "a" * 64,
        "source_digest": "b" * 64,
        "lineages": (MAIN, TWIN),
    }
    return RunHead(**{**values, **changes})


def make_network(seed: int = 0) -> torch.nn.Module:
    return build_network(Use(use="standard-cnn"), channels=1, size=(8, 8), classes=3, seed=seed)


def make_payload(
    ordinal: int = 0, *, line: LineageKey = MAIN, period: int | None = None, seed: int | None = None
) -> Any:
    return VersionPayload(
        lineage=line,
        ordinal=ordinal,
        parent=ordinal - 1 if ordinal else None,
        period=ordinal if period is None else period,
        weights=weights_of(make_network(ordinal if seed is None else seed)),
        architecture=ARCHITECTURE,
    )


def make_record(
    period: int = 0, *, version: int | None = None, line: LineageKey = MAIN, **changes: Any
) -> PeriodRecord:
    """A period in which `version` (its own number by default) was trained and promoted."""
    serving = period if version is None else version
    values: dict[str, Any] = {
        "run": "r1",
        "arm": line.arm,
        "control": line.control,
        "period": period,
        "version": serving,
        "parent": serving - 1 if serving else None,
        "candidate": serving,
        "candidate_parent": serving - 1 if serving else None,
        "arrival": Arrival(rows=100, poisoned=5, poison_rate=0.05, true_drift={"rotation": 4.0 * period}),
        "signal": Signal(method="mmd", score=0.25, threshold=0.5, alarm=False),
        "decision": Decision(retrain=True, why="every period"),
        "judgement": Judgement(action="promoted", why="no gate", serving=serving),
        "readings": {
            "clean/accuracy": Reading.of(0.875),
            "backdoor/net_attack_success": Reading.of(0.9 - 0.2 * period),
            "backdoor/trigger_ed50": Reading.undefined("no opacity reaches 0.5"),
        },
        "weights": weights_digest(weights_of(make_network(serving))),
        "source": "b" * 64,
        "scenario": "a" * 64,
    }
    return PeriodRecord.model_validate({**values, **changes})


def make_entry(period: int = 0, **options: Any) -> Entry:
    record = make_record(period, **options)
    return Entry(record, record.digest(), {"timing": {"train": 1.5}})


@pytest.fixture
def registry(stores: tuple[Registry, Ledger], head: RunHead) -> Registry:
    stores[0].open(head)
    return stores[0]
