"""Sign-flips beyond twenty pairs: drawn, seeded, and with the error of their p, against the exact test on ranks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from simulator.study.statistics.monte_carlo import DRAWS, drawn_p, p_error
from simulator.study.statistics.paired_tests import DRAWN, sign_flip_interval, sign_flip_p, sign_flips, smallest_p
from simulator.study.statistics.values import Claim, Endpoint
from simulator.study.statistics.weigh import compare_values, decide


def ranks(count: int, seed: int) -> list[float]:
    """Signed ranks, on which the sign-flip test is the exact one of Wilcoxon."""
    signs = np.random.default_rng(seed).choice([-1, 1], count, p=[0.3, 0.7])
    return [float(value) for value in signs * np.arange(1, count + 1)]


@pytest.mark.parametrize("count", [21, 24, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_exact_p_lies_in_the_stated_error(count: int, seed: int) -> None:
    values = ranks(count, seed)
    exact = float(stats.wilcoxon(values, method="exact").pvalue)
    flips = sign_flips(values)
    assert flips.draws == DRAWS
    low, high = flips.error_of(flips.two_sided, 2) or (1.0, 0.0)
    assert low <= exact <= high
    assert high - low < 0.02
    assert flips.two_sided == sign_flips(values).two_sided  # seeded


def test_p_is_never_zero() -> None:
    assert drawn_p(0, 99_999) == 1e-5
    everything = [1.0] * 30
    assert sign_flip_p(everything) == smallest_p(30) == 2e-5
    low, high = p_error(2e-5, DRAWS, sides=2)
    assert low == 0
    assert 2 / 2**30 < high < 2e-4


def test_the_interval_is_what_the_drawn_test_does_not_reject() -> None:
    values = np.random.default_rng(3).normal(1, 2, 24).tolist()
    found = sign_flip_interval(values)
    assert found.method == DRAWN
    assert found.low is not None
    assert found.high is not None
    assert found.level == pytest.approx(0.95, abs=1e-4)
    for end, outwards in ((found.low, -1e-6), (found.high, 1e-6)):
        assert sign_flip_p(values, end) > 0.05 - 1e-4
        assert sign_flip_p(values, end + outwards) <= 0.05 + 1e-4
    normal = stats.t.interval(0.95, 23, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(normal, abs=0.15)


def test_twenty_one_pairs_are_weighed() -> None:
    # on the version before, 21 pairs raised ValueError, which left the claim undecided
    claim = Claim("a", "a is more", Endpoint("effect", "after all", "share"), "greater")
    found = compare_values(claim, {seed: 1.0 + seed / 100 for seed in range(21)}, 0.0)
    assert found.n == 21
    assert found.p == 2e-5
    assert found.p_error is not None
    assert decide([found])[0].holds == "yes"


def test_twenty_pairs_are_counted() -> None:
    flips = sign_flips(ranks(20, 0))
    assert (flips.draws, flips.error_of(flips.two_sided, 2)) == (None, None)
