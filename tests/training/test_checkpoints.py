"""Checkpoints as people have them: other names, other precision, and what is told when they do not fit."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from simulator.errors import PluginError, ScenarioError
from simulator.production.training.checkpoints import conversion, load_checkpoint, read_checkpoint
from simulator.production.training.evaluate import logits
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use
from simulator.tensors import weights_digest, weights_of

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def network(seed: int, **use: Any) -> nn.Module:
    given = Use.model_validate({"use": "resnet20", **use})
    return build_network(given, channels=3, size=(32, 32), classes=4, seed=seed)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "state_dict.model.", "net."],
)
def test_what_tools_put_before_names_is_taken_off(prefix: str) -> None:
    first, second = weights_of(network(1)), network(2)
    load_checkpoint(second, {f"{prefix}{name}": value for name, value in first.items()})
    assert weights_digest(weights_of(second)) == weights_digest(first)


def test_a_compiled_part_of_a_network_is_known_again() -> None:
    first, second = weights_of(network(1)), network(2)
    load_checkpoint(second, {name.replace("stage1.", "stage1._orig_mod."): value for name, value in first.items()})
    assert weights_digest(weights_of(second)) == weights_digest(first)


def test_counters_of_batches_may_be_missing() -> None:
    first, second = weights_of(network(1)), network(2)
    load_checkpoint(second, {name: value for name, value in first.items() if "num_batches" not in name})
    assert weights_digest(weights_of(second)) == weights_digest(first)  # of an untrained network they are 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_converted(dtype: torch.dtype) -> None:
    first, second = weights_of(network(1)), network(2)
    given = {name: value.to(dtype) if value.is_floating_point() else value for name, value in first.items()}
    load_checkpoint(second, given)
    name = "classifier.weight"
    assert torch.equal(weights_of(second)[name], first[name].to(dtype).float())


def test_a_weight_that_is_not_finite_once_converted_is_refused() -> None:
    given = weights_of(network(1))
    given["classifier.bias"] = torch.full((4,), 1e300, dtype=torch.float64)
    with pytest.raises(ScenarioError, match=r"expected weight 'classifier\.bias' to be finite"):
        load_checkpoint(network(2), given)


def test_what_does_not_fit_is_told_by_kind() -> None:
    given = {f"module.{name}": value for name, value in weights_of(network(1)).items()}
    given["module.head"] = given.pop("module.classifier.bias")
    given["module.classifier.weight"] = torch.zeros(9, 64)
    told = "got missing classifier.bias, and unexpected head, and of another shape classifier.weight; use the network"
    with pytest.raises(ScenarioError, match=told):
        load_checkpoint(network(2), given)


def torchvisions() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return weights_of(torchvision.models.resnet18(num_classes=4))


@pytest.mark.parametrize("stem", ["32", "224"])
def test_torchvisions_own_resnet18_is_told_apart_from_ours(stem: str) -> None:
    with pytest.raises(ScenarioError, match=r"torchvision's own; use \{use: torchvision-resnet18\}, with"):
        load_checkpoint(network(0, use="resnet18", stem=stem), torchvisions())


def test_torchvisions_own_resnet18_has_a_name() -> None:
    model = network(0, use="torchvision-resnet18")
    load_checkpoint(model, torchvisions())
    original = torchvision.models.resnet18(num_classes=4).eval()
    original.load_state_dict(torchvisions())
    images = torch.rand(3, 3, 32, 32)
    assert torch.allclose(logits(model, images), original(images), atol=1e-5)


def test_a_model_of_normalised_images_gets_them_from_images_in_0_1() -> None:
    model = network(0, use="torchvision-resnet18", normalize={"mean": MEAN, "std": STD})
    load_checkpoint(model, torchvisions())
    original = torchvision.models.resnet18(num_classes=4).eval()
    original.load_state_dict(torchvisions())
    images = torch.rand(3, 3, 32, 32)
    shown = torchvision.transforms.functional.normalize(images, MEAN, STD)
    assert torch.allclose(logits(model, images), original(shown), atol=1e-5)
    assert feature_layer(model) == "network.fc"
    named = network(0, use="torchvision-resnet18", normalize={"mean": 0.5, "std": 0.5}, features="layer4")
    assert feature_layer(named) == "network.layer4"


@pytest.mark.parametrize(
    ("use", "normalize", "sentence"),
    [
        ("torchvision-resnet18", {"mean": MEAN}, r"to be \{mean: \[...\], std: \[...\]\}, got .*; give both"),
        ("torchvision-resnet18", 0.5, r"to be \{mean: \[...\], std: \[...\]\}, got 0.5; give both"),
        ("torchvision-resnet18", {"mean": MEAN, "std": [1, 1]}, "to have a std of 3 finite numbers, one a channel"),
        ("torchvision-resnet18", {"mean": ["a", 0, 0], "std": STD}, "to have a mean of 3 finite numbers"),
        ("torchvision-resnet18", {"mean": MEAN, "std": 0}, "to have a std above 0, got 0"),
        ("resnet18", {"mean": MEAN, "std": STD}, "got one that centres them itself; leave normalize out"),
    ],
)
def test_a_normalisation_that_cannot_be_is_refused(use: str, normalize: Any, sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        network(0, use=use, normalize=normalize)


@pytest.mark.parametrize(
    ("key", "name"), [("model", "mine"), ("state_dict", "my own"), ("net", "ann's $(x) `y`"), (None, 'a "b" \\n')]
)
def test_the_advised_conversion_of_a_pickle_works_as_printed(key: str | None, name: str, tmp_path: Path) -> None:
    weights = {"weight": torch.ones(2, 2), "bias": torch.zeros(2)}
    path = tmp_path / f"{name}.pt"
    torch.save(weights if key is None else {"epoch": 3, key: weights}, path)
    with pytest.raises(ScenarioError) as refused:
        read_checkpoint(path)
    command = conversion(path)
    assert str(refused.value).endswith(command)
    subprocess.run(["sh", "-c", f"{shlex.quote(sys.executable)}{command.removeprefix('python')}"], check=True)
    model = nn.Linear(2, 2)
    load_checkpoint(model, read_checkpoint(tmp_path / f"{name}.safetensors"))
    assert model.weight.tolist() == [[1, 1], [1, 1]]


def test_a_file_with_a_prefix_is_read_and_loaded(tmp_path: Path) -> None:
    first, second = weights_of(network(1)), network(2)
    save_file({f"module.{name}": value for name, value in first.items()}, tmp_path / "m.safetensors")
    load_checkpoint(second, read_checkpoint(tmp_path / "m.safetensors"))
    assert weights_digest(weights_of(second)) == weights_digest(first)
