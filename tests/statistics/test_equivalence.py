"""Equivalence by two one-sided tests, families, and simultaneous intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from simulator.study.statistics.paired_tests import sign_flip_interval
from simulator.study.statistics.values import Claim, Endpoint
from simulator.study.statistics.weigh import compare_values, decide

EFFECT = Endpoint("effect", "after all", "share")
SAME = Claim("same", "no difference", EFFECT, "within", 0.05)


def by_seed(values: list[float]) -> dict[int, float | None]:
    return dict(enumerate(values))


def one_sided(values: list[float], shift: float, alternative: str) -> float:
    """The one-sided p of scipy's permutation test."""
    shifted = np.array(values) - shift
    found = stats.permutation_test(
        (shifted, np.zeros(len(values))),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        alternative=alternative,
        vectorized=True,
        n_resamples=2 ** len(values),
    )
    return float(found.pvalue)


@pytest.mark.parametrize("seed", range(4))
def test_equivalence_is_the_larger_of_two_one_sided_p(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.01, 0.03, 9).round(3).tolist()
    found = compare_values(SAME, by_seed(values), 0.0)
    assert found.estimate is not None
    assert abs(found.estimate) < 0.05
    assert found.p == pytest.approx(max(one_sided(values, -0.05, "greater"), one_sided(values, 0.05, "less")))


def test_the_three_verdicts_of_an_equivalence() -> None:
    near = compare_values(SAME, by_seed([0.01, -0.01, 0.02, -0.02, 0.0, 0.01]), 0.0)
    assert near.p == 1 / 64  # of six pairs one pattern of signs is as far from either gate
    assert decide([near])[0].holds == "yes"
    assert decide([near])[0].reason.endswith("within the gates")
    far = compare_values(SAME, by_seed([0.2, 0.3, 0.25, 0.2, 0.4, 0.3]), 0.0)
    assert (far.p, decide([far])[0].holds) == (2 / 64, "no")
    wide = compare_values(SAME, by_seed([0.3, -0.3, 0.2, -0.2, 0.1, -0.1]), 0.0)
    assert decide([wide])[0].holds == "undecided"


def test_each_family_is_corrected_by_itself() -> None:
    def six(name: str, family: str) -> Claim:
        return Claim(name, name, EFFECT, "greater", family=family)

    values = by_seed([1, 2, 3, 4, 5, 6])
    found = [compare_values(six(name, family), values, 0.0) for name, family in (("a", "A"), ("b", "B"), ("c", "B"))]
    one, two, three = decide(found)
    assert (one.corrected_p, one.holds) == (2 / 64, "yes")
    assert (two.corrected_p, two.holds, three.corrected_p) == (4 / 64, "undecided", 4 / 64)


def test_simultaneous_intervals_have_the_level_of_their_family() -> None:
    values = np.random.default_rng(0).normal(1, 1, 12).tolist()
    claim = Claim("a", "a", EFFECT, "greater")
    found = compare_values(claim, by_seed(values), 0.0, 0.95, 1 - 0.05 / 8)
    assert found.simultaneous == sign_flip_interval(values, 1 - 0.05 / 8)
    assert found.simultaneous is not None
    assert found.simultaneous.low is not None
    assert found.interval.low is not None
    assert found.simultaneous.low < found.interval.low


def test_raises() -> None:
    with pytest.raises(ValueError, match="expected the gate of an equivalence to be above 0, got 0"):
        Claim("a", "a", EFFECT, "within")
