"""How a claim's endpoint and sides are told: in the unit of what is measured, by names that tell them apart."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.study.claims.sentences import amount
from simulator.study.claims.sides import endpoint_of, side_name
from simulator.study.model import EndpointSpec, Side


@pytest.mark.parametrize(
    ("measure", "unit", "told"),
    [
        ("backdoor/net_attack_success", "share", "25.0 points"),
        ("final_net_attack_success", "share", "25.0 points"),
        ("initial_trigger_ed50", "opacity", "0.25"),
        ("mean_clean_accuracy", "share", "25.0 points"),
        ("survival_periods_0.5", "periods", "0.25 periods"),
        ("alarms", "alarms", "0.25 alarms"),
        ("exposure", "number", "0.25"),
        ("strange/reading", "number", "0.25"),
    ],
)
def test_units(measure: str, unit: str, told: str) -> None:
    endpoint = endpoint_of(EndpointSpec(measure=measure), Side(setting="other"))
    assert endpoint.unit == unit
    assert amount(0.25, endpoint.unit) == told


@pytest.mark.parametrize(
    ("side", "name"),
    [
        ({"setting": "recurring"}, "recurring"),
        ({"setting": "recurring", "over": 3}, "recurring (3)"),
        ({"setting": "recurring", "measure": "clean/accuracy", "over": 0}, "recurring (clean/accuracy, 0)"),
        ({"value": 0.5}, "0.5"),
        (
            {"correlation": {"of": "exposure", "with": "rate_sum", "settings": ["a", "b", "c"]}},
            "rank correlation of exposure with rate_sum over 3 settings",
        ),
    ],
)
def test_names_of_sides(side: dict[str, Any], name: str) -> None:
    assert side_name(Side.model_validate(side)) == name
