"""Effect sizes of paired differences: how large, beside how sure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simulator.study.statistics.values import Effects

__all__ = ["effects", "small_sample_factor"]

_UNDEFINED = "all differences are equal: nothing to measure the mean against"


def effects(differences: Sequence[float]) -> Effects:
    """Return the effect sizes of at least one finite difference, one minus other (`Effects` defines them)."""
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"expected at least one finite difference, got {values.tolist()}; leave out undefined seeds")
    mean = float(values.mean())
    superiority = float((values > 0).mean() + (values == 0).mean() / 2)
    # Equal but for rounding is equal: a spread of 1e-17 would make any mean a giant effect.
    if len(values) < 2 or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return Effects(mean, None, superiority, _UNDEFINED)
    spread = float(values.std(ddof=1))
    return Effects(mean, small_sample_factor(len(values) - 1) * mean / spread, superiority)


def small_sample_factor(freedom: int) -> float:
    """Return Hedges' exact factor that takes the bias out of mean / standard deviation; `freedom` at least 1.

    Gamma(f / 2) / (sqrt(f / 2) Gamma((f - 1) / 2)), about 1 - 3 / (4 f - 1) (Hedges, J. Educ. Stat. 1981). With one
    degree of freedom no unbiased one exists, and the factor is 0.
    """
    if freedom < 1:
        raise ValueError(f"expected freedom to be at least 1, got {freedom}; give two differences or more")
    if freedom == 1:
        return 0.0
    return math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)
