"""Probes that compare a version with its paced twin's: the weights reach them, wherever the two lines live."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simulator.loop.events import Stage
from simulator.loop.lineage import Lineage
from simulator.observer.observer import Observer
from simulator.production.training.networks import build_network
from simulator.production.training.weights import load_into
from simulator.scenario.model import Scenario
from simulator.tensors import ModelVersion
from simulator.world.world import World, load_source

from .conftest import SMALL, Opened, Played, digests, play_in_memory

KEYS: dict[str, Any] = {
    "periods": 2,
    "source": {"use": "digits", "test_share": 0.4},
    "probes": [
        {"use": "existence", "images": 40, "shares": [0.2], "when": "every"},
        {"use": "linear-path", "points": 2, "images": 40},
        {"use": "gradient-cosine", "images": 40},
    ],
}
FLOOR, CONTROL = "backdoor/existence_floor", "backdoor/path_control_share"


@pytest.fixture(scope="module")
def whole() -> tuple[Opened, Played]:
    opened = Opened(**KEYS)
    return opened, opened.play()


@pytest.fixture(scope="module")
def played(whole: tuple[Opened, Played]) -> Played:
    return whole[1]


def test_the_twins_weights_give_floor_and_control(played: Played) -> None:
    arm = [entry.record.readings for entry in played["main"]]
    assert arm[0]["backdoor/existence_raw"].value == pytest.approx(1.0)  # the ancestor itself
    assert arm[0]["backdoor/existence"].value == pytest.approx(1.0)
    for readings in arm:
        floor = readings[FLOOR].value
        assert floor is not None
        assert 0 < floor < 1
    assert "first erased and the last" in str(arm[0][CONTROL].reason)
    assert arm[2][CONTROL].value is not None
    twin = [entry.record.readings for entry in played["main.twin"]]
    assert {readings["backdoor/existence"].reason for readings in twin} == {"this version has no poisoned ancestor"}


def test_the_weights_are_those_of_the_twins_version_in_the_same_period(whole: tuple[Opened, Played]) -> None:
    opened = whole[0]
    scenario, (arm, twin) = opened.scenario, opened.head.lineages
    world = World.build(scenario, load_source(scenario.source), attacked=True, device="cpu")
    for period in range(3):
        channels, height, width = world.shape
        facts: dict[str, Any] = {"channels": channels, "size": (height, width), "classes": world.classes}
        model = build_network(scenario.recipe.network, **facts, seed=0)
        load_into(model, opened.registry.weights(arm, period))
        ancestor, control = opened.registry.weights(arm, 0), opened.registry.weights(twin, period)
        read = Observer(scenario, world).read(
            period, ModelVersion(model), when="every", ancestor=dict(ancestor), control=dict(control), compared=True
        )
        committed = opened.records()[period].readings
        assert set(read) == {"backdoor/existence", "backdoor/existence_raw", FLOOR}
        assert {name: committed[name] for name in read} == read


def test_workers_of_their_own_and_a_fresh_process_give_the_same(played: Played) -> None:
    assert digests(play_in_memory(Scenario.model_validate(SMALL | KEYS), processes=2)) == digests(played)
    opened = Opened(**KEYS)
    opened.play(until=1)
    assert digests(opened.play()) == digests(played)


def test_tensors_are_no_arguments_of_a_stage_and_travel_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, tuple[Any, ...]]] = []
    asked: list[int] = []
    weights = Lineage.weights

    def wrap(name: str, function: Stage[Any]) -> Stage[Any]:
        def call(*given: Any) -> Any:
            seen.append((name, given))
            return function(*given)

        return call

    def noted(self: Lineage, ordinal: int) -> dict[str, torch.Tensor]:
        asked.append(ordinal)
        return weights(self, ordinal)

    monkeypatch.setattr(Lineage, "weights", noted)
    Opened(**KEYS).play(until=0, wrap=wrap)
    compared = [given for name, given in seen if name == "probe"]
    assert compared == [("main", "none", 0), ("main", "paced", 0)] * 2  # as they are, then compared
    assert asked == [0]  # the twin's version, for the arm's comparison
    asked.clear()
    Opened(probes=[{"use": "attack-success"}]).play(until=0, wrap=wrap)
    assert asked == []


def test_without_a_paced_twin_the_raw_one_is_left() -> None:
    readings = Opened(**KEYS, twins=[]).play(until=1)["main"][1].record.readings
    assert readings["backdoor/existence_raw"].value is not None
    assert readings[FLOOR].reason == "there is no paced twin to compare with"
