"""`compact-cnn`: its arithmetic by hand, every pixel of every size, and the same bits each time."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from simulator.production.training.blocks import Centred, HalvingMaxPool
from simulator.production.training.compact import CompactCnn, compact_cnn
from simulator.production.training.device import layout_of
from simulator.production.training.evaluate import accuracy, logits
from simulator.production.training.features import feature_layer
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network
from simulator.scenario.model import Phase, Recipe, Use
from simulator.tensors import weights_digest, weights_of

TAUGHT = Phase.model_validate({"epochs": 8, "batch": 16, "schedule": {"use": "one-cycle", "peak": 0.1}})


def built(channels=1, size=(8, 8), classes=3, seed=11):
    return build_network(Use(use="compact-cnn"), channels=channels, size=size, classes=classes, seed=seed)


@pytest.mark.parametrize(
    ("channels", "size", "left"),
    [(1, (8, 8), 1 * 1), (1, (28, 28), 4 * 4), (3, (32, 32), 4 * 4), (3, (8, 13), 1 * 2), (3, (30, 96), 4 * 12)],
)
def test_parameters_by_hand(channels, size, left):
    model = compact_cnn(channels=channels, size=size, classes=10)
    expected = 4 * 4 * channels * 16 + 3 * 3 * 16 * 48 + 2 * (16 + 48) + (48 * left + 1) * 10
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_forward_by_hand():
    model = built(channels=3, size=(28, 28), classes=10)
    generator = torch.Generator().manual_seed(5)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.5, 0.5, generator=generator)
        norm.running_var.uniform_(0.5, 2.0, generator=generator)
    images = torch.rand(4, 3, 28, 28, generator=generator)
    (first, norm1, _, _), (second, norm2) = model.features

    def normed(values, norm):
        shape = (1, -1, 1, 1)
        values = (values - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + 1e-5).sqrt()
        return values * norm.weight.view(shape) + norm.bias.view(shape)

    inner = normed(functional.conv2d(2 * images - 1, first.weight, stride=2, padding=1), norm1)
    inner = inner.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)).relu()
    inner = normed(functional.conv2d(inner, second.weight, stride=2, padding=1), norm2).relu()
    expected = inner.reshape(4, -1) @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(logits(model, images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", range(8, 34))
def test_every_pixel_is_read(side):
    model = compact_cnn(channels=1, size=(side, 8), classes=4).eval()
    images = torch.rand(64, 1, side, 8, generator=torch.Generator().manual_seed(side)).requires_grad_()
    model(images).square().sum().backward()
    assert (images.grad.abs().sum((0, 1)) > 0).all()


def test_consists_of_what_defenses_and_cohorts_know():
    kinds = {type(module) for module in built().modules() if not list(module.children())}
    assert kinds == {Centred, nn.Conv2d, nn.BatchNorm2d, HalvingMaxPool, nn.ReLU, nn.Linear}
    assert feature_layer(built()) == "classifier"
    assert all(layer.out_channels % 16 == 0 for layer in built().modules() if isinstance(layer, nn.Conv2d))


def test_a_copy_is_the_same_and_apart():
    model = built()
    assert isinstance(model, CompactCnn)
    assert layout_of(model) == torch.channels_last
    other = copy.deepcopy(model)
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert layout_of(other) == torch.channels_last
    assert torch.equal(logits(model, images), logits(other, images))
    with torch.no_grad():
        other.classifier.bias.add_(1)
    assert not torch.equal(logits(model, images), logits(other, images))


def test_learns_and_gives_the_same_bits_again(bars):
    model = built()
    before = weights_digest(weights_of(model))
    first, again, other = (fit(model, bars, TAUGHT, Recipe(), seed=seed, update=False).model for seed in (3, 3, 4))
    digests = [weights_digest(weights_of(trained)) for trained in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]
    assert weights_digest(weights_of(model)) == before
    assert layout_of(first) == torch.channels_last
    assert accuracy(first, bars) > 0.95


def test_seeded():
    digests = [weights_digest(weights_of(built(seed=seed))) for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]
