"""Rank correlations within each seed, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.study.claims.weigh import verdicts
from simulator.study.model import Study
from simulator.study.timelines import PlayedTimeline

Study_ = Callable[..., Study]
Claim = Callable[..., dict[str, Any]]
Played = Callable[..., PlayedTimeline]

SETTINGS = ["s1", "s2", "s3", "s4"]
LIVES = {"s1": 1, "s2": 2, "s3": 3, "s4": 4}


def side(of: str, settings: list[str] = SETTINGS) -> dict[str, Any]:
    return {"correlation": {"of": of, "with": "survival_updates_0.5", "settings": settings}}


@pytest.fixture
def agreement(claim: Claim) -> dict[str, Any]:
    """The formula's ranks agree better with survival than the sum of rates does."""
    return claim(endpoint={"measure": "rank_correlation"}, one=side("predicted_updates"), other=side("rate_sum"))


def settings_of(played: Played, seed: int, predicted: list[float | None], rates: list[float]) -> list[PlayedTimeline]:
    return [
        played(name, seed, [0.9] * LIVES[name] + [0.1] * 5, theory={"predicted_updates": guess, "rate_sum": rate})
        for name, guess, rate in zip(SETTINGS, predicted, rates, strict=True)
    ]


def test_spearman_by_hand(study: Study_, agreement: dict[str, Any], played: Played) -> None:
    # survivals rank 1 2 3 4; one swap of neighbours gives 1 - 6 * 2 / (4 * 15) = 0.8, the reverse order -1
    timelines = settings_of(played, 100, [2, 1, 3, 4], [4, 3, 2, 1])
    found = verdicts(study(agreement), timelines).claims[0]
    assert found.weighed.one.by_seed[100].number == pytest.approx(0.8)
    assert found.weighed.other.by_seed[100].number == pytest.approx(-1)
    assert found.verdict.finding.estimate == pytest.approx(1.8)
    assert found.weighed.notes == ()


def test_both_sides_rank_the_same_settings(study: Study_, agreement: dict[str, Any], played: Played) -> None:
    # without s2, of which the formula says nothing, the sum of rates ranks 1 3 2 against 1 2 3: 1 - 6 * 2 / 24 = 0.5
    timelines = settings_of(played, 100, [1, None, 3, 4], [1, 9, 3, 2])
    found = verdicts(study(agreement), timelines).claims[0]
    assert found.weighed.one.by_seed[100].number == pytest.approx(1)
    assert found.weighed.other.by_seed[100].number == pytest.approx(0.5)
    assert found.weighed.notes == (
        "without a value in some column, and left out of the correlation: s2 (1 of 1 seeds)",
    )


def test_an_undefined_correlation_is_left_out(study: Study_, agreement: dict[str, Any], played: Played) -> None:
    timelines = [
        *settings_of(played, 100, [1, 2, 3, 4], [4, 3, 2, 1]),
        *settings_of(played, 101, [1, 2, 3, 4], [1, 1, 1, 1]),
        *settings_of(played, 102, [1, None, None, 4], [1, 2, 3, 4]),
    ]
    found = verdicts(study(agreement), timelines).claims[0]
    assert found.verdict.finding.n == 1
    assert found.weighed.left_out[101].endswith("'rate_sum' is the same in all settings: there is no rank correlation")
    assert found.weighed.left_out[102].endswith("2 of 4 settings have a value in every column, 3 are needed")


def test_a_censored_survival_counts_as_its_lower_bound(study: Study_, claim: Claim, played: Played) -> None:
    keys = claim(
        endpoint={"measure": "rank_correlation"}, one=side("predicted_updates", SETTINGS[:3]), other={"value": 0}
    )
    timelines = settings_of(played, 100, [1, 2, 3, 4], [1, 2, 3, 4])[:2]
    timelines.append(played("s3", 100, [0.9] * 8, theory={"predicted_updates": 9}))
    found = verdicts(study(keys), timelines).claims[0]
    assert found.weighed.one.by_seed[100].number == pytest.approx(1)
    assert found.weighed.notes == (
        "1 survivals outlast their timelines; a rank correlation takes each as its lower bound",
    )
