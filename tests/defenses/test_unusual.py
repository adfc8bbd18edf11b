"""The test for one outlier of many: hand-worked numbers, and how often it speaks when nothing is unusual."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from defenses.unusual import p_values_low


def test_it_is_the_test_of_grubbs() -> None:
    # 0 beside 3, 4, 5: mean 4, deviation 1; t = -4 / sqrt(1 + 1/3) with 2 degrees of freedom, of 4 values
    found = p_values_low(np.array([4.0, 0.0, 3.0, 5.0]))
    assert found[1] == pytest.approx(4 * student.cdf(-4 / np.sqrt(4 / 3), 2))
    assert found[3] == 1.0


def test_earlier_ones_add_their_spread_and_degrees() -> None:
    # squares of the others: 2; of the earlier row around its mean: 4 * 0.25 = 1; with 2 + 3 degrees: variance 0.6
    found = p_values_low(np.array([4.0, 0.0, 3.0, 5.0]), np.array([[9.5, 8.5, 9.5, 8.5]]))
    assert found[1] == pytest.approx(4 * student.cdf(-4 / np.sqrt(0.6 * 4 / 3), 5))


def test_equal_values_have_no_outlier() -> None:
    equal = np.full(10, 7.0)
    assert p_values_low(equal).tolist() == [1.0] * 10
    assert p_values_low(equal, np.zeros((3, 10)), 0.05).tolist() == [1.0] * 10


@pytest.mark.parametrize("classes", [6, 10, 26])
def test_it_speaks_as_often_as_stated(classes: int) -> None:
    draw = np.random.default_rng(0)
    spoke = np.zeros(2)
    for _ in range(4000):
        values, earlier = draw.normal(3.0, 0.4, classes), draw.normal(0.0, 0.4, (2, classes))
        spoke += [min(p_values_low(values)) <= 0.05, min(p_values_low(values, earlier)) <= 0.05]
    assert ((spoke > 0.035 * 4000) & (spoke < 0.061 * 4000)).all(), spoke  # 0.05 stated, three standard errors 0.0103


def test_the_order_of_values_does_not_matter() -> None:
    draw = np.random.default_rng(1)
    values, order = draw.normal(size=10), draw.permutation(10)
    np.testing.assert_allclose(p_values_low(values[order]), p_values_low(values)[order], rtol=1e-9)
