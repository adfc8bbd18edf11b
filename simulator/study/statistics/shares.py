"""A share of seeds against a stated share: the exact binomial test and the Clopper-Pearson interval.

A claim about ending ("a backdoor is erased by update 20") is a share of seeds. Its estimate can lie on either side of
the stated share, which a mean of survivals cut at the horizon cannot where it is held against the horizon itself.
"""

from __future__ import annotations

from simulator.study.statistics.values import Interval

SHARE_METHOD = "exact binomial test; Clopper-Pearson interval"


def share_p(count: int, total: int, share: float) -> float:
    """Return the exact two-sided p of "the event has the chance `share`" after `count` events in `total` seeds.

    >>> round(share_p(12, 12, 0.5), 6) == round(2 / 2**12, 6)
    True
    """
    from scipy.stats import binomtest  # half a second to import

    _check(count, total)
    return float(binomtest(count, total, share).pvalue)


def share_interval(count: int, total: int, level: float = 0.95) -> Interval:
    """Return the Clopper-Pearson interval of the chance of the event, with at least the confidence `level`."""
    from scipy.stats import binomtest

    _check(count, total)
    found = binomtest(count, total).proportion_ci(level, method="exact")
    return Interval(float(found.low), float(found.high), level, SHARE_METHOD)


def smallest_share_p(total: int, share: float) -> float:
    """Return the smallest p that `total` seeds can give against `share`: that of no event, or of nothing else."""
    return min(share_p(0, total, share), share_p(total, total, share))


def _check(count: int, total: int) -> None:
    if not 0 <= count <= total or total < 1:
        raise ValueError(f"expected 0 to {total} events in at least one seed, got {count} of {total}; count again")
