"""Campaigns that watch the champion: what they infer from its answers, worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from simulator.checks import check
from simulator.errors import PluginError, ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.scenario import catalog
from simulator.scenario.model import Scenario
from simulator.world.adaptive import Adaptive, AfterRepair
from simulator.world.campaign import Campaign, CampaignView

ADAPTIVE, AFTER_REPAIR = "simulator.world.adaptive:Adaptive", "simulator.world.adaptive:AfterRepair"
TARGET = 2


def played(campaign: Campaign, successes: Sequence[int | None], rows: int = 10) -> tuple[list[float], dict[str, Any]]:
    """Return the rates, and the state left, when the champion calls so many of `rows` images the target (None: there
    is no champion)."""
    rates, state = [], {}
    for period, hits in enumerate(successes):

        def query(images: Tensor, hits: int = hits or 0) -> Tensor:
            return torch.where(torch.arange(len(images)) < hits, TARGET, TARGET + 1)

        view = CampaignView(
            period, dict(state), None if hits is None else query, lambda n: torch.zeros(min(n, rows), 1, 8, 8), TARGET
        )
        rates.append(campaign.rate(view))
        state = view.state
    return rates, state


def test_success_is_the_share_called_the_target() -> None:
    asked: list[int] = []

    def query(images: Tensor) -> Tensor:
        asked.append(len(images))
        return torch.tensor([2, 0, 2, 1])[: len(images)]

    view = CampaignView(1, {}, query, lambda n: torch.zeros(min(n, 4), 1, 8, 8), TARGET)
    assert [view.success(4), view.success(9), view.success(2)] == [0.5, 0.5, 0.5]
    assert asked == [4, 4, 2]


def test_success_is_none_where_it_cannot_be_measured() -> None:
    def query(images: Tensor) -> Tensor:
        raise AssertionError("asked about nothing")

    assert CampaignView(0).success(5) is None
    assert CampaignView(0, {}, None, lambda n: torch.zeros(n, 1, 8, 8)).success(5) is None
    assert CampaignView(1, {}, query).success(5) is None
    assert CampaignView(1, {}, query, lambda n: torch.zeros(0, 1, 8, 8)).success(5) is None


@pytest.mark.parametrize(
    ("options", "successes", "poisoned"),
    [
        # at its start, and whenever fewer than half are called the target
        ({}, [None, 10, 6, 4, 9, 5, 0], [1, 0, 0, 1, 0, 0, 1]),
        # a start after the base training is poisoned though nothing is lost, and nothing before it
        ({"start": 2}, [None, 0, 10, 10, 4], [0, 0, 1, 0, 1]),
        ({"below": 1.0}, [None, 10, 9], [1, 0, 1]),
        ({"below": 0.1}, [None, 1, 0], [1, 0, 1]),
        # only so many are asked: the first 2 of 10 are the target
        ({"images": 2}, [None, 2, 1, 0], [1, 0, 0, 1]),
    ],
)
def test_adaptive_poisons_again_when_its_success_falls(
    options: dict[str, Any], successes: list[int | None], poisoned: list[int]
) -> None:
    rates, state = played(Adaptive(rate=0.3, **options), successes)
    assert rates == [0.3 * each for each in poisoned]
    assert state == {"success": successes[-1] / min(10, options.get("images", 100))}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "successes", "poisoned", "inferred"),
    [
        # the fall from 10 to 5 is a repair; the slow one from 9 to 4 is forgetting
        ({}, [None, 10, 5, 9, 7, 5, 4], [1, 0, 1, 0, 0, 0, 0], 1),
        # a fall of exactly 0.3
        ({}, [None, 7, 4], [1, 0, 1], 1),
        ({"drop": 0.31}, [None, 7, 4], [1, 0, 0], 0),
        # poisons two periods and infers nothing meanwhile
        ({"periods": 2}, [None, 9, 9, 1, 9, 1, 1], [1, 1, 0, 1, 1, 1, 1], 2),
        ({"start": 1}, [None, 9, 9, 0], [0, 1, 0, 1], 1),
        ({"start": 3}, [None, 9, 0, 0, 0], [0, 0, 0, 1, 0], 0),
    ],
)
def test_after_repair_poisons_again_after_a_sudden_fall(
    options: dict[str, Any], successes: list[int | None], poisoned: list[int], inferred: int
) -> None:
    rates, state = played(AfterRepair(rate=0.2, **options), successes)
    assert rates == [0.2 * each for each in poisoned]
    assert state.get("inferred", 0) == inferred


def test_a_period_that_cannot_be_measured_is_not_poisoned_and_no_repair() -> None:
    assert played(Adaptive(rate=0.2), [None, 9, None, 9])[0] == [0.2, 0, 0, 0]
    assert played(AfterRepair(rate=0.2), [None, 9, None, 0])[0] == [0.2, 0, 0, 0]


@pytest.mark.parametrize("use", [ADAPTIVE, AFTER_REPAIR, *(f"simulator.world.campaign:{c}" for c in ("Drip", "Burst"))])
def test_they_conform(use: str) -> None:
    assert [result for result in check("campaigns", use) if not result.passed] == []


@pytest.mark.parametrize(
    ("use", "options", "sentence"),
    [
        (ADAPTIVE, {"rate": 1.5}, r"expected rate to be at most 1\.0, got 1.5; lower it"),
        (ADAPTIVE, {"below": 0.0}, r"expected below to be above 0\.0, got 0.0; raise it"),
        (ADAPTIVE, {"below": 1.2}, r"expected below to be at most 1\.0, got 1.2; lower it"),
        (ADAPTIVE, {"images": 0}, "expected images to be at least 1, got 0"),
        (ADAPTIVE, {"start": -1}, "expected start to be at least 0, got -1; raise it"),
        (AFTER_REPAIR, {"rate": -0.5}, r"expected rate to be at least 0\.0, got -0.5; raise it"),
        (AFTER_REPAIR, {"drop": 0.0}, r"expected drop to be above 0\.0, got 0.0; raise it"),
        (AFTER_REPAIR, {"images": -1}, "expected images to be at least 1, got -1"),
        (AFTER_REPAIR, {"periods": 0}, "expected periods to be at least 1, got 0"),
        (AFTER_REPAIR, {"start": -2}, "expected start to be at least 0, got -2; raise it"),
    ],
)
def test_a_bad_option_raises(use: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        catalog.build("campaigns", use, options)


@pytest.mark.parametrize("use", [ADAPTIVE, AFTER_REPAIR])
def test_a_start_after_the_last_period_is_refused(use: str) -> None:
    campaign = {"use": use, "start": 4}
    scenario = Scenario.model_validate({"periods": 3, "attack": {"use": "patch"}, "campaign": campaign})
    with pytest.raises(ScenarioError, match=r"to start by period 3, got start 4; lower it, or raise periods"):
        check_scenario(scenario)
    check_scenario(scenario.model_copy(update={"periods": 4}))
