"""Effect sizes by hand and against scipy; Holm's correction by hand and as the closed test that it is."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import special

from simulator.study.statistics.paired_tests import effects, holm, pair_by_seed, small_sample_factor


def test_effects_by_hand() -> None:
    found = effects([1, 2, 3, 0, -1])
    assert found.mean == 1
    # standard deviation sqrt(2.5); the factor for 4 degrees of freedom is Gamma(2) / (sqrt(2) Gamma(3/2)) = 0.7979
    assert found.standardised == pytest.approx(0.797885 / math.sqrt(2.5), rel=1e-5)
    assert found.superiority == (3 + 0.5) / 5
    assert found.reason is None


def test_equal_differences_have_no_standardised_effect() -> None:
    for differences in ([2.0], [2.0, 2.0], [0.1 + 0.2, 0.3], [0.0, 0.0]):
        found = effects(differences)
        assert found.mean == pytest.approx(differences[0])
        assert found.standardised is None
        assert found.reason == "all differences are equal: nothing to measure the mean against"
    assert effects([0.0, 0.0]).superiority == 0.5


def test_two_differences_have_no_standardised_effect() -> None:
    # mean -3.5, standard deviation 0.7: Hedges' factor for one degree of freedom is 0, which is not an effect of 0
    found = effects([-3.0, -4.0])
    assert (found.mean, found.standardised, found.superiority) == (-3.5, None, 0.0)
    assert found.reason == "two differences: no unbiased standardised effect exists; run more seeds"


@pytest.mark.parametrize("freedom", [2, 3, 4, 9, 50])
def test_small_sample_factor(freedom: int) -> None:
    exact = special.gamma(freedom / 2) / math.sqrt(freedom / 2) / special.gamma((freedom - 1) / 2)
    assert small_sample_factor(freedom) == pytest.approx(exact)
    assert small_sample_factor(freedom) == pytest.approx(1 - 3 / (4 * freedom - 1), abs=0.01)


def test_standardised_effect_is_unbiased() -> None:
    draw = np.random.default_rng(0)
    found = [effects(draw.normal(0.5, 1, 5).tolist()).standardised for _ in range(4000)]
    values = [value for value in found if value is not None]
    error = float(np.std(values)) / math.sqrt(len(values))
    assert np.mean(values) == pytest.approx(0.5, abs=4 * error)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.5, "b": 0.9}) == {"a": 1, "b": 1}
    assert holm({"a": 0.03}) == {"a": 0.03}
    assert holm({}) == {}


def test_an_untested_claim_counts() -> None:
    assert holm({"a": 0.01, "b": None, "c": 0.02}) == pytest.approx({"a": 0.03, "b": None, "c": 0.04})


@pytest.mark.parametrize("seed", range(10))
def test_holm_is_the_closed_test_of_bonferroni(seed: int) -> None:
    """A claim is rejected where Bonferroni rejects every group of claims that it belongs to."""
    names = "abcde"
    ps = dict(zip(names, np.random.default_rng(seed).beta(0.5, 4, 5).tolist(), strict=True))
    groups = [group for size in range(1, 6) for group in combinations(names, size)]
    closed = {
        name: max(min(1.0, len(group) * min(ps[item] for item in group)) for group in groups if name in group)
        for name in names
    }
    assert holm(ps) == pytest.approx(closed)


def test_pairs_are_of_one_seed_and_undefined_ones_counted() -> None:
    pairs, left_out = pair_by_seed({102: 3.0, 100: 1.0, 101: None}, {100: 0.5, 101: 2.0, 102: 4.0})
    assert list(pairs.items()) == [(100, (1.0, 0.5)), (102, (3.0, 4.0))]
    assert left_out == (101,)


def test_effects_raise() -> None:
    with pytest.raises(ValueError, match="expected at least one finite difference"):
        effects([])
    with pytest.raises(ValueError, match="expected at least one finite difference"):
        effects([1.0, math.inf])
    with pytest.raises(ValueError, match="expected freedom to be at least 2, got 1"):
        small_sample_factor(1)
    with pytest.raises(ValueError, match=r"expected every p to be in \[0, 1\], got \{'b': 1.5\}"):
        holm({"a": 0.1, "b": 1.5})
    with pytest.raises(ValueError, match=r"expected both arms to have run the same seeds, got \[101\] in one only"):
        pair_by_seed({100: 1.0, 101: 2.0}, {100: 1.0})
