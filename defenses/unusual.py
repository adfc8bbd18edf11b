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
