"""Net readings: the arm's minus the twin's."""

from __future__ import annotations

import pytest

from simulator.observer.derive import NET, net_readings
from simulator.records import Reading

RAW = "backdoor/attack_success"


def test_negatives_are_kept() -> None:
    found = net_readings({RAW: Reading.of(0.02)}, {RAW: Reading.of(0.05)}, "none")
    assert found["backdoor/net_attack_success"].value == pytest.approx(-0.03)


def test_every_net_reading_subtracts_its_own_raw_one() -> None:
    arm = {raw: Reading.of(0.9 - 0.1 * i) for i, raw in enumerate(NET.values())}
    twin = {raw: Reading.of(0.1) for raw in NET.values()}
    values = {net: reading.value for net, reading in net_readings(arm, twin, "none").items()}
    assert values == {
        "backdoor/net_attack_success": pytest.approx(0.8),
        "backdoor/screened_net_attack_success": pytest.approx(0.7),
        "backdoor/relearned_net_attack_success": pytest.approx(0.6),
        "backdoor/relearned_unrelated_net_attack_success": pytest.approx(0.5),
        "backdoor/relearning_net_samples": pytest.approx(0.4),
        "backdoor/relearning_net_steps": pytest.approx(0.3),
        "backdoor/relearning_net_area": pytest.approx(0.2),
        "backdoor/relearning_unrelated_net_area": pytest.approx(0.1),
        "backdoor/reactivated_net_attack_success": pytest.approx(0.0),
    }


def test_a_net_reading_is_derived_from_the_raw_one_that_probes_take() -> None:
    raw = [
        "attack_success", "screened_attack_success", "relearned_attack_success", "relearned_unrelated_attack_success",
        "relearning_samples", "relearning_steps", "relearning_area", "relearning_unrelated_area",
        "reactivated_attack_success",
    ]  # fmt: skip
    readings = {f"backdoor/{name}": Reading.of(1) for name in raw}
    assert len(net_readings(readings, readings, "none")) == len(raw)


def test_reasons_come_from_the_side_that_has_none() -> None:
    net = "backdoor/net_attack_success"
    assert net_readings({RAW: Reading.of(1)}, None, "no twin")[net].reason == "no twin"
    assert net_readings({RAW: Reading.undefined("no attack")}, None, "no twin")[net].reason == "no attack"
    twin = {RAW: Reading.undefined("no images")}
    assert net_readings({RAW: Reading.of(1)}, twin, "-")[net].reason == "the twin has none: no images"
    assert "not measured" in (net_readings({RAW: Reading.of(1)}, {}, "-")[net].reason or "")


def test_only_readings_of_the_arm_are_derived() -> None:
    assert set(net_readings({RAW: Reading.of(1)}, {RAW: Reading.of(0)}, "-")) == {"backdoor/net_attack_success"}
