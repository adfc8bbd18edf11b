"""The unit in which a claim's figures are told follows from what it measures."""

from __future__ import annotations

import pytest

from simulator.study.claims.endpoints import endpoint_of
from simulator.study.claims.sentences import amount
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
