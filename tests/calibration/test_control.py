"""The arithmetic of a calibrated threshold: by hand, against the binomial distribution, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from simulator.calibration.control import Look, controlled, just_above, looks_needed


def whole(*scores: float) -> list[Look]:
    return [Look((score,), 1, 0) for score in scores]


def rows(*scores: float) -> Look:
    return Look(tuple(sorted(scores, reverse=True)), len(scores), 0)


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.1, 9), (0.5, 1), (0.9, 1), (0.01, 99), (0.3, 3)])
def test_as_many_updates_are_needed_as_the_rate_says(rate: float, needed: int) -> None:
    assert looks_needed(rate) == needed
    assert 1 / (needed + 1) <= rate + 1e-12
    if needed > 1:
        assert 1 / needed > rate


def test_with_as_few_updates_as_will_do_none_of_them_is_flagged() -> None:
    found = controlled(whole(*range(1, 20)), 0.05)  # 19 of them: one place of twenty lies above the highest
    assert found.threshold == 19.1
    assert sum(found.lost) == 0
    assert found.expected == 1 / 20


def test_the_threshold_is_the_order_statistic_where_updates_are_judged_whole() -> None:
    found = controlled(whole(*range(1, 40)), 0.1)  # k = 4 of 40 places: the fourth highest of 39 is 36
    assert found.threshold == 36.1
    assert [score for score, lost in zip(range(1, 40), found.lost, strict=True) if lost] == [37, 38, 39]
    assert found.expected == 4 / 40


def test_equal_scores_are_flagged_together_or_not_at_all() -> None:
    found = controlled(whole(1, 1, 1, 5, 5, 2, 3, 4, 0), 0.2)  # one of nine may be flagged, but two are at the top
    assert (found.threshold, sum(found.lost)) == (5.01, 0)


def test_rows_count_by_their_share_of_an_update() -> None:
    """Three updates at a rate of 1/2 may lose 1/2 * 4 - 1 = 1 in all.

    Above 3 they lose 1/2, 1/4 and 0, above 2 they would lose 1/2, 1/4 and 1/2.
    """
    looks = [rows(9, 1), rows(4, 2, 2, 0), rows(3, 1)]
    found = controlled(looks, 0.5)
    assert (found.threshold, found.lost) == (3.01, (0.5, 0.25, 0.0))
    assert found.expected == pytest.approx((0.75 + 1) / 4)
    assert found.at_most is None


def test_scores_that_were_not_kept_count_as_lost_below_those_that_were() -> None:
    """Of ten rows the two highest are known: below 4 all ten may be lost, so the threshold stays above."""
    looks = [Look((5.0, 4.0), 10, 0), rows(1, 1), rows(1, 1)]
    assert controlled(looks, 0.4).threshold == 4.01  # 0.6 in all; below 4, the first alone may lose 1
    assert looks[0].share_above(4.5) == 0.1
    assert looks[0].share_above(3.0) == 1.0


def test_the_bound_is_the_binomial_distributions_own() -> None:
    """At the upper limit, seeing no more than was seen has a probability of 5 %."""
    for count, rate in ((19, 0.05), (60, 0.1), (99, 0.05)):
        found = controlled(whole(*range(count)), rate)
        assert found.at_most is not None
        assert binom.cdf(sum(found.lost), count, found.at_most) == pytest.approx(0.05)


def test_too_few_updates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected at least 19 looks for a rate of 0\.05, got 18"):
        controlled(whole(*range(18)), 0.05)


@pytest.mark.parametrize("level", ["versions", "rows"])
def test_the_next_update_loses_no_more_than_the_rate_on_average(level: str) -> None:
    """Of 600 calibrations on 29 updates that differ from each other, at a rate of 0.1; three standard errors."""
    draw, lost = np.random.default_rng(0), []
    for _ in range(600):
        size = 1 if level == "versions" else 40
        updates = draw.normal(size=(30, size)) + draw.normal(size=(30, 1))
        looks = [Look(tuple(sorted(one, reverse=True)), size, 0) for one in updates.round(6).tolist()]
        lost.append(looks[-1].share_above(controlled(looks[:-1], 0.1).threshold))
    mean, error = float(np.mean(lost)), float(np.std(lost)) / math.sqrt(len(lost))
    assert 0.05 < mean <= 0.1 + 3 * error


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 123456.0, 0.99999, -0.0001, 1e-12, -7.38905])
def test_a_number_just_above_is_short_and_between(value: float) -> None:
    found = just_above(value)
    assert found > value
    assert len(f"{abs(found):e}".partition("e")[0].rstrip("0").replace(".", "")) <= 4
    beyond = value + 1e-5 * max(1e-3, abs(value))
    assert value < just_above(value, beyond) < beyond
