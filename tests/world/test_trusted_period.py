"""Which period's labels the defender has: worked out by hand, by delay and by the last period of new images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from simulator.scenario.model import Scenario
from simulator.world.arrivals.roles import brings_trusted, trusted_period
from simulator.world.sources.base import SourceData
from simulator.world.stream import Stream
from simulator.world.world import World

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]


@pytest.mark.parametrize(
    ("delay", "from_", "periods"),
    [
        (0, "latest", [0, 1, 2, 3, 4, 5]),
        (1, "latest", [0, 0, 1, 2, 3, 4]),
        (3, "latest", [0, 0, 0, 0, 1, 2]),
        (0, 2, [0, 1, 2, 2, 2, 2]),
        (1, 2, [0, 0, 1, 2, 2, 2]),
        (2, 0, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_defender_has_the_newest_labels_that_have_arrived(
    make_scenario: MakeScenario, delay: int, from_: str | int, periods: list[int]
) -> None:
    keys = {"stream": {"label_delay": delay}, "trusted": {"images": 10, "from": from_}}
    scenario = make_scenario(periods=5, **keys)
    assert [trusted_period(scenario, period) for period in range(6)] == periods


def test_rows_are_set_apart_when_they_arrive_not_when_their_labels_do(make_scenario: MakeScenario) -> None:
    late = make_scenario(stream={"label_delay": 2})
    assert all(brings_trusted(late, period) for period in range(4))
    fixed = make_scenario(stream={"label_delay": 1}, trusted={"images": 10, "from": 1})
    assert [brings_trusted(fixed, period) for period in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("timed", [False, True])
def test_late_labels_shift_the_defenders_rows_and_nothing_else(
    make_data: MakeData, make_scenario: MakeScenario, timed: bool
) -> None:
    data = make_data(timed=timed)
    now = Stream(data, make_scenario(), lambda period: None)
    late = Stream(data, make_scenario(stream={"label_delay": 2}), lambda period: None)
    assert [late.trusted(period).tolist() for period in range(4)] == [
        now.trusted(period).tolist() for period in (0, 0, 0, 1)
    ]
    for period in range(4):
        assert torch.equal(late.batch(period), now.batch(period))


def test_late_rows_have_the_drift_of_the_period_that_they_are_from(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    drift = [{"use": "rotation", "degrees": 30}]
    data = make_data()
    worlds = [
        World.build(make_scenario(drift=drift, stream=keys), data, attacked=True, device="cpu")
        for keys in ({}, {"label_delay": 1})
    ]
    now, late = (world.trusted(period) for world, period in zip(worlds, (2, 3), strict=True))
    assert torch.equal(now.images, late.images)
    assert torch.equal(now.ids, late.ids)
