"""Networks that cannot be built or do not fit."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn

from simulator.errors import PluginError
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use


def build(name, *, size=(8, 8), **options):
    return build_network(Use.model_validate({"use": name, **options}), channels=3, size=size, classes=10, seed=0)


BAD = [
    ("standard-cn", {}, "expected a known network, or module:Name, got 'standard-cn'; did you mean 'standard-cnn'"),
    ("mobilenet_v3_smal", {}, "did you mean 'mobilenet_v3_small'"),
    ("no_such_module_here:net", {}, "expected network 'no_such_module_here:net' to be importable"),
    (
        "standard-cnn",
        {"size": (7, 9)},
        "network 'standard-cnn': expected images to have at least 8 x 8 pixels, got 7 x 9",
    ),
    (
        "compact-cnn",
        {"size": (12, 7)},
        "network 'compact-cnn': expected images to have at least 8 x 8 pixels, got 12 x 7; scale them up",
    ),
    ("compact-cnn", {"width": 3}, "expected an option it knows, got 'width'"),
    ("compact-cn", {}, "got 'compact-cn'; did you mean 'compact-cnn'"),
    ("standard-cnn", {"depth": 3}, "expected an option it knows, got 'depth'"),
    ("standard-cnn", {"classes": 3}, "expected 'classes' to come from the source, got it set"),
    ("resnet18", {"stem": "64"}, "expected stem to be '32' or '224', got '64'"),
    (
        "squeezenet1_1",
        {},
        r"expected network 'squeezenet1_1' to take images of \(3, 8, 8\), got .*; choose another network or larger",
    ),
    ("third_party_nets:Square", {}, "got .*; correct its layers, or choose another network or larger images"),
    ("mobilenet_v3_small", {"weights": "DEFAULT"}, "expected no option 'weights', got one"),
    ("mobilenet_v3_small", {"depth": 3}, "expected an option that torchvision reads, got 'depth'"),
    ("third_party_nets:Thousand", {}, r"logits of shape \(2, 10\) for two images, got \(2, 1000\)"),
    ("third_party_nets:Pair", {}, r"logits of shape \(2, 10\) for two images, got tuple"),
    ("third_party_nets:words", {}, "expected network 'third_party_nets:words' to be an nn.Module, got str"),
    ("third_party_nets:broken", {}, "network 'third_party_nets:broken': width is odd"),
]


@pytest.fixture
def _third_party(monkeypatch):
    class Thousand(nn.Module):
        def forward(self, images):
            return torch.zeros(len(images), 1000)

    class Pair(nn.Module):
        def __init__(self, *, classes):
            super().__init__()
            self.head = nn.Linear(192, classes)

        def forward(self, images):
            found = self.head(images.flatten(1))
            return (found, found) if self.training else found

    class Square(nn.Module):
        def forward(self, images):
            assert images.shape[-1] == 224
            return images

    def broken():
        raise RuntimeError("width is odd\nand more")

    module = types.ModuleType("third_party_nets")
    module.Thousand, module.Pair, module.Square = Thousand, Pair, Square
    module.broken, module.words = broken, lambda: "words"
    monkeypatch.setitem(sys.modules, "third_party_nets", module)


@pytest.mark.usefixtures("_third_party")
@pytest.mark.parametrize(("name", "options", "message"), BAD, ids=[f"{name}-{i}" for i, (name, _, _) in enumerate(BAD)])
def test_bad_networks_are_refused(name, options, message):
    with pytest.raises(PluginError, match=message):
        build(name, **options)


def test_no_linear_layer():
    with pytest.raises(PluginError, match=r"expected network Sequential to hold an nn.Linear, got none"):
        feature_layer(nn.Sequential(nn.Conv2d(1, 2, 3)))
