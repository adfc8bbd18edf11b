"""Spearman's rank correlation with a p-value that is right for few points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulator.study.statistics.values import Interval

if TYPE_CHECKING:
    import torch

__all__ = ["DRAWS", "LEAST_FOR_INTERVAL", "MOST_EXACT", "Correlation", "rank_correlation", "rank_interval"]

#: up to so many points all n! orders are tried (40,320 at 8)
MOST_EXACT = 8
#: above, so many are drawn
DRAWS = 19_999
#: below, the approximation behind the interval has no support
LEAST_FOR_INTERVAL = 10
METHOD = "Fisher's z with the standard error of Bonett and Wright (2000), approximate"
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Correlation:
    """`rho` in [-1, 1] of `n` points, the two-sided `p` of independence, and the smallest p they could give.

    `exact`: all orders were tried; otherwise p = (1 + orders as extreme) / (1 + 19,999 drawn), valid but coarser. The
    first four are None where a rank correlation is undefined (fewer than 3 points, or all equal); `reason` says so.
    """

    rho: float | None
    p: float | None
    smallest_p: float | None
    exact: bool | None
    n: int
    interval: Interval
    reason: str | None = None


def rank_correlation(
    one: Sequence[float], other: Sequence[float], generator: torch.Generator, level: float = 0.95
) -> Correlation:
    """Return Spearman's correlation of two sequences of one length; ties share their mean rank, infinite values rank.

    Points must be independent: several seeds of one setting are not independent points (average them first, or
    correlate within each seed and compare over seeds). p is that of independence: under it every order of `other` is
    equally likely. The interval is approximate, unlike p; it is undefined below 10 points and at |rho| = 1. Orders are
    drawn from the CPU `generator`, above 8 points only.
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (one, other))
    if first.ndim != 1 or first.shape != second.shape or np.isnan(first).any() or np.isnan(second).any():
        raise ValueError(
            f"expected two sequences of one length without NaN, got {first.size} and {second.size} values; "
            "leave out points without a value"
        )
    count = len(first)
    if count < 3 or len(np.unique(first)) == 1 or len(np.unique(second)) == 1:
        reason = "a rank correlation needs at least 3 points that are not all equal"
        return Correlation(None, None, None, None, count, Interval(None, None, None, METHOD, reason), reason)
    ranks, others = _centred_ranks(first), _centred_ranks(second)
    rho = float(ranks @ others / math.sqrt((ranks @ ranks) * (others @ others)))
    exact = count <= MOST_EXACT
    p = _exact_p(ranks, others) if exact else _drawn_p(ranks, others, generator)
    smallest = 2 / math.factorial(count) if exact else 1 / (1 + DRAWS)
    return Correlation(rho, p, smallest, exact, count, rank_interval(rho, count, level))


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, repeats = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(repeats)
    ranks = (ends - (repeats - 1) / 2)[place]
    return np.asarray(ranks - ranks.mean(), dtype=np.float64)


def _exact_p(ranks: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    orders = np.array(list(permutations(range(len(others)))))
    return float(_as_extreme(ranks, others, orders).mean())


def _drawn_p(ranks: NDArray[np.float64], others: NDArray[np.float64], generator: torch.Generator) -> float:
    import torch

    found, drawn = 0, 0
    while drawn < DRAWS:
        rows = min(_CHUNK, DRAWS - drawn)
        keys = torch.rand((rows, len(others)), generator=generator, dtype=torch.float64)
        found += int(_as_extreme(ranks, others, keys.numpy().argsort(axis=1)).sum())
        drawn += rows
    return (1 + found) / (1 + DRAWS)


def _as_extreme(
    ranks: NDArray[np.float64], others: NDArray[np.float64], orders: NDArray[np.int64]
) -> NDArray[np.bool_]:
    observed = abs(float(ranks @ others))
    return np.asarray(np.abs(others[orders] @ ranks) >= observed * (1 - 1e-9) - 1e-9)


def rank_interval(rho: float, count: int, level: float = 0.95) -> Interval:
    """Return the approximate interval of a rank correlation `rho` of `count` points: tanh(atanh(rho) -+ z error).

    The error is sqrt((1 + rho^2 / 2) / (n - 3)) (Bonett and Wright, Psychometrika 2000). None below 10 points or at
    |rho| = 1, with the reason.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected level to be above 0 and below 1, got {level}; write 95 % as 0.95")
    if count < LEAST_FOR_INTERVAL:
        reason = f"too few points for the approximation: {count}, not {LEAST_FOR_INTERVAL}; the p-value stands"
        return Interval(None, None, None, METHOD, reason)
    if abs(rho) > 1 - 1e-12:
        return Interval(None, None, None, METHOD, "the order is the same throughout: the approximation ends there")
    error = math.sqrt((1 + rho**2 / 2) / (count - 3))
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    return Interval(math.tanh(math.atanh(rho) - reach), math.tanh(math.atanh(rho) + reach), level, METHOD)
