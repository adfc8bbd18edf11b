"""A version's files beside those that MLflow itself writes for the same model from code."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from simulator.production.registry.base import VersionPayload
from simulator.production.registry.environment import prepare_environment
from simulator.production.registry.mlflow.model import write_model
from simulator.production.registry.mlflow.tags import WEIGHTS_FILE as WEIGHTS
from simulator.production.training.networks import build_network
from simulator.records import LineageKey
from simulator.scenario.model import Use
from simulator.tensors import weights_of

ARCHITECTURE = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [28, 28], "classes": 10}
#: what a version is loaded with, in the order of its requirements
NEEDED = ("mlflow", "ebbdoor", "torch", "safetensors", "numpy")
#: of each model its own, or a path of the machine that wrote it
OWN = ("model_uuid", "utc_time_created", "model_size_bytes")


@pytest.fixture
def network() -> torch.nn.Module:
    return build_network(Use(use="standard-cnn"), channels=1, size=(28, 28), classes=10, seed=0)


@pytest.fixture
def ours(network: torch.nn.Module, tmp_path: Path) -> Path:
    prepare_environment()
    payload = VersionPayload(LineageKey(arm="main"), 0, None, 0, weights_of(network), ARCHITECTURE, {})
    return write_model(payload, tmp_path, model_id="m-1", run_id="r-1")


def read(model: Path, name: str) -> Any:
    return yaml.safe_load((model / name).read_text())


def theirs(ours: Path, folder: Path) -> Path:
    import mlflow.pyfunc
    from mlflow.models import Model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it asks for an example input
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(ours / "served_model.py"),
            artifacts={"weights": str(ours / WEIGHTS), "architecture": str(ours / "artifacts" / "architecture.json")},
            signature=Model.load(str(ours)).signature,
            pip_requirements=[f"{name}=={version(name)}" for name in NEEDED],
            mlflow_model=Model(model_id="m-1", run_id="r-1"),
        )
    return folder


def test_the_files_are_those_that_mlflow_writes(ours: Path, tmp_path: Path) -> None:
    mlflows = theirs(ours, tmp_path / "theirs")
    names = sorted(str(path.relative_to(mlflows)) for path in mlflows.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(ours)) for path in ours.rglob("*") if path.is_file()) == names
    for name in ("conda.yaml", "python_env.yaml"):
        assert read(ours, name) == read(mlflows, name)
    assert (ours / "requirements.txt").read_text() == (mlflows / "requirements.txt").read_text()
    mine, other = read(ours, "MLmodel"), read(mlflows, "MLmodel")
    flavor, full = mine.pop("flavors")["python_function"], other.pop("flavors")["python_function"]
    assert {key: value for key, value in mine.items() if key not in OWN} == {
        key: value for key, value in other.items() if key not in OWN
    }
    assert set(full) - set(flavor) == {"cloudpickle_version", "code"}  # nothing is pickled, no other code is copied
    for key in ("env", "loader_module", "python_version", "streamable"):
        assert flavor[key] == full[key]
    assert {name: artifact["path"] for name, artifact in flavor["artifacts"].items()} == {
        name: artifact["path"] for name, artifact in full["artifacts"].items()
    }


def test_no_file_names_a_place_of_this_machine(ours: Path, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    for path in ours.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            assert str(tmp_path).encode() not in text, path
            assert root.encode() not in text, path


def test_it_predicts_from_another_folder(ours: Path, network: torch.nn.Module, tmp_path: Path) -> None:
    import mlflow.pyfunc

    images = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    moved = ours.rename(tmp_path / "moved")
    logits = mlflow.pyfunc.load_model(str(moved)).predict(images.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(logits, network.eval()(images).numpy(), atol=1e-5)
