"""A third-party attack with one goal for each class is poisoned, measured and checked like ours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from simulator.checks import check
from simulator.errors import PluginError
from simulator.guard.call import Plugin
from simulator.scenario.model import Scenario
from simulator.world.attacks.base import POISON, Attack, Poisoned
from simulator.world.attacks.patch import Patch
from simulator.world.drift import Brightness, Drift
from simulator.world.foreign import ForeignAttack, ForeignDrift
from simulator.world.sources.base import SourceData
from simulator.world.world import World

PLUGIN = Plugin("attack 'theirs'", True)


class EachToNext(Attack):
    """Makes every class the next one; `slip` names what it does wrong."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip
        self.patch = Patch(size=2)

    def for_classes(self, classes: int) -> Any:
        """Know the target of each class."""
        found = copy.copy(self)
        found.targets = None if self.slip == "untold" else tuple((label + 1) % classes for label in range(classes))
        found.classes = classes  # type: ignore[attr-defined]
        return "nothing" if self.slip == "no attack" else found

    def targets_of(self, labels: Tensor) -> Tensor:
        """Return the next class of each."""
        return labels + 1 if self.slip == "no class" else (labels + 1) % self.classes  # type: ignore[attr-defined]

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Poison the first rows."""
        rows = torch.arange(round(rate * len(labels)))
        roles = torch.zeros(len(labels), dtype=torch.int8).index_fill(0, rows, POISON)
        stamped = images.index_copy(0, rows, self.stamp(images[rows]))
        return Poisoned(stamped, labels.index_copy(0, rows, self.targets_of(labels[rows])), roles)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Stamp a patch."""
        return self.patch.stamp(images, opacity)

    def named_classes(self) -> dict[str, tuple[int, ...]]:
        """Name none."""
        return {}


USE = f"{__name__}:EachToNext"


def public(base: type) -> dict[str, Any]:
    return {name: value for name, value in vars(base).items() if not name.startswith("_")}


def test_every_public_method_is_delegated() -> None:
    for base, wrapper, own in ((Attack, ForeignAttack, set[str]()), (Drift, ForeignDrift, {"change"})):
        methods = {name for name, value in public(base).items() if callable(value)} - own
        assert len(methods) >= 4
        assert methods - vars(wrapper).keys() == set()


def test_every_fact_of_an_attack_is_delegated() -> None:
    facts = {name for name, value in public(Attack).items() if not callable(value)}
    assert {"target", "targets", "sources", "content", "measured"} <= facts
    wrapped = EachToNext()
    vars(wrapped).update({name: f"its {name}" for name in facts})
    found = ForeignAttack(PLUGIN, wrapped, 4)
    assert {name: getattr(found, name) for name in facts} == {name: f"its {name}" for name in facts}


def test_every_fact_of_a_drift_is_delegated() -> None:
    found = ForeignDrift(PLUGIN, Brightness(amount=0.25, pattern="recurring", at=3, every=2))
    assert (found.step, found.pattern, found.at, found.every) == (0.25, "recurring", 3, 2)


def test_a_run_poisons_and_measures_by_the_goal_of_each_class(
    make_data: Callable[..., SourceData], make_scenario: Callable[..., Scenario]
) -> None:
    scenario = make_scenario(attack={"use": USE}, campaign={"use": "one-shot", "rate": 0.5})
    world = World.build(scenario, make_data(), attacked=True, device="cpu")
    clean, _, _ = World.build(scenario, make_data(), attacked=False, device="cpu").arrive(0, {})
    batch, _, roles = world.arrive(0, {})
    assert batch.labels.tolist() == torch.where(roles == POISON, (clean.labels + 1) % 4, clean.labels).tolist()
    assert world.targets == (1, 2, 3, 0)
    plain, pool = world.relearning(1, 0, 0, False), world.relearning(1, 0, 6, False)
    moved = pool.labels != plain.labels
    assert pool.labels[moved].tolist() == ((plain.labels[moved] + 1) % 4).tolist()


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        (
            "untold",
            r"expected targets of .* to be what its targets_of gives for each class, \(1, 2, 3, 0\), got \(0, 0",
        ),
        ("no class", r"to return targets \(4,\) of torch.int64 on cpu in \[0, 3\], got values from 1 to 4"),
        ("no attack", "to return an attack for 4 classes, got str"),
    ],
)
def test_goals_that_cannot_be_measured_are_refused(
    make_data: Callable[..., SourceData], make_scenario: Callable[..., Scenario], slip: str, told: str
) -> None:
    scenario = make_scenario(attack={"use": USE, "slip": slip}, campaign={"use": "one-shot", "rate": 0.5})
    with pytest.raises(PluginError, match=told):
        World.build(scenario, make_data(), attacked=True, device="cpu")


def test_check_sees_what_a_run_refuses() -> None:
    def failed(slip: str) -> set[str]:
        return {one.name for one in check("attacks", USE, {"slip": slip}) if not one.passed}

    assert failed("none") == set()
    assert failed("untold") >= {"answers-as-in-a-run"}
