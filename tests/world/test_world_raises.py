"""Scenarios that no world can be built for are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.errors import EXIT_CODES, PluginError, ScenarioError, SourceError
from simulator.scenario.model import Scenario
from simulator.world.attacks.patch import Patch
from simulator.world.campaign import Campaign, CampaignView
from simulator.world.sources.base import SourceData
from simulator.world.world import World

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]
PATCH = {"use": "patch", "size": 2}


@pytest.mark.parametrize(
    ("keys", "error", "sentence"),
    [
        ({"attack": {**PATCH, "target": 4}}, PluginError, r"attack 'patch': expected target to be in \[0, 3\], got 4"),
        ({"attack": {"use": "patch", "size": 9}}, PluginError, "attack 'patch': expected the patch to lie inside"),
        ({"attack": {"use": "pach"}}, PluginError, "did you mean 'patch'"),
        ({"drift": [{"use": "hue"}]}, PluginError, "drift 'hue': expected images of 3 channels for a hue, got 1"),
        (
            {"drift": [{"use": "label-prior", "favoured": 7}]},
            PluginError,
            r"expected favoured to be in \[0, 3\], got 7",
        ),
        ({"drift": [{"use": "rotation", "angle": 3}]}, PluginError, "drift 'rotation': .* got 'angle'"),
        (
            {"campaign": {"use": "one-shot", "rate": 2.0}},
            PluginError,
            r"campaign 'one-shot': expected rate to be at most 1\.0, got 2\.0; lower it",
        ),
        ({"periods": 50}, SourceError, "use fewer periods, a smaller batch, or stream.reuse: recycle"),
        (
            {"attack": PATCH, "campaign": {"use": "persistent", "rate": 0.9}},
            ScenarioError,
            r"campaign 'persistent' at rate 0.9 in period \d: expected at least \d+ rows that can be poisoned, got \d+",
        ),
        (
            {
                "attack": PATCH,
                "campaign": {"use": "persistent", "rate": 0.5},
                "drift": [{"use": "label-prior", "share": 0.25}],
            },
            ScenarioError,
            r"campaign 'persistent' at rate 0.5 in period 3: expected at least 15 rows",
        ),
    ],
)
def test_a_scenario_that_cannot_be_played_raises(
    make_data: MakeData, make_scenario: MakeScenario, keys: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        World.build(make_scenario(**keys), make_data(rows=600), attacked=True, device="cpu")
    assert isinstance(caught.value, ScenarioError)
    assert caught.value.exit_code in EXIT_CODES


def test_too_many_poisoned_relearning_rows_raise(make_data: MakeData, make_scenario: MakeScenario) -> None:
    sentence = (
        r"expected re-learning draw 2 to have 13 rows to poison, got \d+ of 12 rows that are of a source class; "
        r"poison fewer, or raise stream\.relearning"
    )
    world = World.build(make_scenario(attack=PATCH), make_data(), attacked=True, device="cpu")
    with pytest.raises(ScenarioError, match=sentence):
        world.relearning(0, 2, 13, False)


class Greedy(Campaign):
    """A stranger's, whose rate is no share."""

    def rate(self, view: CampaignView) -> float:
        return 1.5


def test_a_campaigns_rate_out_of_range_raises(make_data: MakeData, make_scenario: MakeScenario) -> None:
    world = World(make_scenario(), make_data(), drifts={}, attack=Patch(size=2), campaign=Greedy(), device="cpu")
    with pytest.raises(ScenarioError, match=r"to give a rate in \[0, 1\] in period 0, got 1.5; correct the campaign"):
        world.arrive(0, {})
