"""Whether a measurement is unusual beside earlier ones of its kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Floats = NDArray[np.float64]
#: the least spread taken for granted, as a share of the mean's size: equal measurements must not make any other one odd
_LEAST_SPREAD = 1e-3


def p_value_above(value: float, earlier: Floats) -> float:
    """Return the one-sided p-value of `value` being the next of the `earlier` (N,), which are taken for normal.

    That of the prediction interval with unknown mean and spread (Student's t with N - 1 degrees of freedom). 1 with
    fewer than two earlier ones.

    >>> round(p_value_above(4.0, np.array([0.0, 1.0, 2.0])), 3)  # t = 3 / (1 * sqrt(4/3)) = 2.598 with 2 degrees
    0.061
    """
    if len(earlier) < 2:
        return 1.0
    mean = float(earlier.mean())
    spread = max(float(earlier.std(ddof=1)), _LEAST_SPREAD * abs(mean), 1e-12)
    return float(t.sf((value - mean) / (spread * np.sqrt(1 + 1 / len(earlier))), len(earlier) - 1))


def p_values_among(values: Floats) -> Floats:
    """Return for each of `values` (N,) the p-value of `p_value_above` beside all others; NaN stays NaN.

    >>> p_values_among(np.array([1.0, 2.0, 1.5, 9.0])).round(3).tolist()
    [0.71, 0.622, 0.666, 0.003]
    """
    found = np.full(len(values), np.nan)
    for place in np.flatnonzero(np.isfinite(values)):
        others = np.delete(values, place)
        found[place] = p_value_above(float(values[place]), others[np.isfinite(others)])
    return found


def p_values_low(values: Floats, earlier: Floats | None = None, least_spread: float = _LEAST_SPREAD) -> Floats:
    """Return for each of `values` (N,) the chance that any is that low, if all are normal with one mean and spread.

    Grubbs' one-sided test: each is compared with mean and standard deviation of the others by Student's t with N - 2
    degrees of freedom, and the probability is multiplied by N, since any could have been the lowest. Each row of
    `earlier` (M, N), of which only the spread counts, adds N - 1 degrees. The deviation is at least `least_spread`.

    >>> values = np.array([4.0, 0.0, 3.0, 5.0])  # t = -4 / (1 * sqrt(4/3)) = -3.464 with 2 degrees, of 4
    >>> round(float(p_values_low(values)[1]), 3), round(float(p_values_low(values, np.array([[7, 8, 9, 8]]))[1]), 3)
    (0.148, 0.023)
    """
    count = len(values)
    others = np.stack([np.delete(values, place) for place in range(count)])
    means = others.mean(1)
    squares = np.square(others - means[:, None]).sum(1)
    freedom = count - 2
    if earlier is not None and len(earlier):
        squares = squares + np.square(earlier - earlier.mean(1, keepdims=True)).sum()
        freedom += len(earlier) * (count - 1)
    spreads = np.maximum(np.sqrt(squares / freedom), least_spread) * np.sqrt(1 + 1 / (count - 1))
    found: Floats = np.minimum(1.0, count * t.cdf((values - means) / spreads, freedom))
    return found
