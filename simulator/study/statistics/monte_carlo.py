"""Seeded draws of sign patterns, for more pairs than all 2^n patterns can be counted for, and the error of such a p.

Of m random patterns b are at least as extreme as the one observed; p = (b + 1) / (m + 1) never understates the exact p
in the mean and is never 0 (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 2010). The exact p lies in the
Clopper-Pearson interval of b out of m with the confidence `ERROR_LEVEL`. The same seed gives the same p.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulator.study.statistics.shares import share_interval

#: random patterns; a multiple of 1,000 less one, so that p has few decimals
DRAWS = 99_999
#: for tests that build two survival curves a pattern
SLOW_DRAWS = 9_999
#: confidence of the interval in which the exact p lies
ERROR_LEVEL = 0.99
_SEED = 0


@lru_cache(maxsize=4)
def random_flips(count: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """Return `draws` subsets of `count` pairs whose signs are turned, a row each of 0 and 1; do not write into it."""
    flips = np.random.default_rng(_SEED).integers(0, 2, (draws, count)).astype(np.float64)
    flips.flags.writeable = False
    return flips


def drawn_p(extreme: int, draws: int) -> float:
    """Return (b + 1) / (m + 1) of `extreme` patterns among `draws`."""
    return (extreme + 1) / (draws + 1)


def p_error(p: float, draws: int, sides: int = 1) -> tuple[float, float]:
    """Return the interval of the exact p, with the confidence `ERROR_LEVEL`, around a `p` of `drawn_p`.

    `sides` is 2 for a two-sided p, which is twice a share of patterns.

    >>> low, high = p_error(drawn_p(9, 99_999), 99_999)
    >>> low < 1e-4 < high
    True
    """
    extreme = round(p / sides * (draws + 1)) - 1
    found = share_interval(max(0, min(draws, extreme)), draws, ERROR_LEVEL)
    low, high = found.low or 0.0, 1.0 if found.high is None else found.high
    return min(1.0, sides * low), min(1.0, sides * high)
