"""Restricted mean survival of two arms: by hand, against lifelines and scipy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from scipy import stats

from simulator.study.statistics.lifetimes import Lifetime, restricted_difference


def ended(*times: float) -> list[Lifetime]:
    return [Lifetime(time, ended=True) for time in times]


def theirs(lives: Sequence[Lifetime], horizon: float) -> float:
    """The restricted mean of lifelines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own use of pandas and numpy is not ours to mend
        from lifelines import KaplanMeierFitter
        from lifelines.utils import restricted_mean_survival_time

        fitted = KaplanMeierFitter().fit([life.time for life in lives], [life.ended for life in lives])
        return float(restricted_mean_survival_time(fitted, t=horizon))


def drawn(seed: int, count: int, longest: int) -> list[Lifetime]:
    draw = np.random.default_rng(seed)
    return [Lifetime(float(draw.integers(1, longest)), ended=bool(draw.random() < 0.6)) for _ in range(count)]


def test_by_hand() -> None:
    one, other = [Lifetime(10, ended=False), *ended(6, 4)], ended(3, 2, 4)
    found = restricted_difference(one, other, horizon=8)
    assert (found.one, found.other, found.difference) == pytest.approx((18 / 3, 9 / 3, 3))
    # the differences are 5, 4 and 0: the zero's sign is free, so 4 of the 8 patterns are as extreme
    assert found.p == 0.5
    assert (found.interval.low, found.interval.high, found.interval.level) == (0, 5, 0.75)
    assert found.effects.mean == 3
    assert found.effects.superiority == pytest.approx(2.5 / 3)
    assert (found.lost, found.reason) == (0, None)


def test_a_shift_is_tested_where_all_is_known() -> None:
    one, other = ended(7, 8, 9, 7, 8, 9), ended(1, 2, 3, 1, 2, 3)
    assert restricted_difference(one, other, horizon=10).p == 2 / 64
    assert restricted_difference(one, other, horizon=10, shift=6).p == 1
    assert restricted_difference(one, other, horizon=10, shift=3).p == 2 / 64


def test_both_alive_at_the_horizon_is_no_difference() -> None:
    alive = [Lifetime(10, ended=False)] * 6
    found = restricted_difference(alive, alive, horizon=10)
    assert (found.difference, found.p, found.effects.standardised) == (0, 1, None)


@pytest.mark.parametrize("seed", range(12))
def test_means_agree_with_lifelines(seed: int) -> None:
    one, other = drawn(seed, 10, 12), drawn(seed + 100, 10, 8)
    found = restricted_difference(one, other, horizon=6)
    assert found.one == pytest.approx(theirs(one, 6))
    assert found.other == pytest.approx(theirs(other, 6))
    assert found.difference == pytest.approx(theirs(one, 6) - theirs(other, 6))


@pytest.mark.parametrize("seed", range(5))
def test_p_without_losses_agrees_with_scipy(seed: int) -> None:
    draw = np.random.default_rng(seed)
    times = draw.integers(1, 12, (2, 8)).astype(float)
    found = restricted_difference(ended(*times[0]), ended(*times[1]), horizon=9)
    expected = stats.permutation_test(
        tuple(np.minimum(times, 9)),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**8,
    )
    assert found.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("seed", [0, 1])
def test_p_with_losses_is_the_share_of_swaps_by_lifelines(seed: int) -> None:
    one, other = drawn(seed, 4, 9), drawn(seed + 50, 4, 5)
    found = restricted_difference(one, other, horizon=8)
    assert found.lost > 0
    gaps = []
    for swaps in product((False, True), repeat=4):
        rows = [(b, a) if swap else (a, b) for swap, a, b in zip(swaps, one, other, strict=True)]
        gaps.append(abs(theirs([a for a, _ in rows], 8) - theirs([b for _, b in rows], 8)))
    assert found.p == np.mean(np.array(gaps) >= gaps[0] - 1e-9)


def test_a_lost_timeline_leaves_no_interval_and_no_other_shift() -> None:
    one, other = [Lifetime(3, ended=False), *ended(6, 7, 5, 6)], ended(1, 2, 2, 1, 3)
    found = restricted_difference(one, other, horizon=8)
    assert found.p == 2 / 32
    assert (found.interval.low, found.effects.standardised, found.lost) == (None, None, 1)
    assert found.interval.reason == ("1 of the timelines ended before the horizon of 8, the backdoor not erased")
    shifted = restricted_difference(one, other, horizon=8, shift=1)
    assert shifted.p is None
    assert shifted.reason is not None
    assert shifted.reason.endswith("only a difference of 0 can be tested")
    # up to the last time that is known of all, it can
    assert restricted_difference(one, other, horizon=3, shift=1).reason is None


def test_lifetimes_raise() -> None:
    with pytest.raises(ValueError, match="expected two arms of as many lifetimes, got 1 and 2"):
        restricted_difference(ended(1), ended(1, 2), 5)
    with pytest.raises(ValueError, match="expected two arms of as many lifetimes, got 0 and 0"):
        restricted_difference([], [], 5)
    with pytest.raises(ValueError, match="expected horizon"):
        restricted_difference(ended(1), ended(2), -1)
    with pytest.raises(ValueError, match="expected time to be a finite number of at least 0, got nan"):
        Lifetime(math.nan, ended=True)


def test_beyond_twelve_pairs_swaps_are_drawn_and_the_error_of_p_is_told() -> None:
    # the one of 13 pairs that ends early has no difference, the others are erased far apart: all swaps but the pair's
    # own are worse, so the exact p is 2 x 2 / 2^13
    one = [Lifetime(3, ended=False), *ended(*[6] * 12)]
    other = [Lifetime(3, ended=False), *ended(*[1] * 12)]
    found = restricted_difference(one, other, horizon=8)
    assert found.lost == 2
    assert found.p is not None
    assert found.p_error is not None
    assert found.p_error[0] <= 4 / 2**13 <= found.p_error[1]
    assert found.p == restricted_difference(one, other, horizon=8).p
    twelve = restricted_difference(one[:12], other[:12], horizon=8)
    assert (twelve.p, twelve.p_error) == (4 / 2**12, None)
