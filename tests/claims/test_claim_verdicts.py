"""From played timelines to verdicts, on survivals and readings worked by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from simulator.study.claims.sentences import sentence, to_json
from simulator.study.claims.weigh import verdicts
from simulator.study.model import Study
from simulator.study.timelines import PlayedTimeline

Keys = dict[str, Any]
Study_ = Callable[..., Study]
Claim = Callable[..., Keys]
Lives = Callable[..., list[PlayedTimeline]]
EFFECT = "backdoor/triggered_effect"


def test_survival_by_hand(study: Study_, claim: Claim, lives: Lives) -> None:
    # differences: 1, 2, 3, 4, 5, 6 -> mean 3.5, and one of 2^6 sign patterns on either side is as extreme
    timelines = lives("a", [2, 3, 4, 5, 6, 7]) + lives("b", [1] * 6)
    found = verdicts(study(claim()), timelines).claims[0]
    finding = found.verdict.finding
    assert (finding.estimate, finding.p, finding.n) == (3.5, 2 / 64, 6)
    assert (finding.interval.low, finding.interval.high) == (1, 6)
    assert (found.verdict.holds, found.verdict.corrected_p) == ("yes", 2 / 64)
    assert found.weighed.pairs[103][0].number == 5
    assert finding.claim.endpoint.unit == "updates"


def test_a_survival_counts_up_to_the_horizon(study: Study_, claim: Claim, lives: Lives) -> None:
    # alive at the end after 9 updates, erased after 3: 5 updates apart up to the horizon of 8
    timelines = lives("a", [10] * 6) + lives("b", [3] * 6)
    found = verdicts(study(claim()), timelines).claims[0]
    assert found.verdict.finding.estimate == 5
    assert found.weighed.notes == ("a: not erased by the end of 6 of 6 timelines (6 alive at the end, 0 censored)",)


def test_a_claim_whose_gate_is_missed_fails(study: Study_, claim: Claim, lives: Lives) -> None:
    timelines = lives("a", [3] * 10) + lives("b", [2] * 10)
    missed = verdicts(study(claim(gate=4)), timelines).claims[0]
    assert (missed.verdict.holds, missed.verdict.finding.estimate) == ("no", 1)
    assert missed.verdict.reason.endswith("on the other side of the gate")
    assert sentence(missed).startswith("longer fails: a outlives b (1 updates, ")
    assert "asked for more than 4 updates" in sentence(missed)


def test_ties_decide_nothing(study: Study_, claim: Claim, lives: Lives) -> None:
    found = verdicts(study(claim()), lives("a", [3] * 10) + lives("b", [3] * 10)).claims[0]
    assert (found.verdict.holds, found.verdict.corrected_p, found.verdict.finding.estimate) == ("undecided", 1, 0)
    assert found.verdict.finding.effects.superiority == 0.5


def test_p_is_corrected_over_all_claims_of_the_study(study: Study_, claim: Claim, lives: Lives) -> None:
    timelines = lives("a", [2, 3, 4, 5, 6, 7]) + lives("b", [1] * 6)
    one, other = verdicts(study(claim(), claim(id="unplayed", one={"setting": "c"})), timelines).claims
    assert (one.verdict.corrected_p, one.verdict.holds) == (2 * 2 / 64, "undecided")
    assert (other.verdict.holds, other.verdict.reason) == ("undecided", "c was not played")


def test_survival_against_a_number(study: Study_, claim: Claim, lives: Lives) -> None:
    keys = claim(other={"value": 8}, direction="less")
    found = verdicts(study(keys), lives("a", [1, 2, 3, 4, 5, 6])).claims[0]
    assert (found.verdict.finding.estimate, found.verdict.finding.p) == (-4.5, 2 / 64)
    assert found.verdict.holds == "yes"
    assert verdicts(study(keys), lives("a", [10] * 6)).claims[0].verdict.finding.estimate == 0


def test_a_number_needs_every_timeline_to_reach_the_horizon(study: Study_, claim: Claim, lives: Lives) -> None:
    keys = claim(other={"value": 8}, endpoint={"measure": "survival", "horizon": 12})
    found = verdicts(study(keys), lives("a", [1, 2, 3, 4, 5, 10])).claims[0]
    assert found.verdict.holds == "undecided"
    assert found.verdict.reason == "1 of the timelines ended before update 12, the backdoor not erased"


def test_seeds_that_one_side_lacks_are_left_out(study: Study_, claim: Claim, lives: Lives) -> None:
    timelines = lives("a", [2, 3, 4, 5, 6, 7, 8]) + lives("b", [1] * 6)
    found = verdicts(study(claim()), timelines).claims[0]
    assert (found.verdict.finding.n, found.verdict.finding.left_out) == (6, (106,))
    assert found.weighed.left_out == {106: "b: not played"}


def test_what_was_never_planted_is_left_out(study: Study_, claim: Claim, lives: Lives) -> None:
    timelines = lives("a", [2, 0]) + lives("b", [1, 1])
    found = verdicts(study(claim()), timelines).claims[0]
    assert found.weighed.left_out == {101: "a: not planted: net attack success never reached 50 %"}


def test_unequal_starts_are_left_out_and_counted(study: Study_, claim: Claim, lives: Lives) -> None:
    timelines = [
        *lives("a", [5, 5, 5], start=0.95, readings={"backdoor/trigger_ed50": [0.4] * 10}),
        *lives("b", [1], start=0.90, readings={"backdoor/trigger_ed50": [0.45] * 10}),
        *[one for one in lives("b", [1, 1], start=0.89) if one.timeline.seed == 101],
        *[one for one in lives("b", [1, 1, 1], start=0.95) if one.timeline.seed == 102],
    ]
    loose = verdicts(study(claim(start={"attack_success": 0.05})), timelines).claims[0]
    assert loose.weighed.left_out == {
        101: "unequal starts, attack success: 0.950 and 0.890 at period 0 are more than 0.05 apart"
    }
    dosed = verdicts(study(claim(start={"attack_success": 0.1, "dose": 0.02})), timelines).claims[0]
    assert dosed.weighed.left_out[100] == "unequal starts, dose: 0.400 and 0.450 at period 0 are more than 0.02 apart"
    assert (
        dosed.weighed.left_out[102]
        == "unequal starts, dose: undefined at period 0: no probe of this scenario measures it"
    )
    assert dosed.verdict.reason == "no seed has a value in both arms"


@pytest.mark.parametrize(
    ("over", "expected"),
    [("first", 0.6), ("last", 0.2), ("mean", 0.4), ("erased", 0.4), (1, 0.6), (0, 0.9)],
)
def test_readings_are_taken_where_the_endpoint_says(
    study: Study_, claim: Claim, played: Callable[..., PlayedTimeline], over: str | int, expected: float
) -> None:
    timeline = played("a", 100, [0.9, 0.8, 0.1, 0.1], readings={EFFECT: [0.9, 0.6, 0.4, 0.2]})
    keys = claim(endpoint={"measure": EFFECT, "over": over}, other={"value": 0})
    found = verdicts(study(keys), [timeline]).claims[0]
    assert found.verdict.finding.estimate == pytest.approx(expected)


def test_a_side_may_read_another_measure(study: Study_, claim: Claim, played: Callable[..., PlayedTimeline]) -> None:
    own, unrelated = "backdoor/relearned_net_attack_success", "backdoor/relearned_unrelated_net_attack_success"
    timeline = played("a", 100, [0.9, 0.1], readings={own: ["later", 0.7], unrelated: ["later", 0.2]})
    keys = claim(endpoint={"measure": own}, other={"setting": "a", "measure": unrelated})
    found = verdicts(study(keys), [timeline]).claims[0]
    assert found.verdict.finding.estimate == pytest.approx(0.5)
    assert found.weighed.other.name == f"a ({unrelated})"


def test_a_side_may_read_another_version(study: Study_, claim: Claim, played: Callable[..., PlayedTimeline]) -> None:
    timeline = played("a", 100, [0.9, 0.9, 0.9], readings={EFFECT: [1.0, 0.25, 0.75]})
    asked = claim(endpoint={"measure": EFFECT, "over": 2}, one={"setting": "a"}, other={"setting": "a", "over": 1})
    found = verdicts(study(asked), [timeline]).claims[0]
    assert found.verdict.finding.estimate == 0.5
    assert found.weighed.other.name == "a (1)"


def test_an_undefined_dose_is_left_out_with_its_reason(
    study: Study_, claim: Claim, played: Callable[..., PlayedTimeline]
) -> None:
    dose, why = "backdoor/trigger_ed50", "even the full trigger does not reach one half"
    timelines = [
        played("a", 100, [0.9, 0.9], readings={dose: [0.3, 0.5]}),
        played("a", 101, [0.9, 0.1], readings={dose: [0.3, why]}),
    ]
    keys = claim(endpoint={"measure": dose}, other={"value": 0.25})
    found = verdicts(study(keys), timelines).claims[0]
    assert (found.verdict.finding.estimate, found.verdict.finding.n) == (0.25, 1)
    assert found.weighed.left_out == {101: f"a: {why}"}


def test_a_mean_over_periods_needs_every_period(
    study: Study_, claim: Claim, played: Callable[..., PlayedTimeline]
) -> None:
    timeline = played("a", 100, [0.9, 0.9, 0.1], readings={EFFECT: [0.9, "no images", 0.4]})
    found = verdicts(study(claim(endpoint={"measure": EFFECT, "over": "mean"}, other={"value": 0})), [timeline])
    assert found.claims[0].weighed.left_out == {100: "a: undefined in 1 of 2 periods: no images"}


def test_columns(study: Study_, claim: Claim, played: Callable[..., PlayedTimeline]) -> None:
    timelines = [played("a", 100, [0.9] * 5, alarms=(2, 3, 4)), played("b", 100, [0.9] * 5, alarms=(2,))]
    found = verdicts(study(claim(endpoint={"measure": "alarms"})), timelines).claims[0]
    assert found.verdict.finding.estimate == 2
    none = verdicts(study(claim(endpoint={"measure": "alerts"})), timelines).claims[0]
    assert none.weighed.left_out == {100: "a: the timelines table has no column 'alerts'"}


def test_beside_has_figures_and_no_verdict(study: Study_, claim: Claim, lives: Lives) -> None:
    beside = {
        "one": {"setting": "a"},
        "other": {"setting": "b"},
        "endpoint": {"measure": "survival", "threshold": 0.1, "horizon": 8},
        "note": "at the lower threshold",
    }
    timelines = lives("a", [2, 3, 4, 5, 6, 7]) + lives("b", [1] * 6)
    found = verdicts(study(claim(beside=[beside])), timelines).claims[0]
    comparison, weighed = found.beside[0]
    assert comparison.note == "at the lower threshold"
    assert weighed.finding.estimate == 0  # 0.1 is not below 0.1: nobody is erased
    assert "holds" not in to_json(verdicts(study(claim(beside=[beside])), timelines))["claims"][0]["beside"][0]


def test_json_holds_every_seed(study: Study_, claim: Claim, lives: Lives) -> None:
    values = to_json(verdicts(study(claim()), lives("a", [2, 10]) + lives("b", [1, 0])))
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    only = values["claims"][0]
    assert only["one"]["by_seed"]["101"] == {"number": 9.0, "ended": False, "reason": None, "state": "alive"}
    assert only["other"]["by_seed"]["101"]["reason"].startswith("not planted")
    assert (only["pairs"], only["estimate"], only["holds"]) == (1, 1, "undecided")


def test_no_claims(study: Study_) -> None:
    assert verdicts(study(), []).claims == ()
