"""Endpoints that mean what their claim says: shares, doses above every dose, conditions, means, trends, families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from simulator.study.claims.sentences import sentence, to_json
from simulator.study.claims.weigh import verdicts
from simulator.study.model import Study
from simulator.study.timelines import PlayedTimeline

Study_ = Callable[..., Study]
Claim = Callable[..., dict[str, Any]]
Lives = Callable[..., list[PlayedTimeline]]
Played = Callable[..., PlayedTimeline]
DOSE, NET = "backdoor/trigger_ed50", "backdoor/net_attack_success"
FAILS = "even the full trigger does not reach an attack success of 50 %"


def erased(horizon: int = 6, share: float = 0.7, **keys: Any) -> dict[str, Any]:
    endpoint = {"measure": "erased", "horizon": horizon, **keys}
    return {"endpoint": endpoint, "one": {"setting": "a"}, "other": {"value": share}}


def test_a_claim_about_ending_is_a_share(study: Study_, claim: Claim, lives: Lives) -> None:
    # 12 of 20 are erased by update 6; 8 outlive the timeline
    found = verdicts(study(claim(**erased())), lives("a", [6] * 12 + [10] * 8)).claims[0]
    finding = found.verdict.finding
    assert (finding.estimate, finding.n, found.verdict.holds) == (0.6, 20, "undecided")
    assert finding.claim.gate == 0.7
    assert "60 % of seeds" in sentence(found)
    assert "asked for more than 70 % of seeds" in sentence(found)
    holds = verdicts(study(claim(**erased(share=0.5))), lives("a", [6] * 19 + [10])).claims[0]
    assert holds.verdict.holds == "yes"


def test_erased_counts_up_to_the_horizon(study: Study_, claim: Claim, lives: Lives) -> None:
    found = verdicts(study(claim(**erased(horizon=6))), lives("a", [5, 6, 7, 9, 10])).claims[0]
    assert [value.number for value in found.weighed.one.by_seed.values()] == [1, 1, 0, 0, 0]


def test_too_short_a_timeline_tells_nothing_of_its_end(study: Study_, claim: Claim, played: Played) -> None:
    timeline = played("a", 100, [0.9, 0.9, 0.9])
    found = verdicts(study(claim(**erased(horizon=6))), [timeline]).claims[0]
    assert found.weighed.left_out == {100: "a: followed for 2 updates only, the backdoor not erased"}
    against = verdicts(study(claim(**erased(horizon=6, undefined="against"))), [timeline]).claims[0]
    assert against.verdict.finding.estimate == 0


def test_a_dose_above_every_dose_is_the_strongest_evidence_not_none(
    study: Study_, claim: Claim, played: Played
) -> None:
    timelines = [
        *(played("a", 100 + i, [0.9, 0.9], readings={DOSE: [0.4, 0.6]}) for i in range(2)),
        played("a", 102, [0.9, 0.1], readings={DOSE: [0.4, FAILS]}),
        *(played("b", 100 + i, [0.9, 0.9], readings={DOSE: [0.4, 0.5]}) for i in range(3)),
    ]
    found = verdicts(study(claim(endpoint={"measure": DOSE})), timelines).claims[0]
    assert found.weighed.left_out == {}
    assert found.verdict.finding.estimate == pytest.approx((0.1 + 0.1 + 0.5) / 3)
    assert found.weighed.notes == ("a: 1 of 3 values are or hold replacements of undefined ones",)
    rule = to_json(verdicts(study(claim(endpoint={"measure": DOSE})), timelines))["claims"][0]["endpoint"]["undefined"]
    assert rule.startswith("above every dose: counted as 1, a lower bound")


@pytest.mark.parametrize(("rule", "estimate", "left"), [(0.9, 0.6, 0), ("against", 0.15, 0), ("leave-out", 0.3, 1)])
def test_the_rule_for_undefined_values_is_the_endpoints_own(
    study: Study_, claim: Claim, played: Played, rule: str | float, estimate: float, left: int
) -> None:
    timelines = [
        played("a", 100, [0.9, 0.9], readings={DOSE: [0.4, 0.3]}),
        played("a", 101, [0.9, 0.1], readings={DOSE: [0.4, "no images of a source class"]}),
    ]
    keys = claim(endpoint={"measure": DOSE, "undefined": rule}, other={"value": 0.0})
    found = verdicts(study(keys), timelines).claims[0]
    assert found.verdict.finding.estimate == pytest.approx(estimate)
    assert len(found.weighed.left_out) == left


def test_a_mean_of_doses_counts_the_undefined_ones(study: Study_, claim: Claim, played: Played) -> None:
    timeline = played("a", 100, [0.9, 0.9, 0.1, 0.1], readings={DOSE: [0.3, 0.4, FAILS, 0.7]})
    keys = claim(endpoint={"measure": DOSE, "over": [1, 3]}, other={"value": 0})
    assert verdicts(study(keys), [timeline]).claims[0].verdict.finding.estimate == pytest.approx((0.4 + 1 + 0.7) / 3)


def test_a_mean_over_updates(study: Study_, claim: Claim, played: Played) -> None:
    timeline = played("a", 100, [1.0, 0.8, 0.6, 0.1, 0.1])
    keys = claim(endpoint={"measure": NET, "over": [1, 3]}, other={"value": 0})
    found = verdicts(study(keys), [timeline]).claims[0]
    assert found.verdict.finding.estimate == pytest.approx(0.5)
    assert "mean over the updates 1 to 3" in found.verdict.claim.endpoint.definition
    short = claim(endpoint={"measure": NET, "over": [2, 5]}, other={"value": 0})
    assert verdicts(study(short), [timeline]).claims[0].weighed.left_out == {
        100: "a: 4 updates were promoted, 5 are needed"
    }


@pytest.mark.parametrize(
    ("nets", "rho"), [([0.9, 0.8, 0.4, 0.2], -1), ([0.1, 0.2, 0.3, 0.9], 1), ([0.9, 0.5, 0.7, 0.1], -0.8)]
)
def test_a_trend_is_a_rank_correlation_with_the_update(
    study: Study_, claim: Claim, played: Played, nets: Sequence[float], rho: float
) -> None:
    keys = claim(endpoint={"measure": NET, "over": "trend"}, other={"value": 0})
    found = verdicts(study(keys), [played("a", 100, nets)]).claims[0]
    assert found.verdict.finding.estimate == pytest.approx(rho)


def test_a_claim_about_erased_backdoors_is_about_erased_ones(study: Study_, claim: Claim, played: Played) -> None:
    timelines = [
        played("a", 100, [0.9, 0.2, 0.1, 0.1, 0.7]),  # erased by period 3, and revived
        played("a", 101, [0.9, 0.2, 0.6, 0.1, 0.7]),  # below at 1 and at 3, never twice in a row: not erased
        played("a", 102, [0.9, 0.9, 0.2, 0.1, 0.1]),
    ]
    keys = claim(endpoint={"measure": NET, "over": 4, "given": "erased"}, other={"setting": "a", "over": 3})
    found = verdicts(study(keys), timelines).claims[0]
    assert found.weighed.left_out == {101: "a: not erased by period 3: the claim is about erased backdoors"}
    assert found.verdict.finding.estimate == pytest.approx(0.3)
    assert found.verdict.finding.n == 2


def test_a_reading_below_a_value_is_an_event(study: Study_, claim: Claim, played: Played) -> None:
    timelines = [played("a", 100 + i, [0.9, net]) for i, net in enumerate((0.1, 0.2, 0.3, 0.9))]
    keys = claim(endpoint={"measure": NET, "over": "first", "below": 0.5}, other={"value": 0.5})
    finding = verdicts(study(keys), timelines).claims[0].verdict.finding
    assert (finding.estimate, finding.n, finding.claim.endpoint.kind) == (0.75, 4, "share")


def test_exposure_per_period(study: Study_, claim: Claim, played: Played) -> None:
    timeline = played(
        "a", 100, [1.0, 0.5, 0.0, 0.1], readings={"backdoor/screened_net_attack_success": [1, 0.5, 0, 0.1]}
    )
    keys = claim(endpoint={"measure": "exposure_per_period"}, other={"value": 0})
    found = verdicts(study(keys), [timeline]).claims[0]
    exposure = found.verdict.finding.estimate
    assert exposure == pytest.approx(0.4)


def test_families_equivalence_and_power_in_json(study: Study_, claim: Claim, lives: Lives) -> None:
    timelines = lives("a", [2, 3, 4, 5, 6, 7]) + lives("b", [3, 1, 5, 4, 7, 6])
    both = study(
        claim(family="B"),
        claim(id="same", direction="within", gate=5, endpoint={"measure": "survival", "horizon": 8}),
    )
    values = to_json(verdicts(both, timelines))["claims"]
    assert [(one["family"], one["verdict"]) for one in values] == [("B", "undecided"), ("A", "holds")]
    assert 0 < values[0]["power"] < 0.5
    assert values[1]["power"] is None
    assert values[0]["simultaneous"]["level"] is not None
    assert values[0]["effects"]["standardised"] is not None
