"""The Kaplan-Meier curve against a hand-worked case and lifelines."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from simulator.study.statistics.lifetimes import Lifetime, survival_curve


def test_a_hand_worked_curve() -> None:
    # 5 at risk at 1 (one event), 3 at risk at 3 (one event, one censored there), 1 left, censored at 4
    lives = [Lifetime(1, True), Lifetime(2, False), Lifetime(3, True), Lifetime(3, False), Lifetime(4, False)]
    curve = survival_curve(lives)
    assert curve.times == (0, 1, 3)
    assert curve.alive == pytest.approx((1, 4 / 5, 4 / 5 * 2 / 3))
    assert (curve.end, curve.censored) == (4, (2, 3, 4))
    assert [curve.at(time) for time in (0, 0.5, 1, 2.9, 3, 9)] == pytest.approx([1, 1, 0.8, 0.8, 8 / 15, 8 / 15])


def test_an_event_at_nought_is_a_step_at_nought() -> None:
    curve = survival_curve([Lifetime(0, True), Lifetime(2, False)])
    assert (curve.at(0), curve.at(2)) == (0.5, 0.5)


def test_curves_are_those_of_lifelines() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        times, ended = generator.integers(1, 9, 12), generator.random(12) < 0.6
        curve = survival_curve([Lifetime(float(t), bool(e)) for t, e in zip(times, ended, strict=True)])
        other = KaplanMeierFitter().fit(times, ended)
        assert [curve.at(t) for t in range(10)] == pytest.approx(other.predict(list(range(10))).tolist())


def test_no_lifetime_has_no_curve() -> None:
    with pytest.raises(ValueError, match="expected at least one lifetime, got none; leave out settings"):
        survival_curve([])
