"""Campaigns: the rate of every period."""

from typing import Any

import pytest

from simulator.errors import PluginError
from simulator.scenario import catalog
from simulator.world.campaign import Campaign, CampaignView

DRIP, BURST, PERIODIC = (f"simulator.world.campaign:{name}" for name in ("Drip", "Burst", "Periodic"))


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
        (DRIP, {}, [0.005] * 4),
        (DRIP, {"rate": 0.01, "start": 1, "periods": 2}, [0, 0.01, 0.01, 0]),
        (BURST, {}, [0.2, 0.2, 0, 0]),
        (BURST, {"rate": 0.5, "start": 2, "periods": 1}, [0, 0, 0.5, 0]),
        (PERIODIC, {}, [0.05, 0, 0, 0.05]),
        (PERIODIC, {"rate": 0.1, "every": 2, "start": 1}, [0, 0.1, 0, 0.1]),
        (PERIODIC, {"rate": 0.1, "every": 1}, [0.1] * 4),
    ],
)
def test_the_rates(use: str, options: dict[str, Any], rates: list[float]) -> None:
    campaign: Campaign = catalog.build("campaigns", use, options)
    assert [campaign.rate(CampaignView(period)) for period in range(4)] == rates
    assert not campaign.adaptive


@pytest.mark.parametrize(
    ("use", "options", "sentence"),
    [
        ("one-shot", {"rate": 1.2}, r"expected rate to be at most 1\.0, got 1.2; lower it"),
        ("one-shot", {"period": -1}, "expected period to be at least 0, got -1; raise it"),
        ("persistent", {"rate": -0.1}, r"expected rate to be at least 0\.0, got -0.1; raise it"),
        ("persistent", {"start": -2}, "expected start to be at least 0, got -2; raise it"),
        (DRIP, {"rate": 1.5}, r"expected rate to be at most 1\.0, got 1.5; lower it"),
        (DRIP, {"start": -1}, "expected start to be at least 0, got -1; raise it"),
        (DRIP, {"periods": 0}, "expected periods to be at least 1, got 0"),
        (BURST, {"periods": -3}, "expected periods to be at least 1, got -3"),
        (BURST, {"rate": -0.1}, r"expected rate to be at least 0\.0, got -0.1; raise it"),
        (PERIODIC, {"every": 0}, "expected every to be at least 1, got 0"),
        (PERIODIC, {"start": -1}, "expected start to be at least 0, got -1; raise it"),
        (PERIODIC, {"each": 2}, "expected an option it knows, got 'each'"),
        ("scripted", {"rates": {1: 7.0}}, r"expected rates.1 to be at most 1\.0, got 7.0; lower it"),
        ("scripted", {"rates": {-1: 0.1}}, "expected a name in rates to be at least 0, got '-1'; raise it"),
        ("scripted", {"rates": [0.1]}, "rates"),
        ("scripted", {}, "rates to be given"),
        ("oneshot", {}, "did you mean 'one-shot'"),
    ],
)
def test_a_bad_campaign_raises(use: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        catalog.build("campaigns", use, options)
