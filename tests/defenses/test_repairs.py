"""The mathematics of the repairs on hand-worked values, and what all of them must keep to."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.anp import AdversarialNeuronPruning
from defenses.base import Context, DoesNotApply, Repair, Rows, Size
from defenses.channels import Layer, one_by_one
from defenses.clp import ChannelLipschitz, lipschitz
from defenses.fine_pruning import FinePruning
from defenses.fine_tuning import FineTuning
from defenses.fst import FeatureShiftTuning
from defenses.i_bau import ImplicitUnlearning
from defenses.nad import NeuralAttentionDistillation, attention
from defenses.neural_cleanse import NeuralCleanse
from defenses.neural_cleanse_unlearning import NeuralCleanseUnlearning
from defenses.reversed_triggers import Search
from defenses.sau import SharedAdversarialUnlearning, divergence
from defenses.stamping import stamped
from defenses.super_fine_tuning import SuperFineTuning
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use

#: every repair, at its cheapest
REPAIRS: dict[str, Repair] = {
    "fine-tuning": FineTuning(epochs=1),
    "super-fine-tuning": SuperFineTuning(epochs=1),
    "fine-pruning": FinePruning(epochs=1, step=0.5),
    "clp": ChannelLipschitz(),
    "anp": AdversarialNeuronPruning(steps=2),
    "nad": NeuralAttentionDistillation(teacher=1, epochs=1),
    "i-bau": ImplicitUnlearning(rounds=1, steps=2),
    "fst": FeatureShiftTuning(epochs=1),
    "sau": SharedAdversarialUnlearning(epochs=1, steps=1),
}


def _context(network: str, channels: int, size: int, classes: int, trusted: int = 30) -> Context:
    model = build_network(Use(use=network), channels=channels, size=(size, size), classes=classes, seed=0)
    images = torch.rand(trusted, channels, size, size, generator=torch.Generator().manual_seed(0))
    rows = Rows(images, torch.arange(trusted) % classes)
    return Context(model, feature_layer(model), classes, torch.device("cpu"), rows, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", REPAIRS)
@pytest.mark.parametrize(
    ("network", "channels", "size", "classes"),
    [("compact-cnn", 3, 8, 26), ("standard-cnn", 1, 12, 2), ("resnet20", 3, 8, 3)],
)
def test_a_repair_keeps_the_architecture_and_its_inputs(
    name: str, network: str, channels: int, size: int, classes: int
) -> None:
    first, again = (_context(network, channels, size, classes) for _ in range(2))
    images = first.trusted.images.clone()
    shapes = {key: value.shape for key, value in first.model.state_dict().items()}
    repaired = REPAIRS[name].repair(first).model.state_dict()
    assert {key: value.shape for key, value in repaired.items()} == shapes
    assert all(value.isfinite().all() for value in repaired.values())
    assert torch.equal(first.trusted.images, images)
    repeated = REPAIRS[name].repair(again).model.state_dict()
    assert all(torch.equal(repaired[key], repeated[key]) for key in repaired)
    assert not any(module._forward_hooks for module in first.model.modules())


class Plain(nn.Module):
    """A convolution without BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.convolution(images).relu().mean((2, 3)))
        return logits


def _plain(model: nn.Module, layer: str, trusted: int = 30) -> Context:
    images = torch.rand(trusted, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = Rows(images, torch.arange(trusted) % 3)
    return Context(model.eval(), layer, 3, torch.device("cpu"), rows, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_works_without_batchnorm(name: str) -> None:
    found = REPAIRS[name].repair(_plain(Plain(), "head")).model
    assert all(value.isfinite().all() for value in found.state_dict().values())


@pytest.mark.parametrize("name", ["fine-pruning", "clp", "anp", "nad"])
def test_a_repair_of_channels_does_not_apply_without_convolution(name: str) -> None:
    with pytest.raises(DoesNotApply, match="needs a network with"):
        REPAIRS[name].repair(_plain(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "1"))


@pytest.mark.parametrize("name", sorted(REPAIRS.keys() - {"clp"}))
def test_a_repair_does_not_apply_to_too_few_trusted_images(name: str) -> None:
    assert REPAIRS[name].needs_trusted
    with pytest.raises(DoesNotApply, match=r"needs at least \d+ trusted images, there are 1"):
        REPAIRS[name].repair(_plain(Plain(), "head", trusted=1))


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_makes_no_more_passes_than_it_says(name: str) -> None:
    context = _plain(Plain(), "head")
    made = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal made
        made += len(inputs[0])

    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: count(module, inputs) if isinstance(module, Plain) else None
    )
    try:
        REPAIRS[name].repair(context)
    finally:
        handle.remove()
    said = REPAIRS[name].passes(Size(classes=3, trusted=30))
    assert said is not None
    assert 0 < made <= said


def test_the_lipschitz_bound_is_the_spectral_norm_times_the_scale_of_batchnorm() -> None:
    convolution, norm = nn.Conv2d(2, 2, (1, 2), bias=False), nn.BatchNorm2d(2, eps=0.0)
    with torch.no_grad():
        convolution.weight[0] = torch.tensor([[[3.0, 0.0]], [[0.0, 2.0]]])  # singular values 3 and 2
        convolution.weight[1] = torch.tensor([[[1.0, 1.0]], [[1.0, 1.0]]])  # 2 and 0
        norm.weight.copy_(torch.tensor([-2.0, 1.0]))
        norm.running_var.copy_(torch.tensor([4.0, 0.25]))  # type: ignore[union-attr]
    found = lipschitz(Layer("", convolution, norm))
    torch.testing.assert_close(found, torch.tensor([3.0, 4.0]))  # 3 x 2 / 2 and 2 x 1 / 0.5


def test_clp_cuts_what_is_far_above_the_mean_and_nothing_else() -> None:
    convolution = nn.Conv2d(1, 20, 1, bias=False)
    convolution.weight.data.fill_(1.0)
    convolution.weight.data[4] = -11.0  # mean 1.5, deviation 2.236: 4.25 deviations above
    model = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 3))
    result = ChannelLipschitz().repair(_plain(model, "3"))
    assert result.evidence["pruned"] == {"0": [4]}
    assert result.scores["0"][4] == pytest.approx(9.5 / math.sqrt(5), rel=1e-4)
    assert convolution.weight.flatten().tolist() == [1.0] * 4 + [0.0] + [1.0] * 15


def test_divergence_is_half_of_each_relative_entropy_to_the_mean() -> None:
    first, second = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    middle = (first + second) / 2
    wanted = ((first * (first / middle).log()).sum() + (second * (second / middle).log()).sum()) / 2
    torch.testing.assert_close(divergence(first.log(), second.log()), wanted)


def test_attention_does_not_depend_on_the_scale_of_the_maps() -> None:
    maps = torch.rand(3, 4, 2, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attention(maps), attention(-7 * maps))
    torch.testing.assert_close(attention(maps).norm(dim=1), torch.ones(3))


def test_the_cycle_has_its_peaks_where_the_paper_has_them() -> None:
    rate = SuperFineTuning().cycle(400)
    assert rate(10 / 400) == pytest.approx(2.5)
    assert rate(20 / 400) == pytest.approx(0.03)
    assert rate(25 / 400) == pytest.approx(0.03 + (2.5 - 0.03) / 2)
    assert rate(170 / 400) == pytest.approx(0.05)  # the second phase begins at step 160


def test_a_reversed_trigger_is_the_pixel_that_decides() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    with torch.no_grad():
        model[1].bias.zero_()
        model[1].weight.copy_(torch.eye(4, 16))
        model[1].weight[2, 15] = 30.0
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    images[:, :, 3, 3] = 0.0
    search = replace(Search.of(NeuralCleanse()), steps=200)
    found = search.of_class(model, images, 2, torch.Generator().manual_seed(0))
    opacity, pattern = found.triggers[0, :1], found.triggers[0, 1:]
    torch.testing.assert_close(found.norms[0], opacity.sum())
    assert opacity.argmax() == 15
    assert opacity[0, 3, 3] * pattern[0, 3, 3] > 0.8 * (opacity * pattern).sum() - 0.05
    assert (model(stamped(images, opacity, pattern)).argmax(1) == 2).float().mean() > 0.85  # 0.95 of 32 drawn


def test_without_a_suspect_nothing_is_unlearned() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
    with torch.no_grad():
        model[1].bias.zero_()
        model[1].weight.copy_(torch.eye(5, 16))
    rows = Rows(torch.zeros(20, 1, 4, 4), torch.arange(20) % 5)
    rows.images.view(20, 16)[torch.arange(20), rows.labels] = 1.0
    context = Context(model.eval(), "1", 5, torch.device("cpu"), rows, torch.Generator().manual_seed(0))
    result = NeuralCleanseUnlearning().repair(context)
    assert result.evidence["suspect"] is None
    assert torch.equal(result.model[1].weight, torch.eye(5, 16))  # type: ignore[index]
    assert all(parameter.requires_grad for parameter in result.model.parameters())


def test_the_hypergradient_is_that_of_the_answer_to_the_weights() -> None:
    """Against the gradient of the loss at a perturbation that is solved for anew: both of a tiny smooth model."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    rows = Rows(torch.rand(6, 1, 2, 2, dtype=torch.float64), torch.arange(6) % 2)
    method = ImplicitUnlearning(penalty=2.0, terms=200, share=0.5)

    def solve(network: nn.Module) -> Tensor:
        change = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
        for _ in range(400):
            change.requires_grad_()
            (slope,) = torch.autograd.grad(method._inner(network, change, rows.images, rows.labels), change)
            change = change.detach() - 0.1 * slope
        return change

    def outer(network: nn.Module) -> float:
        images = torch.cat([rows.images[:3] + solve(network), rows.images[3:]])
        return float(cross_entropy(network(images), rows.labels).detach())

    with one_by_one(model):
        found = dict(method._hypergradient(model, solve(model), rows))
    weight = model[1].weight
    for place in [(0, 0), (1, 2), (2, 3)]:
        sides = []
        for sign in (1, -1):
            moved = copy.deepcopy(model)
            moved[1].weight.data[place] += sign * 1e-4
            sides.append(outer(moved))
        assert float(found[weight][place]) == pytest.approx((sides[0] - sides[1]) / 2e-4, rel=1e-3, abs=1e-7)


def test_pruning_by_masks_stops_before_accuracy_falls_too_far() -> None:
    model = Plain()
    masks = [torch.tensor([0.1, 0.3, 0.6, 1.0])]
    layer = Layer("convolution", model.convolution, None)
    rows = _plain(model, "head").trusted
    reached = AdversarialNeuronPruning()._prune(model.eval(), (layer,), masks, rows, least=0.0)
    assert reached == 0.95  # nothing is lost that counts: all but the channel with mask 1 go
    assert model.convolution.weight.flatten(1).any(1).tolist() == [False, False, False, True]
    model = Plain()
    before = model.convolution.weight.clone()
    layer = Layer("convolution", model.convolution, None)
    assert AdversarialNeuronPruning()._prune(model.eval(), (layer,), masks, rows, least=1.1) == 0.0
    assert torch.equal(model.convolution.weight, before)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FineTuning(rate=0.0), "expected rate to be above 0, got 0.0"),
        (lambda: SuperFineTuning(base=3.0), "expected base to be at most forget and recover, got 3.0; lower it"),
        (lambda: FinePruning(holdout=1.0), "expected holdout to be below 1, got 1.0"),
        (lambda: ChannelLipschitz(deviations=0.0), "expected deviations to be above 0, got 0.0"),
        (lambda: AdversarialNeuronPruning(clean=1.5), "expected clean to be at most 1, got 1.5"),
        (lambda: NeuralAttentionDistillation(power=0.0), "expected power to be above 0, got 0.0"),
        (lambda: ImplicitUnlearning(radius=0.0), "expected radius to be above 0, got 0.0"),
        (lambda: FeatureShiftTuning(push=-1.0), "expected push to be at least 0, got -1.0"),
        (lambda: SharedAdversarialUnlearning(radius=2.0), "expected radius to be at most 1, got 2.0"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
