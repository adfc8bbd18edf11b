"""Which layer's input is the feature vector: found by what `forward` calls, or named in the scenario."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from simulator.errors import PluginError
from simulator.production.monitors.inputs import forward
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use


def with_head(*, channels: int, classes: int) -> nn.Module:
    return Heads(channels, classes)


class Heads(nn.Module):
    """The head is registered before the body, which ends with a Linear; a second head is registered last, unused."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(6, classes)
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 6), nn.ReLU())
        self.projection = nn.Linear(6, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(images))
        return logits


def lazy(*, classes: int) -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(classes))


def squeeze_and_convolve(*, channels: int, classes: int) -> nn.Module:
    """Its last Linear weighs channels, and does not give the logits."""
    return Gated(channels, classes)


class Gated(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv, self.gate, self.head = nn.Conv2d(channels, 4, 1), nn.Linear(4, 4), nn.Conv2d(4, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(images)
        maps = maps * self.gate(maps.mean((2, 3)))[:, :, None, None].sigmoid()
        logits: torch.Tensor = self.head(maps).mean((2, 3))
        return logits


def tied(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    head = nn.Linear(channels * size[0] * size[1], classes)
    return nn.Sequential(nn.Flatten(), nn.Dropout(), head)


@pytest.fixture(autouse=True)
def nets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's module of networks."""
    module = ModuleType("users_nets")
    for member in (with_head, lazy, squeeze_and_convolve, tied):
        setattr(module, member.__name__, member)
    monkeypatch.setitem(sys.modules, "users_nets", module)


def built(name: str, **options: Any) -> nn.Module:
    use = Use.model_validate({"use": name if ":" in name or "-" in name else f"users_nets:{name}", **options})
    return build_network(use, channels=1, size=(8, 8), classes=3, seed=0)


def test_the_head_is_what_forward_calls_last_wherever_it_is_registered() -> None:
    model = built("with_head")
    assert feature_layer(model) == "head"
    assert forward(model, feature_layer(model), torch.zeros(5, 1, 8, 8))[1].shape == (5, 6)


def test_lazy_layers_get_their_sizes_and_the_seeds_weights() -> None:
    one, other = built("lazy"), built("lazy")
    assert feature_layer(one) == "3"
    assert one[3].in_features == 4 * 6 * 6
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_dropout_before_the_head_is_no_obstacle() -> None:
    assert feature_layer(built("tied")) == "2"


def test_a_named_layer_is_used_whatever_it_is() -> None:
    model = built("squeeze_and_convolve", features="head")
    assert feature_layer(model) == "head"
    assert forward(model, "head", torch.zeros(5, 1, 8, 8))[1].shape == (5, 4 * 8 * 8)
    assert feature_layer(built("standard-cnn", features="features.2")) == "features.2"


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        pytest.param(
            "squeeze_and_convolve", {},
            r"by an nn.Linear, .* got 'gate', which does not give them; .*features: LAYER\}, e.g. conv or gate or head",
            id="a Linear that gives no logits",
        ),
        pytest.param("with_head", {"features": "projection"}, "got 'projection', which it does not", id="not used"),
        pytest.param("with_head", {"features": "haed"}, "got 'haed'; did you mean 'head'", id="a slip"),
        pytest.param("with_head", {"features": ["head"]}, "to name a layer of it, got", id="a list"),
    ],
)  # fmt: skip
def test_a_network_without_a_feature_layer_is_told_what_helps(
    name: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PluginError, match=sentence):
        built(name, **options)


def test_a_torchvision_network_without_a_linear_is_told_what_helps_and_helped() -> None:
    facts: dict[str, Any] = {"channels": 3, "size": (32, 32), "classes": 4, "seed": 0}
    with pytest.raises(
        PluginError, match=r"got none that its forward calls; .*\{use: 'squeezenet1_1', features: LAYER"
    ):
        build_network(Use(use="squeezenet1_1"), **facts)
    model = build_network(Use.model_validate({"use": "squeezenet1_1", "features": "classifier.1"}), **facts)
    assert feature_layer(model) == "classifier.1"
