"""Addresses of models as people write them, and which files of a model are read by what its `MLmodel` says."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from simulator.errors import ScenarioError
from simulator.production.auditing.subject import Architecture
from simulator.production.registry.mlflow.model_files import ModelFiles, files_of
from simulator.production.registry.mlflow.model_uris import ModelUri, read_uri

ID = "m-" + "0123456789abcdef" * 2
OURS = {"weights": {"path": "artifacts/weights.safetensors"}, "architecture": {"path": "artifacts/architecture.json"}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("models:/mine", {"name": "mine"}),
        ("models:/ebbdoor.a-s0.main/12", {"name": "ebbdoor.a-s0.main", "number": 12}),
        ("models:/mine@champion", {"name": "mine", "alias": "champion"}),
        (f"models:/{ID}", {"model_id": ID}),
        ("models:/m-1", {"name": "m-1"}),  # no id: a registered model may be called so
    ],
)
def test_an_address_is_taken_apart(text: str, found: dict[str, Any]) -> None:
    assert read_uri(text) == ModelUri(text, **found)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mine/3", "named as models:/NAME/VERSION"),
        ("runs:/abc/model", "named as models:/NAME/VERSION"),
        ("models:/", "named as models:/NAME/VERSION"),
        ("models:/a/1/2", "named as models:/NAME/VERSION"),
        ("models:/a@b/1", "named as models:/NAME/VERSION"),
        ("models:/it's/1", "named as models:/NAME/VERSION"),
        ("models:/mine/Production", "expected the version in 'models:/mine/Production' to be a number"),
        ("models:/mine/-1", "expected the version in 'models:/mine/-1' to be a number"),
    ],
)
def test_another_address_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        read_uri(text)


def described(**flavors: Any) -> str:
    return yaml.safe_dump({"flavors": flavors})


def test_weights_and_what_rebuilds_their_network_are_read() -> None:
    text = described(python_function={"artifacts": OURS, "code": "code", "loader_module": "never.imported"})
    wanted = ModelFiles("artifacts/weights.safetensors", "artifacts/architecture.json", code="code")
    assert files_of(text, pickles=False) == wanted
    alone = described(python_function={"artifacts": {"w": {"path": "artifacts/net.safetensors"}}})
    assert files_of(alone, pickles=False) == ModelFiles("artifacts/net.safetensors")


def test_a_pickle_is_read_only_where_that_is_allowed() -> None:
    text = described(pytorch={"model_data": "data", "code": None}, python_function={"loader_module": "mlflow.pytorch"})
    assert "a pickle" in files_of(text, pickles=False).refusal
    assert files_of(text, pickles=True) == ModelFiles(pickle="data/model.pth")


@pytest.mark.parametrize("pickles", [False, True])
def test_an_exported_network_is_told_at_once_and_what_to_log_instead(pickles: bool) -> None:
    """MLmodel does not name the format: that follows from the files."""
    text = described(pytorch={"model_data": "data", "code": None}, python_function={"loader_module": "mlflow.pytorch"})
    refusal = files_of(text, pickles=pickles, has={"data/model.pt2"}.__contains__).refusal
    assert "stored as pt2 (MLflow's default format), which is not read" in refusal
    assert "as an artifact NAME.safetensors, with an architecture.json beside it" in refusal
    assert "or log it with serialization_format='pickle' and, if you trust who wrote it, say --allow-pickle" in refusal
    assert files_of(text, pickles=True, has={"data/model.pth"}.__contains__).pickle == "data/model.pth"


def test_no_file_outside_of_a_model_is_looked_for() -> None:
    asked: list[str] = []
    text = described(pytorch={"model_data": "../other"})
    found = files_of(text, pickles=True, has=lambda path: bool(asked.append(path)))
    assert (found.refusal, asked) == ("its MLmodel names a file outside of it", [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (described(python_function={"python_model": "python_model.pkl"}), "no weights to read without executing it"),
        (described(sklearn={"pickled_model": "model.pkl"}), "no weights to read without executing it"),
        (
            described(python_function={"artifacts": {n: {"path": f"artifacts/{n}.safetensors"} for n in "ab"}}),
            "2 files of weights",
        ),
        ("flavors: [", "MLmodel file cannot be read"),
        ("[1, 2]", "MLmodel file cannot be read"),
        ("flavors: {python_function: {artifacts: {a: 3}}}", "MLmodel file cannot be read"),
        (described(python_function={"artifacts": {"a": {"path": "../x.safetensors"}}}), "outside of it"),
        (described(python_function={"artifacts": {"a": {"path": "/x.safetensors"}}}), "outside of it"),
        (described(python_function={"artifacts": OURS, "code": "../.."}), "outside of it"),
    ],
)
def test_any_other_model_is_refused_with_the_reason(text: str, reason: str) -> None:
    for pickles in (False, True):
        assert reason in files_of(text, pickles=pickles).refusal


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1], "expected it to hold the keys network, channels, size and classes, got list"),
        ({"network": "resnet20", "channels": 3, "size": [32, 32]}, "expected classes to be given"),
        ({"network": "resnet20", "channels": 3, "size": [32, 32], "classes": 10**9}, "expected classes to be"),
        ({"network": "resnet20", "channels": 3, "size": [32, 32], "classes": 2, "depth": 3}, "'depth'"),
    ],
)
def test_an_architecture_that_cannot_be_one_is_refused(values: Any, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        Architecture.read(values, "it")


@pytest.mark.parametrize(
    "use",
    [
        "simulator.production.auditing.unpickled:unpickled",
        "simulator.production:auditing.unpickled.unpickled",
        "simulator.production.auditing:unpickled.torch.load",
    ],
)
def test_no_file_of_a_model_has_a_pickle_read(use: str) -> None:
    values = {"network": {"use": use, "path": "x"}, "channels": 1, "size": [8, 8], "classes": 2}
    with pytest.raises(ScenarioError, match="expected network to be a network"):
        Architecture.read(values, "it")
