"""Attacks with a surrogate: their view, when it is trained, and that arm and twin use the same attack."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simulator.errors import ScenarioError
from simulator.observer.report.triggers import triggers_of
from simulator.preflight.scenario import check_scenario
from simulator.production.training.surrogate import surrogate_trainer
from simulator.scenario.model import Scenario
from simulator.world.attacks.base import POISON
from simulator.world.attacks.label_consistent import LabelConsistent, perturbed
from simulator.world.attacks.patch import Patch
from simulator.world.attacks.surrogate import SurrogateView
from simulator.world.sources.assemble import digest_of_arrays
from simulator.world.sources.base import SourceData
from simulator.world.world import World, load_source

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]
LABEL_CONSISTENT = {"use": "label-consistent", "target": 1, "size": 2, "corners": ["top-left"], "steps": 3}


class Linear(nn.Module):
    """Two logits of images (1, 1, 8): the sum of their first pixels and of their last ones."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return torch.stack([flat[:, :4].sum(1), flat[:, 4:].sum(1)], dim=1)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_perturbation_moves_every_pixel_away_from_its_class_as_far_as_it_may() -> None:
    images = torch.full((3, 1, 1, 8), 0.5)
    moved = perturbed(Linear(), images, torch.tensor([0, 0, 1]), eps=0.1, steps=10, generator=random())
    away = torch.tensor([-0.1] * 4 + [0.1] * 4)
    torch.testing.assert_close(moved[:, 0, 0] - 0.5, torch.stack([away, away, -away]), atol=1e-6, rtol=0)


def test_a_perturbation_stays_within_brightness_and_box() -> None:
    images = torch.rand(5, 1, 1, 8, generator=random())
    moved = perturbed(Linear(), images, torch.zeros(5, dtype=torch.long), eps=0.7, steps=4, generator=random(1))
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert (moved - images).abs().max() <= 0.7 + 1e-6


def test_a_perturbation_of_many_rows_is_that_of_each() -> None:
    images = torch.rand(1100, 1, 1, 8, generator=random())
    labels = torch.arange(1100) % 2
    moved = perturbed(Linear(), images, labels, eps=0.3, steps=4, generator=random(1))
    expected = (images + torch.where(labels == 0, -0.3, 0.3)[:, None, None, None] * _first_less_last()).clamp(0, 1)
    torch.testing.assert_close(moved, expected)


def _first_less_last() -> Tensor:
    return torch.tensor([1.0] * 4 + [-1.0] * 4).reshape(1, 1, 1, 8)


def view(teach: Callable[[Tensor, Tensor, int], nn.Module]) -> SurrogateView:
    return SurrogateView(torch.rand(6, 1, 8, 8, generator=random()), torch.arange(6) % 2, 2, random(), teach)


def test_label_consistent_rows_are_perturbed_and_then_patched() -> None:
    attack = LabelConsistent(target=1, size=2, corners=("top-left",), eps=0.1, steps=5, pattern="white")
    ready = attack.prepared(view(lambda images, labels, epochs: nn.Sequential(nn.Flatten(), nn.Linear(64, 2))))
    images, labels = torch.full((10, 1, 8, 8), 0.5), torch.arange(10) % 2
    plain, found = attack.poison(images, labels, 0.2, random()), ready.poison(images, labels, 0.2, random())
    rows = found.roles == POISON
    assert torch.equal(rows, plain.roles == POISON)
    assert labels[rows].tolist() == [1, 1]
    assert torch.equal(found.labels, labels)
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[:2, :2] = True
    assert (found.images[rows][..., inside] == 1).all()
    change = (found.images[rows] - 0.5)[..., ~inside].abs()
    assert 0.099 < change.max() <= 0.1 + 1e-6
    assert (plain.images[rows][..., ~inside] == 0.5).all()
    assert torch.equal(ready.stamp(images), Patch(size=2, place="top-left").stamp(images))


def test_without_a_perturbation_nothing_is_trained() -> None:
    def never(images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
        raise AssertionError("trained")

    attack = LabelConsistent(eps=0.0)
    assert attack.prepared(view(never)) is attack


class Recording:
    """Counts trainings, and keeps what they were given."""

    def __init__(self, scenario: Scenario, classes: int) -> None:
        self.given: list[tuple[Tensor, Tensor, int]] = []
        self._teach = surrogate_trainer(scenario, classes)

    def __call__(self, images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
        self.given.append((images, labels, epochs))
        return self._teach(images, labels, epochs)


def small(make_scenario: MakeScenario, **attack: Any) -> Scenario:
    keys = {**LABEL_CONSISTENT, "surrogate_epochs": 1, "surrogate_rows": 50, **attack}
    return make_scenario(
        attack={key: value for key, value in keys.items() if value is not None},
        campaign={"use": "persistent", "rate": 0.1},
    )


def test_a_surrogate_sees_clean_rows_of_period_0_and_is_trained_once(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    scenario, data = small(make_scenario), make_data()
    teach = Recording(scenario, data.classes)
    world = World.build(scenario, data, attacked=True, device="cpu", teach=teach)
    assert teach.given == []
    world.test(0), world.validation(), world.trusted(1)
    assert teach.given == []
    world.stamped(2)
    for period in range(3):
        world.arrive(period, {})
    clean, _, _ = World.build(scenario, data, attacked=False, device="cpu").arrive(0, {})
    ((images, labels, epochs),) = teach.given
    assert torch.equal(images, clean.images[:50])
    assert torch.equal(labels, clean.labels[:50])
    assert epochs == 1


def test_no_more_rows_than_there_are_are_given(make_data: MakeData, make_scenario: MakeScenario) -> None:
    scenario, data = small(make_scenario, surrogate_rows=5000), make_data()
    teach = Recording(scenario, data.classes)
    World.build(scenario, data, attacked=True, device="cpu", teach=teach).stamped(0)
    assert len(teach.given[0][0]) == 60


def test_checking_a_scenario_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("simulator.production.training.fit.fit", never)
    monkeypatch.setattr("simulator.production.update.fit", never)
    monkeypatch.setattr("simulator.production.training.surrogate.fitted", never)
    check_scenario(digits(), data=True)


def test_a_world_without_a_teacher_says_so(make_data: MakeData, make_scenario: MakeScenario) -> None:
    world = World.build(small(make_scenario), make_data(), attacked=True, device="cpu")
    with pytest.raises(ScenarioError, match="a way to train the surrogate of attack 'label-consistent', got none"):
        world.arrive(0, {})


def test_own_rows_that_are_no_good_are_refused_in_a_sentence(make_data: MakeData, make_scenario: MakeScenario) -> None:
    """Of the first two rows of period 0 none is of another class than the target's."""
    data = make_data()
    scenario = small(make_scenario, use="gradient-aligned", corners=None, surrogate_rows=2)
    first = World.build(scenario, data, attacked=False, device="cpu").arrive(0, {})[0].ids[:2].numpy()
    labels = data.labels.copy()
    labels[first] = 1
    teach = surrogate_trainer(scenario, data.classes)
    world = World.build(scenario, replace(data, labels=labels), attacked=True, device="cpu", teach=teach)
    with pytest.raises(ScenarioError, match="'gradient-aligned': expected the attacker's own rows to be of other"):
        world.stamped(0)


def test_what_preparing_measured_is_shown() -> None:
    attack = {"use": "gradient-aligned", "steps": 1, "surrogate_epochs": 1, "surrogate_rows": 200}
    (trigger,) = triggers_of(digits(attack=attack))
    assert set(trigger.measured) == {"gradient cosine before", "gradient cosine after"}
    assert all(-1 <= cosine <= 1 for cosine in trigger.measured.values())


def test_a_rate_above_the_class_share_is_refused_without_a_teacher(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    scenario = make_scenario(attack=LABEL_CONSISTENT, campaign={"use": "one-shot", "rate": 0.5})
    with pytest.raises(
        ScenarioError,
        match=r"'one-shot' at rate 0.5 in period 0: expected at least 30 rows of target class 1 among 60 for a "
        r"clean-label rate of 0.5, got \d+; lower the rate",
    ):
        World.build(scenario, make_data(), attacked=True, device="cpu")


def digits(**keys: Any) -> Scenario:
    attack = {"use": "label-consistent", "target": 1, "size": 2, "surrogate_epochs": 1, "surrogate_rows": 200}
    return Scenario.model_validate(
        {
            "seed": 3,
            "periods": 2,
            "source": {"use": "digits"},
            "stream": {"base": 300, "batch": 100, "validation": 50, "relearning": 40, "test": 60},
            "trusted": {"images": 20},
            "attack": attack,
            "campaign": {"use": "persistent", "rate": 0.05},
            "recipe": {"base": {"epochs": 1}, "update": {"epochs": 1, "batch": 50}},
            **keys,
        }
    )


def triggers(scenario: Scenario) -> list[str]:
    """Digests of what arm and twin stamp, and of what arrives poisoned."""
    data = load_source(scenario.source)
    arm, twin = (
        World.build(scenario, data, attacked=attacked, device="cpu", teach=surrogate_trainer(scenario, data.classes))
        for attacked in (True, False)
    )
    seen = (arm.stamped(1), twin.stamped(1), arm.again(1, 0.05)[0].images)
    return [digest_of_arrays(images.numpy()) for images in seen]


_SAY = """
import importlib.util, json, sys, torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("surrogates", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
scenarios = [tests.Scenario.model_validate(values) for values in json.load(sys.stdin)]
print(json.dumps([tests.triggers(scenario) for scenario in scenarios]))
"""


SURROGATES: dict[str, dict[str, Any]] = {
    "label-consistent": {"steps": 3},
    "gradient-aligned": {"steps": 2},
}


def test_arm_twin_and_a_fresh_process_see_the_same_attack() -> None:
    attack = digits().attack.model_dump()
    scenarios = [digits(attack={**attack, "use": use, **options}) for use, options in SURROGATES.items()]
    fresh = subprocess.run(
        [sys.executable, "-c", _SAY, __file__],
        input=json.dumps([scenario.model_dump(mode="json") for scenario in scenarios]),
        capture_output=True,
        text=True,
        check=True,
    )
    found = [triggers(scenario) for scenario in scenarios]
    assert json.loads(fresh.stdout) == found
    assert all(arm == twin != poisoned for arm, twin, poisoned in found)
