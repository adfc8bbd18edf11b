"""Networks: published sizes, all image sizes and channels, seeded and tried."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn

from simulator.batch import Batch
from simulator.errors import PluginError
from simulator.production.training.device import layout_of
from simulator.production.training.evaluate import logits
from simulator.production.training.features import feature_layer
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network, resnet18, resnet20, standard_cnn
from simulator.scenario.model import Phase, Recipe, Use
from simulator.tensors import weights_digest, weights_of


def use(name, **options):
    return Use.model_validate({"use": name, **options})


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_published_parameter_counts():
    # resnet20: weights 0.27 M in He et al., Table 6: 432 + 3 stages of 3x3 convolutions, BatchNorm, 64 x 10 + 10.
    convolutions = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
    norms = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    assert parameters(resnet20(channels=3, size=(32, 32), classes=10)) == convolutions + norms + 650
    # torchvision's documentation gives 11,689,512 for 1,000 classes.
    assert parameters(resnet18(channels=3, size=(224, 224), classes=1000, stem="224")) == 11689512
    # 7x7 to 3x3 first convolution, 1,000 to 10 outputs.
    assert parameters(resnet18(channels=3, size=(32, 32), classes=10)) == 11689512 - 64 * 3 * 40 - 513 * 990


def test_standard_cnn_by_hand():
    model = standard_cnn(channels=1, size=(28, 28), classes=10)
    assert parameters(model) == 9 * (8 + 8 * 16 + 16 * 32) + 2 * (8 + 16 + 32) + (32 * 9 + 1) * 10


def test_standard_cnn_of_another_width_by_hand():
    model = standard_cnn(channels=3, size=(32, 32), classes=10, width=16)
    assert parameters(model) == 9 * (3 * 16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + (64 * 16 + 1) * 10


@pytest.mark.parametrize("width", [0, -1, 513, 1.5, "wide"])
def test_a_width_that_no_network_has_is_refused(width):
    with pytest.raises(PluginError, match="width"):
        build_network(use("standard-cnn", width=width), channels=3, size=(32, 32), classes=10, seed=0)


def test_relu_after_the_pool_is_relu_before_it():
    model = standard_cnn(channels=3, size=(28, 28), classes=10).eval()
    images = torch.rand(4, 3, 28, 28)
    usual = images * 2 - 1  # centred
    for convolution, norm, pool, relu in model.features:
        usual = pool(relu(norm(convolution(usual))))
    assert torch.equal(model(images), model.classifier(usual.flatten(1)))


@pytest.mark.parametrize("name", ["standard-cnn", "compact-cnn", "resnet20", "resnet18"])
@pytest.mark.parametrize(("channels", "size"), [(1, (8, 8)), (3, (8, 8)), (1, (28, 28)), (3, (32, 32)), (3, (8, 13))])
def test_ours_take_all_sizes(name, channels, size):
    model = build_network(use(name), channels=channels, size=size, classes=7, seed=0)
    assert logits(model, torch.rand(3, channels, *size)).shape == (3, 7)
    assert isinstance(model.get_submodule(feature_layer(model)), nn.Linear)


def test_small_stem_keeps_the_resolution():
    model = resnet18(channels=1, size=(32, 32), classes=10)
    shapes = []
    model.layer1.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    model.eval()(torch.zeros(1, 1, 32, 32))
    assert shapes == [(1, 64, 32, 32)]


def test_seeded_without_touching_the_global_state():
    state = torch.get_rng_state()
    first, again, other = (
        weights_digest(weights_of(build_network(use("standard-cnn"), channels=1, size=(8, 8), classes=3, seed=seed)))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again != other


def test_trying_out_leaves_no_trace():
    model = build_network(use("standard-cnn"), channels=1, size=(8, 8), classes=3, seed=1)
    assert all(int(value) == 0 for name, value in model.state_dict().items() if "num_batches" in name)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_torchvision_name(channels):
    model = build_network(use("mobilenet_v3_small"), channels=channels, size=(32, 32), classes=5, seed=1)
    assert logits(model, torch.rand(2, channels, 32, 32)).shape == (2, 5)
    assert feature_layer(model) == "classifier.3"


def test_torchvision_options_reach_its_function():
    options = {"width_mult": 0.5, "dropout": 0.35}
    model = build_network(use("mobilenet_v3_small", **options), channels=1, size=(32, 32), classes=5, seed=1)
    whole = build_network(use("mobilenet_v3_small"), channels=1, size=(32, 32), classes=5, seed=1)
    assert model.classifier[0].in_features == whole.classifier[0].in_features / 2
    assert model.classifier[2].p == 0.35


@pytest.fixture
def third_party(monkeypatch):
    """A user's own module with a network function and a network class."""

    def tiny(*, channels: int, classes: int, width: int = 4) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)
        )

    class Positional(nn.Module):
        def __init__(self, channels, size, classes):
            super().__init__()
            self.head = nn.Linear(channels * size[0] * size[1], classes)

        def forward(self, images):
            return self.head(images.flatten(1))

    class Viewing(nn.Module):
        def __init__(self, *, channels, classes):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
            self.head = nn.Linear(4 * 8 * 8, classes)

        def forward(self, images):
            return self.head(self.body(images).view(len(images), -1))

    module = types.ModuleType("third_party_networks")
    module.tiny, module.Positional, module.Viewing = tiny, Positional, Viewing
    monkeypatch.setitem(sys.modules, "third_party_networks", module)


@pytest.mark.usefixtures("third_party")
def test_a_network_of_ones_own():
    model = build_network(use("third_party_networks:tiny", width=6), channels=3, size=(8, 8), classes=2, seed=0)
    assert model[0].out_channels == 6
    assert feature_layer(model) == "3"
    other = build_network(use("third_party_networks:Positional"), channels=3, size=(8, 9), classes=2, seed=0)
    assert feature_layer(other) == "head"


@pytest.mark.usefixtures("third_party")
def test_a_network_that_views_its_pixels_keeps_the_plain_layout():
    model = build_network(use("third_party_networks:Viewing"), channels=3, size=(8, 8), classes=2, seed=0)
    assert layout_of(model) == torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    batch = Batch(torch.rand(9, 3, 8, 8, generator=generator), torch.arange(9) % 2, torch.arange(9))
    trained = fit(model, batch, Phase(epochs=1), Recipe(augmentation="crop"), seed=0, update=True)
    assert logits(trained.model, batch.images.contiguous(memory_format=torch.channels_last)).shape == (9, 2)


def test_ours_are_laid_out_channels_last():
    model = build_network(use("standard-cnn"), channels=1, size=(8, 8), classes=3, seed=1)
    assert layout_of(model) == torch.channels_last
