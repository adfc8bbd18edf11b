"""Attackers that control training: what their triggers delegate, and what their steps do, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.errors import PluginError
from simulator.loop.attacker import AttackersTraining
from simulator.production.training.fit import fit
from simulator.production.training.job import Job
from simulator.scenario import catalog
from simulator.scenario.model import Phase, Recipe, Use
from simulator.world.attacks.base import POISON, Attack
from simulator.world.attacks.descent import batches, frozen_statistics, stretched
from simulator.world.attacks.flat_minimum import at_worst
from simulator.world.attacks.masked import apart, smallest
from simulator.world.attacks.patch import Patch
from simulator.world.attacks.training import TrainingView
from simulator.world.attacks.unrelated import unrelated_trigger

NAMES = ["anticipate", "deferred", "flat-minimum", "masked"]


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, **options: Any) -> Attack:
    attack: Attack = catalog.build("attacks", name, options)
    return attack


def rows(count: int = 64) -> tuple[Tensor, Tensor]:
    return 0.8 * torch.rand(count, 1, 8, 8, generator=random()), torch.arange(count) % 4


@pytest.mark.parametrize("name", NAMES)
def test_the_classes_that_a_trigger_names_are_named(name: str) -> None:
    attack = build(name, target=0, trigger={"use": "tact", "sources": [1], "covers": [5, 7]})
    assert attack.named_classes() == {"target": (0,), "source": (1,), "cover": (5, 7)}


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 4)
        )
    return layers.eval()


def view_of(model: nn.Module, images: Tensor, labels: Tensor) -> TrainingView:
    """A view without a platform: what is not there raises."""

    def missing(*_: Any) -> Any:
        raise AssertionError("expected this not to be asked for")

    return TrainingView(
        model=model,
        images=images,
        labels=labels,
        roles=torch.zeros(len(labels), dtype=torch.int8),
        update=False,
        epochs=1,
        batch=4,
        rates=(0.1,),
        generator=random(),
        optimizer=missing,
        augmented=lambda given: given,
        fit=missing,
        tell=missing,
    )


def trained(name: str, share: float, **options: Any) -> tuple[nn.Module, nn.Module, int | None]:
    """The network after the attack's training, after the platform's on the same rows, and the steps that were told."""
    images, labels = rows()
    attack = build(name, **options)
    found = attack.poison(images, labels, share, random())
    job = Job(
        network(), Batch(found.images, found.labels, torch.arange(64)), Phase(epochs=1, batch=16), Recipe(), 0, False
    )
    mine = AttackersTraining(attack, Use(use=name), found.roles).train(job)
    return mine.model, fit(job.start, job.rows, job.phase, job.recipe, seed=0, update=False).model, mine.steps


@pytest.mark.parametrize("name", NAMES)
def test_the_trigger_is_that_of_the_attack_it_names(name: str) -> None:
    images, labels = rows()
    blend = {"use": "blend", "alpha": 0.3}
    mine, other = build(name, target=2, trigger=blend), build("blend", target=2, alpha=0.3)
    for left, right in ((build(name), Patch()), (mine, other)):
        assert torch.equal(left.stamp(images, 0.5), right.stamp(images, 0.5))
        poisoned, expected = (attack.poison(images, labels, 0.1, random()) for attack in (left, right))
        assert torch.equal(poisoned.images, expected.images)
        assert torch.equal(poisoned.labels, expected.labels)
        assert torch.equal(poisoned.roles, expected.roles)
        assert (left.target, left.largest_change) == (right.target, right.largest_change)
    assert torch.equal(
        unrelated_trigger(mine, (1, 8, 8), 3).stamp(images), unrelated_trigger(other, (1, 8, 8), 3).stamp(images)
    )


def test_source_classes_are_the_triggers() -> None:
    attack, inner = build("masked", trigger={"use": "tact"}), build("tact")
    assert attack.sources == inner.sources
    assert torch.equal(attack.of_source(torch.arange(10)), inner.of_source(torch.arange(10)))
    with pytest.raises(ValueError, match="expected the patch to lie inside"):
        build("masked", trigger={"use": "patch", "size": 9}).check_fits((1, 8, 8), 4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trigger": {"size": 3}}, r"expected trigger to name an attack, as \{use: patch\}, got \{'size': 3\}"),
        ({"trigger": {"use": "pach"}}, "trigger: expected a known attack, or module:Name, got 'pach'; did you mean"),
        ({"trigger": {"use": "patch", "sise": 3}}, "trigger: attack 'patch': expected an option it knows, got 'sise'"),
        ({"trigger": {"use": "patch", "target": 1}}, r"expected target beside trigger, got it inside \(1\)"),
        ({"trigger": {"use": "masked"}}, r"that poisons data, got 'masked' \(controls-training\)"),
        ({"trigger": {"use": "none"}}, r"that poisons data, got 'none' \(none\)|expected an option it knows"),
    ],
)
def test_a_trigger_that_is_none_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        build("masked", **options)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("flat-minimum", {"radius": 0.0}, r"expected radius to be above 0\.0, got 0\.0; raise it"),
        ("flat-minimum", {"rehearsal": 1.0}, r"expected rehearsal to be below 1\.0, got 1\.0; lower it"),
        ("flat-minimum", {"anchor": -1.0}, r"expected anchor to be at least 0\.0, got -1\.0; raise it"),
        ("masked", {"top": 1.0}, r"expected top to be below 1\.0, got 1\.0; lower it"),
        ("masked", {"epochs": 0}, "expected epochs to be at least 1, got 0"),
        ("anticipate", {"updates": 0}, "expected updates to be at least 1, got 0"),
        ("deferred", {"layers": 0}, "expected layers to be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        build(name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_without_poison_the_platform_trains(name: str) -> None:
    _, _, steps = trained(name, 0.0)
    assert steps == 4  # one pass over 64 rows, 16 a step


def test_the_mask_leaves_the_smallest() -> None:
    masks = smallest([torch.tensor([[3.0, 0.1]]), torch.tensor([2.0, 5.0, 0.2])], 0.6)
    assert [mask.tolist() for mask in masks] == [[[0.0, 1.0]], [1.0, 0.0, 1.0]]
    assert [mask.sum() for mask in smallest([torch.ones(2), torch.ones(2)], 0.75)] == [2, 1]


def test_clean_and_poisoned_gradients_add_up_to_the_whole() -> None:
    images, labels = rows()
    model = network()
    view = view_of(model, images, labels)
    view.roles[:8] = POISON
    clean, poison = apart(view, model, torch.arange(16))
    whole = torch.autograd.grad(nn.functional.cross_entropy(model(images[:16]), labels[:16]), list(model.parameters()))
    for one, other, both in zip(clean, poison, whole, strict=True):
        torch.testing.assert_close(one + other, both)


def test_the_sharpness_aware_gradient_is_that_of_the_place_uphill() -> None:
    images, labels = rows(8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    found = at_worst(view_of(model, images, labels), model, torch.arange(8), 0.5)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    # the same, with the weights moved by hand
    loss = nn.functional.cross_entropy(model(images), labels)
    uphill = torch.autograd.grad(loss, list(model.parameters()))
    norm = sum(float(one.square().sum()) for one in uphill) ** 0.5
    with torch.no_grad():
        for parameter, one in zip(model.parameters(), uphill, strict=True):
            parameter += 0.5 * one / norm
    there = torch.autograd.grad(nn.functional.cross_entropy(model(images), labels), list(model.parameters()))
    for one, other in zip(found, there, strict=True):
        torch.testing.assert_close(one, other)


def test_a_deferred_backdoor_is_put_to_sleep_in_the_first_layers() -> None:
    asleep, _, steps = trained("deferred", 0.2, layers=2, epochs=1)
    other, _, _ = trained("deferred", 0.2, layers=2, epochs=1, rate=0.02)
    same = {name: torch.equal(value, other.state_dict()[name]) for name, value in asleep.named_parameters()}
    assert [name for name, kept in same.items() if kept] == ["4.weight", "4.bias"]
    assert torch.equal(asleep.state_dict()["1.running_mean"], other.state_dict()["1.running_mean"])
    assert steps == 4 + 4  # the platform's on 64 rows; 51 rows are not poison


def test_steps_are_told() -> None:
    # 64 rows, 13 of them poison, 16 a step: two passes
    assert trained("masked", 0.2, epochs=2)[2] == 2 * 4
    # a fit, two passes, and a step of the future for each of theirs
    assert trained("anticipate", 0.2, epochs=2)[2] == 4 + 2 * 8
    # three passes over 13 + 46 rows, and one over the other 5
    assert trained("flat-minimum", 0.2, epochs=3, rehearsal_epochs=1)[2] == 3 * 4 + 1


def test_minibatches_cover_the_rows_in_another_order_each_time() -> None:
    images, labels = rows(9)
    found = list(batches(view_of(network(), images, labels), torch.arange(9), 2))
    assert [len(part) for part in found] == [4, 4, 4, 4]  # a left-over row is dropped: BatchNorm needs two
    assert found[0].tolist() != found[2].tolist()
    assert len(set(torch.cat(found[:2]).tolist())) == 8


def test_rates_are_stretched_over_the_same_way() -> None:
    assert stretched((1.0, 2.0), 5) == [1.0, 1.0, 1.0, 2.0, 2.0]
    assert stretched((1.0, 2.0, 3.0), 3) == [1.0, 2.0, 3.0]


def test_frozen_statistics_stay_and_move_again_afterwards() -> None:
    layer = nn.BatchNorm2d(1)
    with frozen_statistics(layer):
        layer(torch.ones(2, 1, 2, 2))
    assert layer.running_mean.tolist() == [0.0]  # type: ignore[union-attr]
    layer(torch.ones(2, 1, 2, 2))
    assert layer.running_mean.tolist() == pytest.approx([0.1])  # type: ignore[union-attr]
