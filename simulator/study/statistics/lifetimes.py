"""Survival of the timelines of two settings, paired by seed, some of it censored.

Restricted means (the area under the Kaplan-Meier curve up to a horizon), their difference and an exact test of it; and
the curve itself. Where every timeline was followed to the horizon, or to its erasure, the restricted mean is the plain
mean of min(survival, horizon), and the sign-flip test and interval apply. Where one ended earlier, the test swaps the
settings within each pair, all 2^n ways up to 12 pairs and 9,999 random ways beyond, and computes both curves anew; it
is exact when such losses are as likely in either setting. A shift cannot be subtracted from a survival that was not
seen to its end, so there is then neither a test of another shift than 0 nor an interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from simulator.observer.survival import kaplan_meier, restricted_mean
from simulator.study.statistics.monte_carlo import SLOW_DRAWS, drawn_p, p_error, random_flips
from simulator.study.statistics.paired_tests import METHOD, effects, sign_flip_interval, sign_flips
from simulator.study.statistics.values import Effects, Interval

#: 2^11 pairs of curves take about a tenth of a second; beyond, random swaps are drawn
MOST_SWAPPED = 12
_LOST = "{} of the timelines ended before the horizon of {:g}, the backdoor not erased"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a backdoor lived: `time` (at least 0) to its erasure where `ended`, else to the end of the timeline."""

    time: float
    ended: bool

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time) and self.time >= 0):
            raise ValueError(f"expected time to be a finite number of at least 0, got {self.time}; correct it")

    def known_until(self, horizon: float) -> bool:
        """Return whether min(survival, `horizon`) is known."""
        return self.ended or self.time >= horizon


@dataclass(frozen=True, slots=True)
class RestrictedDifference:
    """Restricted means of two arms, and `difference` = one - other, in the unit of the times.

    `p`: two-sided, of "the difference is `shift`"; None where it cannot be tested, with `reason`. `p_error`: where it
    was drawn, the interval of the exact one. `lost`: timelines that ended before the horizon with the backdoor alive.
    """

    one: float
    other: float
    difference: float
    p: float | None
    interval: Interval
    effects: Effects
    lost: int
    reason: str | None = None
    p_error: tuple[float, float] | None = None


def restricted_difference(
    one: Sequence[Lifetime], other: Sequence[Lifetime], horizon: float, shift: float = 0.0, level: float = 0.95
) -> RestrictedDifference:
    """Return the difference of two arms' restricted mean survival up to `horizon`; row i of both is of the same seed.

    `shift` is the difference that `p` tests. Raises `ValueError` for empty or unequal inputs, or a horizon below 0.
    """
    if not one or len(one) != len(other):
        raise ValueError(f"expected two arms of as many lifetimes, got {len(one)} and {len(other)}; pair them by seed")
    means = _mean(one, horizon), _mean(other, horizon)
    lost = sum(not life.known_until(horizon) for life in (*one, *other))
    if lost:
        return _with_losses(one, other, horizon, shift, means, lost)
    differences = [min(a.time, horizon) - min(b.time, horizon) for a, b in zip(one, other, strict=True)]
    flips = sign_flips(differences, shift)
    return RestrictedDifference(
        *means,
        difference=means[0] - means[1],
        p=flips.two_sided,
        interval=sign_flip_interval(differences, level),
        effects=effects(differences),
        lost=0,
        p_error=flips.error_of(flips.two_sided, 2),
    )


def _with_losses(
    one: Sequence[Lifetime],
    other: Sequence[Lifetime],
    horizon: float,
    shift: float,
    means: tuple[float, float],
    lost: int,
) -> RestrictedDifference:
    why = _LOST.format(lost, horizon)
    untested = None if shift == 0 else f"{why}; only a difference of 0 can be tested"
    p, error = _swap_p(one, other, horizon) if untested is None else (None, None)
    return RestrictedDifference(
        *means,
        difference=means[0] - means[1],
        p=p,
        interval=Interval(None, None, None, METHOD, why),
        effects=Effects(means[0] - means[1], None, None, why),
        lost=lost,
        reason=untested,
        p_error=error,
    )


def _swap_p(
    one: Sequence[Lifetime], other: Sequence[Lifetime], horizon: float
) -> tuple[float, tuple[float, float] | None]:
    """Return the p of swapping within pairs, and, where the swaps were drawn, the interval of the exact p."""
    pairs = list(zip(one, other, strict=True))
    observed = abs(_mean(one, horizon) - _mean(other, horizon))
    found = 0
    for swaps in _swaps(len(pairs)):
        swapped = [(b, a) if swap else (a, b) for swap, (a, b) in zip(swaps, pairs, strict=True)]
        gap = abs(_mean([a for a, _ in swapped], horizon) - _mean([b for _, b in swapped], horizon))
        found += gap >= observed - 1e-9 * (1 + horizon)
    if len(pairs) <= MOST_SWAPPED:
        return found / 2 ** (len(pairs) - 1), None
    p = drawn_p(found, SLOW_DRAWS)
    return p, p_error(p, SLOW_DRAWS)


def _swaps(count: int) -> Iterable[Sequence[bool]]:
    """All patterns of swaps, or random ones where there are too many."""
    if count > MOST_SWAPPED:
        return ((row > 0).tolist() for row in random_flips(count, SLOW_DRAWS))
    # To swap every pair turns the sign alone, so the first may stay as it is.
    return ((False, *rest) for rest in product((False, True), repeat=count - 1))


def _mean(lives: Sequence[Lifetime], horizon: float) -> float:
    return restricted_mean([life.time for life in lives], [life.ended for life in lives], horizon)


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """Steps of the curve: from `times[i]` on the share `alive[i]` in [0, 1]; it begins at (0, 1) and ends at `end`.

    `end`: the longest follow-up. `censored`: the times, ascending, at which timelines ended before it was erased.
    """

    times: tuple[float, ...]
    alive: tuple[float, ...]
    end: float
    censored: tuple[float, ...]

    def at(self, time: float) -> float:
        """Return the share alive at `time` (at least 0)."""
        return next(alive for since, alive in zip(self.times[::-1], self.alive[::-1], strict=True) if since <= time)


def survival_curve(lives: Sequence[Lifetime]) -> SurvivalCurve:
    """Return the Kaplan-Meier curve of at least one lifetime."""
    if not lives:
        raise ValueError("expected at least one lifetime, got none; leave out settings that were never planted")
    steps = kaplan_meier([life.time for life in lives], [life.ended for life in lives])
    return SurvivalCurve(
        times=tuple(time for time, _ in steps),
        alive=tuple(alive for _, alive in steps),
        end=max(life.time for life in lives),
        censored=tuple(sorted(life.time for life in lives if not life.ended)),
    )
