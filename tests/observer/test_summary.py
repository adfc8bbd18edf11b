"""`summary.json` and the verdict, from hand-made periods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.observer.summary import summarise
from simulator.observer.verdict import verdict, verdicts
from simulator.production.registry.base import Entry
from simulator.records import Outcome, Reading

Lines = dict[str, list[Entry]]


def test_has_the_promised_keys(fading: Lines) -> None:
    summary = summarise(fading)
    assert list(summary["arms"]) == ["steady", "fading"]
    promised = {
        "survival_updates", "survival_periods", "state", "erased", "revived", "planted", "dormant", "exposure",
        "final_clean_accuracy", "final_net_attack_success", "seconds",
    }  # fmt: skip
    assert all(promised <= set(part) for part in summary["arms"].values())


def test_figures_of_both_arms(fading: Lines) -> None:
    arms = summarise(fading)["arms"]
    fading_arm, steady = arms["fading"], arms["steady"]
    assert fading_arm["survival_updates"] == {"0.5": 1, "0.1": 1}
    assert (fading_arm["state"], fading_arm["erased"], fading_arm["revived"]) == ("erased", True, 0)
    assert fading_arm["dormant"] is True
    assert fading_arm["exposure"] == pytest.approx(0.95 + 0.06 + 0.02 + 0.01 - 0.01)
    assert steady["survival_periods"] == {"0.5": 4, "0.1": 4}
    assert (steady["state"], steady["erased"], steady["planted"], steady["dormant"]) == ("alive", False, True, False)
    assert steady["final_clean_accuracy"] == pytest.approx(0.83)
    assert (steady["seconds"], steady["seconds_controls"]) == (5.0, 5.0)
    assert (steady["updates"], steady["versions"]) == (4, 5)


def test_alarms_are_held_against_the_true_drift(fading: Lines) -> None:
    part = summarise(fading)["arms"]["steady"]
    # drift from period 1 on, alarms from period 3 on
    assert (part["alarm_delay"], part["false_alarms"], part["undrifted_periods"]) == (2, 0, 0)
    assert part["alarms_of"] == "arm"


def test_false_alarms_are_read_on_the_free_twin(entry: Callable[..., Entry]) -> None:
    arm = [entry(p, alarm=p > 0) for p in range(4)]
    free = [entry(p, control="free", alarm=p == 3) for p in range(4)]
    part = summarise({"main": arm, "main.free-twin": free})["arms"]["main"]
    assert (part["false_alarms"], part["undrifted_periods"], part["alarms_of"]) == (1, 3, "free twin")
    assert part["reasons"]["alarm_delay"] == "there was no drift"


def test_restricted_means_share_the_shortest_follow_up(entry: Callable[..., Entry]) -> None:
    early = [entry(p, arm="early", net=0.9) for p in range(6)]
    late = [entry(p, arm="late", net=0.0 if p < 3 else 0.9) for p in range(6)]
    summary = summarise({"early": early, "late": late})
    assert summary["restricted_horizon"]["0.5"] == 2
    assert summary["arms"]["early"]["survival_updates"]["0.5"] == 5
    assert summary["arms"]["early"]["restricted_mean_updates"]["0.5"] == 2


def test_cost_is_counted_per_promoted_update(entry: Callable[..., Entry]) -> None:
    looked = Outcome(surface="filter", name="strip", status="passed", reason="-", cost={"forward_passes": 30})
    line = [
        entry(0, seconds=50, samples=9000),
        entry(1, seconds=3, outcomes=[looked]),
        entry(2, version=1, candidate=2, action="rejected", seconds=3, outcomes=[looked]),
        entry(3, seconds=2),
    ]
    part = summarise({"main": line})["arms"]["main"]
    # periods 1 to 3 cost 8 seconds, 300 samples and 60 passes for two updates
    assert part["cost_per_update"] == {"seconds": 4.0, "training_samples": 150, "defense_forward_passes": 30}
    assert part["defenses"] == {"strip": {"passed": 2}}


def test_exposure_is_read_behind_the_screens(entry: Callable[..., Entry]) -> None:
    screened = {
        "backdoor/screened_attack_success": Reading.of(0.3),
        "backdoor/screened_net_attack_success": Reading.of(0.25),
    }
    line = [entry(0, net=0.9), entry(1, net=0.9, readings=screened)]
    assert summarise({"main": line})["arms"]["main"]["exposure"] == pytest.approx(0.9 + 0.25)


def nulls(part: dict[str, Any]) -> set[str]:
    return {
        key
        for key, value in part.items()
        if value is None or (isinstance(value, dict) and None in value.values())
    }  # fmt: skip


@pytest.mark.parametrize("net", [None, 0.3, 0.05])
def test_every_null_has_its_reason(entry: Callable[..., Entry], net: float | None) -> None:
    line = [entry(p, net=net, success=net, clean=None, method="none", score=None) for p in range(3)]
    part = summarise({"main": line})["arms"]["main"]
    assert set(part["reasons"]) == nulls(part)
    assert all(part["reasons"].values())


def test_an_arm_without_an_attack_is_not_called_unplanted(entry: Callable[..., Entry]) -> None:
    part = summarise({"main": [entry(0, net=None, success=None)]})["arms"]["main"]
    assert part["planted"] is None
    assert part["reasons"]["planted"] == "there is no paced twin to subtract"


def test_verdict_of_a_forgotten_and_of_a_living_backdoor(fading: Lines) -> None:
    assert verdict(summarise(fading)).splitlines() == [
        "steady: survives all 4 updates that followed: net ASR 80.0% at the end. Clean accuracy 83.0%.",
        "fading: erased after 1 update: net ASR -1.0% at the end. The model re-learns it quickly: re-learned net "
        "ASR 59.0% against 4.0% for an unrelated trigger. Clean accuracy 83.0%.",
    ]


def test_verdict_claims_no_memory_where_the_control_does_as_well(entry: Callable[..., Entry]) -> None:
    erased = [entry(0), entry(1, net=0.1), entry(2, net=0.1, relearned=0.4, unrelated=0.45)]
    assert "no faster than a trigger the model never saw: re-learned net ASR 40.0% against 45.0%" in told(erased)
    hardly = [entry(0), entry(1, net=0.1), entry(2, net=0.1, relearned=0.51, unrelated=0.42)]
    assert summarise({"main": hardly})["arms"]["main"]["dormant"] is False
    assert "but hardly faster than a trigger the model never saw: re-learned net ASR 51.0% against 42.0%" in told(
        hardly
    )
    lost = [entry(0), entry(1, net=0.1), entry(2, net=0.1, relearned=0.51)]
    part = summarise({"main": lost})["arms"]["main"]
    assert part["dormant"] is None
    assert part["reasons"]["dormant"] == "measured on the first erased and the last version only"
    assert "Whether it is dormant is unknown: re-learned net ASR 51.0%, and none for a trigger" in told(lost)
    asleep = [entry(0), entry(1, net=0.1), entry(2, net=0.1, relearned=0.1, unrelated=0.05)]
    assert "No sign that it is dormant: re-learned net ASR 10.0% against 5.0%" in told(asleep)
    unread = [entry(0), entry(1, net=0.1), entry(2, net=0.1)]
    assert "re-learned" not in told(unread)


def test_verdict_of_a_roll_back_after_which_it_came_back(entry: Callable[..., Entry]) -> None:
    back = {"version": 0, "candidate": None, "action": "rolled back"}
    line = [entry(0, net=0.0), entry(1, net=0.956), entry(2, net=0.0, **back), entry(3, net=0.191), entry(4, net=0.813)]
    assert told(line).startswith("erased after 1 period, came back in period 4 and is alive at the end: net ASR 81.3%")
    part = summarise({"main": line})["arms"]["main"]
    assert (part["state"], part["erased"], part["revived"], part["revived_periods"]) == ("alive", True, 1, [4])


def test_verdict_tells_of_a_period_below_that_is_no_erasure(entry: Callable[..., Entry]) -> None:
    line = [entry(0), entry(1, net=0.1), entry(2), entry(3, net=0.2), entry(4)]
    assert told(line).startswith("survives all 4 updates that followed, though below 50.0% in periods 1, 3: net ASR")
    assert summarise({"main": line})["arms"]["main"]["dips"] == [1, 3]


def test_a_version_that_serves_for_long_is_told_in_updates_and_periods(entry: Callable[..., Entry]) -> None:
    kept = {"version": 1, "candidate": None, "action": "kept"}
    alive = [entry(0), entry(1, net=0.9), *(entry(period, net=0.9, **kept) for period in (2, 3, 4))]
    assert told(alive).startswith("survives all 1 update and 4 periods that followed: net ASR 90.0%")
    gone = [entry(0), entry(1, net=0.1), *(entry(period, net=0.1, **kept) for period in (2, 3, 4))]
    assert told(gone).startswith("erased after 1 update: net ASR 10.0% at the end.")
    late = [*alive[:3], entry(3, net=0.1, **kept), entry(4, net=0.1, **kept)]
    assert told(late).startswith("erased after 1 update and 3 periods: net ASR 10.0% at the end.")


def test_verdicts_of_the_other_fates(entry: Callable[..., Entry]) -> None:
    assert "never planted: net ASR did not reach 50.0% (highest 30.0%)" in told([entry(0, net=0.3), entry(1, net=0.2)])
    assert (
        "not yet counted as erased after 1 update: net ASR 20.0% at the end, below 50.0%, but in one period only"
        in told([entry(0), entry(1, net=0.2)])
    )
    assert "planted, and no update has followed yet: net ASR 90.0%" in told([entry(0, net=0.9)])
    back = [entry(0), entry(1, net=0.1), entry(2, net=0.1), entry(3, net=0.7)]
    assert "erased after 1 update, came back in period 3 and is alive at the end: net ASR 70.0%" in told(back)
    again = [*back, entry(4, net=0.2)]
    assert "came back in period 3 and is below 50.0% again in the last period: net ASR 20.0%" in told(again)
    assert "came back in period 3 and was erased again: net ASR 10.0%" in told([*again, entry(5, net=0.1)])
    assert told([entry(0, net=None)]).startswith("no verdict on the backdoor: there is no paced twin")
    collapsed = entry(1, readings={"backdoor/collapsed": Reading.of(1)})
    assert told([entry(0), collapsed]).startswith(
        "not erased after 1 update, as far as it is known: net ASR at the end is unknown (the model predicts one class "
        "for nearly everything)."
    )


def told(line: list[Entry]) -> str:
    return verdicts(summarise({"main": line}))["main"]
