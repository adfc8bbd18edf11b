"""Readings that need the arm and its twin: what the attack added."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.records import Reading

#: why there is no net reading in an arm that has no twin
NO_TWIN = "there is no paced twin to subtract"

#: reading of the difference -> reading it is the difference of
NET: dict[str, str] = {
    "backdoor/net_attack_success": "backdoor/attack_success",
    "backdoor/screened_net_attack_success": "backdoor/screened_attack_success",
    "backdoor/relearned_net_attack_success": "backdoor/relearned_attack_success",
    "backdoor/relearned_unrelated_net_attack_success": "backdoor/relearned_unrelated_attack_success",
    "backdoor/relearning_net_samples": "backdoor/relearning_samples",
    "backdoor/relearning_net_steps": "backdoor/relearning_steps",
    "backdoor/relearning_net_area": "backdoor/relearning_area",
    "backdoor/relearning_unrelated_net_area": "backdoor/relearning_unrelated_area",
    "backdoor/reactivated_net_attack_success": "backdoor/reactivated_attack_success",
}


def net_readings(
    arm: Mapping[str, Reading],
    twin: Mapping[str, Reading] | None,
    reason: str = NO_TWIN,
) -> dict[str, Reading]:
    """Return the arm's readings minus its paced twin's; negatives are not clipped.

    `twin` None means there is no twin to subtract, for `reason`. Only readings the arm has are derived; one that is
    undefined on either side is undefined here, with that side's reason.
    """
    return {net: _difference(raw, arm[raw], twin, reason) for net, raw in NET.items() if raw in arm}


def _difference(name: str, arm: Reading, twin: Mapping[str, Reading] | None, reason: str) -> Reading:
    if arm.value is None:
        return arm
    if twin is None:
        return Reading.undefined(reason)
    other = twin.get(name, Reading.undefined("it was not measured"))
    if other.value is None:
        return Reading.undefined(f"the twin has none: {other.reason}")
    return Reading.of(arm.value - other.value, arm.class_rows)
