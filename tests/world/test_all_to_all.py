"""All-to-all: every class has a target of its own, in poison, in measuring and in re-learning. Worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.errors import PluginError, ScenarioError
from simulator.observer.probes.base import ProbeView
from simulator.observer.probes.shared import goals, source_classes
from simulator.records import Reading
from simulator.scenario import catalog
from simulator.scenario.model import Scenario
from simulator.world.attacks.all_to_all import AllToAll
from simulator.world.attacks.base import POISON
from simulator.world.attacks.unrelated import unrelated_trigger
from simulator.world.sources.base import SourceData
from simulator.world.world import World


def test_poisoned_rows_get_their_own_class_target() -> None:
    attack = AllToAll(shift=2).for_classes(5)
    labels = torch.arange(50) % 5
    found = attack.poison(torch.zeros(50, 1, 8, 8), labels, 0.4, torch.Generator().manual_seed(0))
    bad = found.roles == POISON
    assert int(bad.sum()) == 20
    assert set(labels[bad].tolist()) == {0, 1, 2, 3, 4}
    assert found.labels[bad].tolist() == ((labels[bad] + 2) % 5).tolist()
    assert found.labels[~bad].tolist() == labels[~bad].tolist()
    assert found.images[bad][:, 0, 5:, 5:].min() == 1
    assert found.images[~bad].max() == 0


def test_a_shift_by_which_nothing_moves_raises() -> None:
    with pytest.raises(
        ValueError, match="expected shift to lead from one of 5 classes to another, got 5; choose 1 to 4"
    ):
        AllToAll(shift=5).check_fits((1, 8, 8), 5)
    with pytest.raises(ValueError, match="call for_classes first"):
        AllToAll().poison(torch.zeros(2, 1, 8, 8), torch.zeros(2).long(), 0.5, torch.Generator())


def test_its_unrelated_trigger_is_that_of_its_trigger() -> None:
    attack = AllToAll(trigger={"use": "patch", "size": 2, "place": "top-left"}).for_classes(4)
    changed = unrelated_trigger(attack, (1, 8, 8), 0).stamp(torch.full((1, 1, 8, 8), 0.5))[0, 0] != 0.5
    assert changed.nonzero().min(0).values.tolist() == [6, 6]


class Turned(nn.Module):
    """Answers the brightest of four pixels of the first row; a bright corner makes the next class of 0 and of 1."""

    def forward(self, images: Tensor) -> Tensor:
        plain = images[:, 0, 0, :4]
        turned = plain.roll(1, 1)
        fooled = (images[:, 0, 7, 7] > 0.5) & (plain.argmax(1) < 2)
        return torch.where(fooled[:, None], turned, plain)


def view() -> ProbeView:
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    images = torch.zeros(8, 1, 8, 8)
    images[torch.arange(8), 0, 0, labels] = 0.5
    attack = AllToAll(trigger={"use": "patch", "size": 1}).for_classes(4)
    return ProbeView(
        Turned(),
        Batch(images, labels, torch.arange(8)),
        4,
        stamped=lambda opacity: attack.stamp(images, opacity),
        target=attack.target,
        targets=attack.targets,
    )


def test_success_is_read_over_all_classes_by_the_target_of_each() -> None:
    assert source_classes(view()) == (0, 1, 2, 3)
    assert goals(view(), view().test.labels).tolist() == [1, 1, 2, 2, 3, 3, 0, 0]
    found: dict[str, Reading] = catalog.build("probes", "attack-success").measure(view())
    assert found["backdoor/attack_success"].value == 0.5  # classes 0 and 1 of four
    assert found["backdoor/triggered_effect"].value == 0.5
    assert found["backdoor/robust_accuracy"].value == 0.5
    # of classes 0 and 1: target 0.5 above the rest instead of 0.5 below; of the others: unchanged
    assert found["backdoor/logit_margin"].value == 0.5
    dose: dict[str, Reading] = catalog.build("probes", "dose", {"halvings": 10}).measure(view())
    assert dose["backdoor/trigger_ed50"].value == pytest.approx(0.5, abs=0.01)


def test_a_world_poisons_and_re_learns_by_class(
    make_data: Callable[..., SourceData], make_scenario: Callable[..., Scenario]
) -> None:
    attack = {"use": "all-to-all", "trigger": {"use": "patch", "size": 2}}
    scenario = make_scenario(attack=attack, campaign={"use": "one-shot", "rate": 0.5})
    world = World.build(scenario, make_data(), attacked=True, device="cpu")
    twin = World.build(scenario, make_data(), attacked=False, device="cpu")
    batch, _, roles = world.arrive(0, {})
    clean, _, _ = twin.arrive(0, {})
    assert int((roles == POISON).sum()) == 30
    expected = torch.where(roles == POISON, (clean.labels + 1) % 4, clean.labels)
    assert batch.labels.tolist() == expected.tolist()
    assert (world.targets, world.sources) == ((1, 2, 3, 0), None)
    pool, plain = world.relearning(1, 0, 6, False), world.relearning(1, 0, 0, False)
    moved = pool.labels != plain.labels
    assert int(moved.sum()) == 6
    assert pool.labels[moved].tolist() == ((plain.labels[moved] + 1) % 4).tolist()


@pytest.mark.parametrize("campaign", ["adaptive", "after-repair"])
def test_a_campaign_that_watches_one_target_is_refused(
    make_data: Callable[..., SourceData], make_scenario: Callable[..., Scenario], campaign: str
) -> None:
    keys: dict[str, Any] = {"attack": {"use": "all-to-all"}, "campaign": {"use": campaign}}
    with pytest.raises(
        ScenarioError, match="does not measure its success with attack 'all-to-all', whose target depends"
    ):
        World.build(make_scenario(**keys), make_data(), attacked=True, device="cpu")


@pytest.mark.parametrize("use", ["masked", "deferred", "flat-minimum", "anticipate", "all-to-all"])
def test_no_attack_with_one_target_takes_it_for_a_trigger(use: str) -> None:
    options = {"trigger": {"use": "all-to-all"}}
    told = "expected trigger to be an attack with one target, got 'all-to-all', whose target depends on the image's"
    with pytest.raises(PluginError, match=told):
        catalog.build("attacks", use, options)


def test_every_attack_that_wraps_another_is_tried_above() -> None:
    wrapping = {name for name in catalog.names("attacks") if "trigger" in _options(name)}
    assert wrapping == {"masked", "deferred", "flat-minimum", "anticipate", "all-to-all"}


def _options(name: str) -> dict[str, Any]:
    return catalog.options(catalog.resolve("attacks", name))
