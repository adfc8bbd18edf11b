"""Spearman's correlation against scipy, its p against scipy's permutations, its interval by coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from simulator.seeds import generator
from simulator.study.statistics.ranks import rank_correlation, rank_interval


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [4, 6])
def test_exact_p_agrees_with_scipy(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    one, other = draw.integers(0, 5, count).astype(float), draw.normal(size=count)
    one[0], one[1] = 0, 4  # not all equal
    found = rank_correlation(one.tolist(), other.tolist(), generator(0))
    theirs = stats.permutation_test(
        (one,), lambda x: stats.spearmanr(x, other).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert found.rho == pytest.approx(theirs.statistic)
    # theirs doubles the smaller side; ours counts both sides by size, which is the same where they mirror each other
    null = np.asarray(theirs.null_distribution)
    assert found.p == pytest.approx((np.abs(null) >= abs(theirs.statistic) - 1e-9).mean())
    assert found.exact


def test_by_hand() -> None:
    found = rank_correlation([1, 2, 3, 4], [10, 20, 30, 40], generator(0))
    assert (found.rho, found.p, found.smallest_p) == (pytest.approx(1), 2 / 24, 2 / 24)
    # squared rank differences 0, 1, 1, 0: rho = 1 - 6 * 2 / (4 * 15)
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4], generator(0)).rho == pytest.approx(0.8)
    # never forgotten is longest
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, math.inf], generator(0)).rho == pytest.approx(0.8)


def test_drawn_p_is_near_the_exact_one_and_of_the_seed() -> None:
    draw = np.random.default_rng(5)
    one = draw.normal(size=30)
    other = one + draw.normal(size=30, scale=2)
    found = rank_correlation(one.tolist(), other.tolist(), generator(0))
    theirs = stats.spearmanr(one, other)
    assert found.rho == pytest.approx(theirs.statistic)
    assert 0.001 < theirs.pvalue < 0.5
    assert found.p == pytest.approx(theirs.pvalue, abs=0.01)
    assert not found.exact
    assert found == rank_correlation(one.tolist(), other.tolist(), generator(0))
    assert found.p != rank_correlation(one.tolist(), other.tolist(), generator(1)).p


def test_drawn_p_is_never_zero() -> None:
    points = [float(value) for value in range(20)]
    found = rank_correlation(points, points, generator(0))
    assert (found.p, found.smallest_p) == (1 / 20_000, 1 / 20_000)
    assert found.interval.low is None
    assert "the order is the same throughout" in (found.interval.reason or "")


@pytest.mark.parametrize("values", [[1.0, 2.0], [3.0, 3.0, 3.0, 3.0]])
def test_undefined(values: list[float]) -> None:
    found = rank_correlation(values, [float(index) for index in range(len(values))], generator(0))
    assert (found.rho, found.p, found.interval.level) == (None, None, None)
    assert found.reason == "a rank correlation needs at least 3 points that are not all equal"


def test_interval_by_hand() -> None:
    found = rank_interval(0.6, 19)
    reach = 1.959964 * math.sqrt((1 + 0.18) / 16)
    assert (found.low, found.high) == pytest.approx(
        (math.tanh(math.atanh(0.6) - reach), math.tanh(math.atanh(0.6) + reach)), rel=1e-5
    )
    assert found.level == 0.95
    few = rank_interval(0.6, 9)
    assert few.low is None
    assert few.reason == "too few points for the approximation: 9, not 10; the p-value stands"


@pytest.mark.parametrize(("count", "strength"), [(10, 0.0), (10, 0.7), (20, 0.7)])
def test_interval_covers_about_as_often_as_it_says(count: int, strength: float) -> None:
    draw = np.random.default_rng(count)
    truth = 6 / math.pi * math.asin(strength / 2)  # of a bivariate normal
    covered, repeats = 0, 1500
    for _ in range(repeats):
        one = draw.normal(size=count)
        other = strength * one + math.sqrt(1 - strength**2) * draw.normal(size=count)
        found = rank_interval(float(stats.spearmanr(one, other).statistic), count)
        covered += found.low is not None and found.high is not None and found.low <= truth <= found.high
    assert covered / repeats > 0.93


def test_ranks_raise() -> None:
    with pytest.raises(ValueError, match="expected two sequences of one length without NaN, got 2 and 3 values"):
        rank_correlation([1.0, 2.0], [1.0, 2.0, 3.0], generator(0))
    with pytest.raises(ValueError, match="without NaN"):
        rank_correlation([1.0, 2.0, math.nan], [1.0, 2.0, 3.0], generator(0))
    with pytest.raises(ValueError, match="expected level to be above 0 and below 1, got 95"):
        rank_interval(0.5, 20, 95)
