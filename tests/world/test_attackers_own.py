"""The attacker's own stamped images: which rows they are, and that no other role has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from simulator.errors import ScenarioError
from simulator.scenario.model import Scenario
from simulator.world.attacks.patch import Patch
from simulator.world.campaign import Campaign, CampaignView
from simulator.world.sources.base import SourceData
from simulator.world.world import World

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]
ADAPTIVE = "simulator.world.adaptive:Adaptive"


class Watching(Campaign):
    """Keeps what it sees, and poisons half of the batch."""

    def __init__(self) -> None:
        self.views: list[CampaignView] = []

    def rate(self, view: CampaignView) -> float:
        self.views.append(view)
        return 0.5


def own_images(scenario: Scenario, data: SourceData, period: int, count: int) -> Tensor:
    campaign = Watching()
    world = World(scenario, data, drifts={}, attack=Patch(target=1, size=2), campaign=campaign, device="cpu")
    world.arrive(period, {})
    (view,) = campaign.views
    assert view.stamped is not None
    assert view.target == 1
    once, again = view.stamped(count), view.stamped(count)
    assert torch.equal(once, again)
    return once


def rows_of(images: Tensor) -> list[int]:
    """Return the rows of the small source, which the first two pixels tell."""
    high, low = (images[:, 0, 0, :2] * 255).round().long().T
    return (high * 256 + low).tolist()


def test_they_are_rows_of_the_batch_of_source_classes_with_the_trigger(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    data, scenario = make_data(), make_scenario()
    images = own_images(scenario, data, 2, 12)
    assert images.shape == (12, 1, 8, 8)
    assert (images[..., 6:, 6:] == 1).all()
    rows = rows_of(images)
    world = World.build(scenario, data, attacked=False, device="cpu")
    assert len(set(rows)) == 12
    assert set(rows) <= set(world.arrive(2, {})[0].ids.tolist())
    assert all(data.labels[row] != 1 for row in rows)
    others = [world.trusted(2), world.validation(), *(world.relearning(2, draw, 0, False) for draw in range(3))]
    assert not set(rows) & {row for batch in others for row in batch.ids.tolist()}


def test_asking_for_more_than_there_are_gives_all(make_data: MakeData, make_scenario: MakeScenario) -> None:
    data, scenario = make_data(), make_scenario()
    rows = rows_of(own_images(scenario, data, 1, 1000))
    batch = World.build(scenario, data, attacked=False, device="cpu").arrive(1, {})[0]
    assert sorted(rows) == sorted(batch.ids[batch.labels != 1].tolist())
    assert rows_of(own_images(scenario, data, 1, 5)) == rows[:5]
    assert rows_of(own_images(make_scenario(seed=1), data, 1, 5)) != rows[:5]


@pytest.mark.parametrize(("stamped", "corner"), [("after-drift", (6, 6)), ("before-drift", (0, 6))])
def test_they_drift_as_the_period_does(
    make_data: MakeData, make_scenario: MakeScenario, stamped: str, corner: tuple[int, int]
) -> None:
    # a quarter turn counter-clockwise takes the lower right corner to the upper right
    keys: dict[str, Any] = {
        "drift": [{"use": "rotation", "degrees": 90, "sampling": "plain"}],
        "attack": {"use": "patch", "target": 1, "size": 2, "stamped": stamped},
        "campaign": {"use": ADAPTIVE, "start": 1, "rate": 0.1},
    }
    seen: list[Tensor] = []

    def query(images: Tensor) -> Tensor:
        seen.append(images)
        return torch.ones(len(images), dtype=torch.int64)

    world = World.build(make_scenario(**keys), make_data(), attacked=True, device="cpu")
    _, arrival, _ = world.arrive(1, {}, query)
    row, column = corner
    assert (seen[0][..., row : row + 2, column : column + 2] > 0.999).all()
    assert arrival.campaign_state == {"success": 1.0}
    assert arrival.asked_rate == 0.1


def test_a_twin_never_asks_and_never_poisons(make_data: MakeData, make_scenario: MakeScenario) -> None:
    def query(images: Tensor) -> Tensor:
        raise AssertionError("asked by a twin")

    scenario = make_scenario(attack={"use": "patch", "target": 1, "size": 2}, campaign={"use": ADAPTIVE})
    twin = World.build(scenario, make_data(), attacked=False, device="cpu")
    for period in range(3):
        _, arrival, _ = twin.arrive(period, {}, query if period else None)
        assert (arrival.poisoned, arrival.campaign_state) == (0, {})


def test_a_rate_that_no_batch_can_serve_is_refused_before_a_run(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    keys: dict[str, Any] = {"attack": {"use": "patch", "target": 1, "size": 2}}
    with pytest.raises(ScenarioError, match=r"at rate 0.9 in period \d: expected at least \d+ rows"):
        World.build(
            make_scenario(campaign={"use": ADAPTIVE, "rate": 0.9}, **keys), make_data(), attacked=True, device="cpu"
        )
