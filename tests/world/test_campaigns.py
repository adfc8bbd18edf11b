"""Campaigns: the rate of every period."""

from typing import Any

import pytest

from simulator import catalog
from simulator.errors import PluginError
from simulator.world.campaign import Campaign, CampaignView


@pytest.mark.parametrize(
    ("use", "options", "rates"),
    [
        ("none", {}, [0, 0, 0, 0]),
        ("one-shot", {}, [0.05, 0, 0, 0]),
        ("one-shot", {"period": 2, "rate": 0.3}, [0, 0, 0.3, 0]),
        ("persistent", {"rate": 0.1}, [0.1, 0.1, 0.1, 0.1]),
        ("persistent", {"rate": 0.1, "start": 2}, [0, 0, 0.1, 0.1]),
        ("scripted", {"rates": {0: 0.2, 3: 0.5}}, [0.2, 0, 0, 0.5]),
        ("scripted", {"rates": {}}, [0, 0, 0, 0]),
    ],
)
def test_the_rates(use: str, options: dict[str, Any], rates: list[float]) -> None:
    campaign: Campaign = catalog.build("campaigns", use, options)
    assert [campaign.rate(CampaignView(period)) for period in range(4)] == rates
    assert not campaign.adaptive


@pytest.mark.parametrize(
    ("use", "options", "sentence"),
    [
        ("one-shot", {"rate": 1.2}, r"expected rate to be a share in \[0, 1\], got 1.2"),
        ("one-shot", {"period": -1}, "expected period to count periods from 0, got -1"),
        ("persistent", {"rate": -0.1}, r"expected rate to be a share in \[0, 1\], got -0.1"),
        ("persistent", {"start": -2}, "expected start to count periods from 0, got -2"),
        ("scripted", {"rates": {1: 7.0}}, r"expected rates.1 to be a share in \[0, 1\], got 7.0"),
        ("scripted", {"rates": {-1: 0.1}}, "expected rates to count periods from 0, got -1"),
        ("scripted", {"rates": [0.1]}, "rates"),
        ("scripted", {}, "rates to be given"),
        ("oneshot", {}, "did you mean 'one-shot'"),
    ],
)
def test_a_bad_campaign_raises(use: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        catalog.build("campaigns", use, options)
