"""A version's files beside those that MLflow itself writes for the same model from code."""

from __future__ import annotations

import os
import subprocess
import sys
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
from tests.strangers import entry_point

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


@pytest.fixture
def served(ours: Path) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(ours))


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 1, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64", "float16"])
def test_whole_numbers_and_fractions_are_taken_as_what_they_are(
    served: Any, network: torch.nn.Module, dtype: str
) -> None:
    images = PIXELS.astype(dtype) if "int" in dtype else (PIXELS / 255).astype(dtype)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(PIXELS).float() / 255).numpy()
    np.testing.assert_allclose(served.predict(images), expected, atol=1e-2 if dtype == "float16" else 1e-5)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (PIXELS.astype(np.float32), "expected images of float32 to be fractions in .0, 1., got 0.0 to 255.0; divide"),
        (PIXELS.astype(np.int64) * 9, "expected images of int64 to be whole numbers in 0..255, got 0 to 2295; scale"),
        (PIXELS.astype(np.int64) - 9, "expected images of int64 to be whole numbers in 0..255, got -9 to"),
        (np.full((1, 1, 28, 28), np.nan), "expected images of float64 to be fractions in .0, 1., got nan to nan"),
        (PIXELS[:, 0], r"expected images of shape \(N, 1, 28, 28\), got \(5, 28, 28\)"),
        (PIXELS.transpose(0, 2, 3, 1), r"expected images of shape \(N, 1, 28, 28\), got \(5, 28, 28, 1\)"),
        (PIXELS.astype(str), "expected images to be whole numbers in 0..255 or fractions in .0, 1., got <U3"),
    ],
)
def test_images_of_another_range_are_refused(served: Any, images: np.ndarray, sentence: str) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=sentence):
        served.predict(images)


NETS = """
import torch
from users_parts import layers
from users_parts.deep import sizes

def net(*, channels: int, size: tuple[int, int], classes: int) -> torch.nn.Module:
    return layers.head(channels * size[0] * size[1], sizes.WIDTH, classes)
"""
LAYERS = """
from torch import nn

def head(inputs, width, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, classes))
"""
LOADS = """
import sys, mlflow.pyfunc, numpy
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(numpy.zeros((2, 1, 8, 8), numpy.uint8)).shape, model.unwrap_python_model().network[1].out_features)
"""


def test_a_users_own_network_loads_in_a_fresh_process_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "users_parts" / "deep").mkdir(parents=True)
    (project / "users_net.py").write_text(NETS)
    (project / "users_parts" / "__init__.py").write_text("")
    (project / "users_parts" / "layers.py").write_text(LAYERS)
    (project / "users_parts" / "deep" / "sizes.py").write_text("WIDTH = 7")
    monkeypatch.syspath_prepend(str(project))
    architecture = ARCHITECTURE | {"network": {"use": "users_net:net"}, "size": [8, 8]}
    network = build_network(Use(use="users_net:net"), channels=1, size=(8, 8), classes=10, seed=0)
    payload = VersionPayload(LineageKey(arm="main"), 0, None, 0, weights_of(network), architecture, {})
    model = write_model(payload, tmp_path, model_id="m-1", run_id="r-1")
    (project / "users_net.py").unlink()  # the version does not need it any more
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", LOADS, str(model.rename(elsewhere / "model"))]
    done = subprocess.run(command, cwd=elsewhere, env=alone, capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1:] == ["(2, 10) 7"], done.stderr


def test_a_shipped_network_carries_no_code(ours: Path) -> None:
    assert not (ours / "code").exists()


def requirements(folder: Path, use: str) -> list[str]:
    architecture = {**ARCHITECTURE, "network": {"use": use}}
    payload = VersionPayload(LineageKey(arm="main"), 0, None, 0, {"w": torch.zeros(1)}, architecture, {})
    return (write_model(payload, folder, model_id="m-1", run_id="r-1") / "requirements.txt").read_text().splitlines()


def test_a_package_is_required_by_its_distributions_name(user_file: Any, tmp_path: Path) -> None:
    user_file("user_made.py", "import sklearn, yaml, PIL.Image, json, torch\n")
    found = requirements(tmp_path, "user_made:net")
    others = {f"{name}=={version(name)}".lower() for name in ("PyYAML", "pillow", "scikit-learn")}
    assert {one.lower() for one in found[len(NEEDED) :]} == others


def test_a_network_by_its_short_name_requires_what_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib.metadata import distribution

    from simulator.scenario import catalog

    point = entry_point("networks", "theirs", "sklearn.net:net", distribution("scikit-learn"))
    monkeypatch.setattr(catalog, "point", lambda kind, name: point)
    monkeypatch.setattr(catalog, "is_third_party", lambda kind, name: True)
    assert requirements(tmp_path, "theirs")[len(NEEDED) :] == [f"scikit-learn=={version('scikit-learn')}"]
    monkeypatch.undo()
    assert requirements(tmp_path / "ours", "standard-cnn")[len(NEEDED) :] == []
