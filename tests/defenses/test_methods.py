"""The arithmetic of the methods, on hand-worked values and networks of several wirings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from defenses.base import Context, DoesNotApply, Rows
from defenses.fine_pruning import FinePruning
from defenses.neural_cleanse import NeuralCleanse, anomaly_indices
from defenses.scripted import ScriptedDefense
from defenses.strip import Strip


def test_anomaly_indices_use_the_mean_of_the_middle_two() -> None:
    # median 4 (of 3 and 5), deviations 3 1 1 3, their median 2 (of 1 and 3)
    found = anomaly_indices(np.array([1.0, 3.0, 5.0, 7.0]))
    np.testing.assert_allclose(found, np.array([3.0, 1.0, -1.0, -3.0]) / (1.4826 * 2))


def test_anomaly_indices_of_equal_norms_are_zero() -> None:
    np.testing.assert_array_equal(anomaly_indices(np.full(10, 7.0)), np.zeros(10))


class Residual(nn.Module):
    """Registers its shortcut last but runs it first; the last convolution has no BatchNorm behind it in the list."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)
        self.shortcut = nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        short = self.shortcut(images)
        return self.head((short + self.norm(self.last(images)).relu()).mean((2, 3)))


def _context(model: nn.Module, layer: str, trusted: int = 30) -> Context:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(trusted, 3, 8, 8, generator=generator)
    rows = Rows(images, torch.arange(trusted) % 5)
    return Context(model.eval(), layer, 5, torch.device("cpu"), rows, generator)


def test_pruning_follows_the_order_of_execution() -> None:
    torch.manual_seed(0)
    model = Residual()
    before = model.shortcut.weight.clone()
    evidence = FinePruning(drop=0.99, step=0.25, epochs=0).repair(_context(model, "head")).evidence
    pruned = evidence["pruned"]
    assert len(pruned) == 3
    assert torch.equal(model.shortcut.weight, before)
    for tensor in (model.last.weight.flatten(1).abs().sum(1), model.last.bias, model.norm.weight, model.norm.bias):
        assert not tensor[pruned].any()


def test_pruning_takes_the_idlest_channel_first() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([0.5, -1.0, 0.2]))  # activations 0.5, 0 and 0.2
    evidence = FinePruning(drop=0.99, step=0.34, epochs=0).repair(_context(model, "4")).evidence
    assert evidence["pruned"] == [1, 2]


@pytest.mark.parametrize("step", [1.0, 0.5, 0.3])
def test_pruning_ends_with_what_is_left_of_the_channels_however_large_its_steps(step: float) -> None:
    """Four channels of activations 4, 1, 2, 3, of which all but the liveliest go where accuracy does not count."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([4.0, 1.0, 2.0, 3.0]))
    evidence = FinePruning(drop=0.99, step=step, epochs=0).repair(_context(model, "4")).evidence
    assert evidence["pruned"] == [1, 2, 3]


def test_fine_pruning_skips_a_network_without_convolution() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    with pytest.raises(DoesNotApply, match="needs a network with a convolution"):
        FinePruning().repair(_context(model, "1"))


@pytest.mark.parametrize("surface", ["filter", "repair", "inspector", "screen"])
def test_a_script_has_the_surface_it_is_given(surface: Any) -> None:
    assert ScriptedDefense(surface=surface).surface == surface


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ScriptedDefense(share=1.5), "expected share to be at most 1, got 1.5"),
        (lambda: FinePruning(drop=1.0), "expected drop to be below 1, got 1.0"),
        (lambda: NeuralCleanse(steps=0), "expected steps to be at least 1, got 0"),
        (lambda: Strip(opacity=0.0), "expected opacity to be above 0, got 0.0"),
        (lambda: Strip(false_positive_rate=1.0), "expected false_positive_rate to be below 1, got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
