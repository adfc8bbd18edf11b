"""The sign-flip test and interval: by hand, against scipy, and by their coverage."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from simulator.study.statistics.paired_tests import pairs_needed, sign_flip_interval, sign_flip_p, smallest_p


def test_p_by_hand() -> None:
    assert sign_flip_p([1, 2, 3, 4, 5]) == 2 / 32  # only all signs as they are, or all turned
    assert sign_flip_p([-1, 2, 3, 4, 5]) == 4 / 32  # these two, and each with the 1 turned
    assert sign_flip_p([1, -1]) == 1
    assert sign_flip_p([0, 0, 0]) == 1
    assert sign_flip_p([2, 3, 4], shift=3) == 1
    assert sign_flip_p([7]) == 1


def test_ties_are_seen_through_rounding() -> None:
    # 0.1 + 0.2 is not 0.3 to a computer; with whole numbers there is no rounding
    assert sign_flip_p([0.1, 0.2, -0.3, 0.5]) == sign_flip_p([1, 2, -3, 5])
    assert sign_flip_p([0.3, 0.3, 0.3, 0.3, 0.3], shift=0.1 + 0.2) == 1


@pytest.mark.parametrize("count", [3, 5, 8, 10])
@pytest.mark.parametrize("seed", range(4))
def test_p_agrees_with_scipy(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    one, other = draw.normal(0.5, 1, count).round(1), draw.normal(0, 1, count).round(1)
    theirs = stats.permutation_test(
        (one, other),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**count,
    )
    assert sign_flip_p((one - other).tolist()) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("signs", [(1, 1, 1, -1, 1, 1, 1), (-1, 1, -1, 1, 1, 1, 1), (-1, -1, 1, 1, -1, 1, -1)])
def test_on_ranks_it_is_the_exact_test_of_wilcoxon(signs: tuple[int, ...]) -> None:
    ranks = [sign * rank for sign, rank in zip(signs, range(1, 8), strict=True)]
    assert sign_flip_p(ranks) == pytest.approx(stats.wilcoxon(ranks, method="exact").pvalue)


def test_interval_by_hand() -> None:
    six = sign_flip_interval([3, 1, 2, 6, 5, 4])
    assert (six.low, six.high, six.level, six.reason) == (1, 6, 1 - 2 / 64, None)
    # of the 7 means of subsets 1, 1.5, 2, 7/3, 2.5, 3, 4 ... the two lowest and the two highest are cut
    three = sign_flip_interval([1, 2, 4], level=0.5)
    assert (three.low, three.high, three.level) == (1.5, 3, 0.5)


@pytest.mark.parametrize(("count", "attained"), [(2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375)])
def test_too_few_pairs_say_which_level_they_reach(count: int, attained: float) -> None:
    found = sign_flip_interval([float(value) for value in range(count)])
    assert (found.low, found.high, found.level) == (0, count - 1, attained)
    assert found.reason is not None
    assert f"a 95 % interval does not exist for {count} pairs" in found.reason
    assert f"1/{2 ** (count - 1)};" in found.reason
    exact = sign_flip_interval([float(value) for value in range(count)], attained)
    assert (exact.level, exact.reason) == (attained, None)


def test_one_pair_has_no_interval() -> None:
    found = sign_flip_interval([3.0])
    assert (found.low, found.high, found.level) == (None, None, None)
    assert found.reason == "one pair says nothing about its spread; run more seeds"


@pytest.mark.parametrize("count", [6, 8, 10])
@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_interval_is_what_the_test_does_not_reject(count: int, level: float) -> None:
    values = np.random.default_rng(count).normal(1, 2, count)
    found = sign_flip_interval(values.tolist(), level)
    assert found.low is not None
    assert found.high is not None
    assert found.level is not None
    assert level <= found.level < level + 2 / 2 ** (count - 1)
    # every mean of a subset is a place where p changes
    means = {float(np.mean(part)) for size in range(1, count + 1) for part in combinations(values, size)}
    for shift in sorted(means)[:: max(1, len(means) // 60)]:
        inside = found.low - 1e-9 <= shift <= found.high + 1e-9
        assert inside == (sign_flip_p(values.tolist(), shift) > 1 - level + 1e-12)
    for end, outwards in ((found.low, -1e-6), (found.high, 1e-6)):
        assert sign_flip_p(values.tolist(), end) > 1 - level
        assert sign_flip_p(values.tolist(), end + outwards) <= 1 - level


@pytest.mark.parametrize("count", [5, 6, 8])
def test_interval_covers_as_often_as_it_says(count: int) -> None:
    draw = np.random.default_rng(count)
    repeats, covered = 2000, 0
    for _ in range(repeats):
        # symmetric about 0.3, with heavy tails and unequal scales: nothing the method assumes away
        values = 0.3 + draw.standard_t(2, count) * draw.uniform(0.1, 3, count)
        found = sign_flip_interval(values.tolist())
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.3 <= found.high
    level = found.level
    assert level is not None
    # four standard errors
    assert covered / repeats == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / repeats))


def test_a_percentile_bootstrap_covers_less_than_it_says_at_five_pairs() -> None:
    draw = np.random.default_rng(0)
    samples = draw.normal(size=(2000, 5))
    again = np.take_along_axis(samples[:, None], draw.integers(0, 5, (2000, 400, 5)), axis=2).mean(axis=2)
    low, high = np.percentile(again, [2.5, 97.5], axis=1)
    assert ((low <= 0) & (high >= 0)).mean() < 0.88


def test_pairs_needed() -> None:
    assert [smallest_p(pairs) for pairs in (1, 2, 5, 6)] == [1, 0.5, 1 / 16, 1 / 32]
    assert pairs_needed(0.05) == 6
    assert pairs_needed(0.05, claims=7) == 9  # 7 / 256 = 0.027, 7 / 128 = 0.055
    assert pairs_needed(0.05, claims=14) == 10


def test_sign_flip_raises() -> None:
    with pytest.raises(ValueError, match="expected at least one difference, got 0"):
        sign_flip_p([])
    with pytest.raises(ValueError, match="expected at least one difference, got 0"):
        sign_flip_interval([])
    with pytest.raises(ValueError, match="expected finite differences"):
        sign_flip_p([1.0, math.nan])
    with pytest.raises(ValueError, match="expected shift to be a finite number, got inf"):
        sign_flip_p([1.0], math.inf)
    with pytest.raises(ValueError, match="expected level to be above 0 and below 1, got 95"):
        sign_flip_interval([1.0, 2.0], 95)
    with pytest.raises(ValueError, match="expected pairs to be at least 1, got 0"):
        smallest_p(0)
    with pytest.raises(ValueError, match="expected alpha in"):
        pairs_needed(0.0)
