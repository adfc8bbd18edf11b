"""Inference on paired differences: the sign-flip test, over all 2^n patterns of signs up to 20 pairs.

Beyond 20 pairs random patterns are drawn (`monte_carlo`); test and interval are the same otherwise.

Under the hypothesis that the differences are symmetric about a shift, every pattern of signs of (difference - shift) is
equally likely, so p is a share of the 2^n patterns: exact, whatever the distribution. For a shift of 0 symmetry
needs no assumption beyond "the arms do not differ" (which arm is called which is then arbitrary); for another shift,
and so for the interval, it says that the effect adds to every pair alike, up to symmetric noise.

The interval is the set of shifts that the test does not reject, in closed form: its ends are order statistics of the
2^n - 1 means of subsets of the differences (Hartigan, JASA 1969). With n pairs no two-sided p is below 2^(1-n), so no
interval has more than 1 - 2^(1-n) confidence: 93.75 % at 5 pairs, 96.9 % at 6, 99.8 % at 10. A percentile bootstrap
pretends to more: at 5 pairs its "95 %" interval never leaves the range of the data, which has 93.75 %, and is narrower
(of 2,000 normal samples of 5 it covered the mean in 84 %; of 10, in 90 %).

Beside the test: effect sizes; Holm's correction, which keeps the chance of even one false "yes" among all claims below
alpha however they depend; and the pairing of two settings by seed, so that what the seed fixes cancels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.study.statistics.monte_carlo import DRAWS, drawn_p, p_error, random_flips
from simulator.study.statistics.values import Effects, Interval

Value = TypeVar("Value")

METHOD = "exact sign-flip test over all 2^n patterns, inverted for the interval"
DRAWN = f"sign-flip test over {DRAWS:,} random patterns (seeded), inverted for the interval"
#: 2^20 patterns take a tenth of a second; beyond, random ones are drawn
MOST_PAIRS = 20
#: sums that differ by less, relative to the numbers summed, are equal but for rounding
_ROUNDING = 1e-12
_TWO = "two differences: no unbiased standardised effect exists; run more seeds"
_UNDEFINED = "all differences are equal: nothing to measure the mean against"


@dataclass(frozen=True, slots=True)
class SignFlips:
    """One-sided p-values of a shift: `greater` of "no greater than it", `less` of "no less than it".

    `draws`: how many random patterns they are shares of; None where all patterns were counted.
    """

    greater: float
    less: float
    draws: int | None

    @property
    def two_sided(self) -> float:
        """The p of "the differences are symmetric about the shift"."""
        return min(1.0, 2 * min(self.greater, self.less))

    def error_of(self, p: float, sides: int) -> tuple[float, float] | None:
        """Return the interval of the exact p around one of these, times `sides`; None where it is exact."""
        return None if self.draws is None else p_error(p, self.draws, sides)


def sign_flips(differences: Sequence[float], shift: float = 0.0) -> SignFlips:
    """Return both one-sided p of "the differences are symmetric about `shift`", each in (0, 1].

    Each is the share of sign patterns whose mean lies at least as far to that side as the one observed. Raises
    `ValueError` for no differences, or one that is not finite.
    """
    values = _checked(differences)
    if not math.isfinite(shift):
        raise ValueError(f"expected shift to be a finite number, got {shift}; correct it")
    slack = _ROUNDING * float(np.abs(values).sum() + len(values) * abs(shift))
    exact = len(values) <= MOST_PAIRS
    # To flip the rows of a subset lowers the sum by twice the subset's own sum.
    flipped = _subset_sums(values - shift) if exact else random_flips(len(values)) @ (values - shift)
    sides = int((flipped <= slack).sum()), int((flipped >= -slack).sum())
    if exact:
        return SignFlips(sides[0] / len(flipped), sides[1] / len(flipped), draws=None)
    return SignFlips(drawn_p(sides[0], len(flipped)), drawn_p(sides[1], len(flipped)), draws=len(flipped))


def sign_flip_p(differences: Sequence[float], shift: float = 0.0) -> float:
    """Return the two-sided p of "the differences are symmetric about `shift`", in (0, 1]; raises as `sign_flips`."""
    return sign_flips(differences, shift).two_sided


def sign_flip_interval(differences: Sequence[float], level: float = 0.95) -> Interval:
    """Return the narrowest equal-tailed interval of the shift with at least `level` confidence, or the widest there is.

    `level` is in (0, 1). Where n pairs cannot reach it, the interval has the highest level that they can, and a reason
    says so; with one pair there is none. Raises `ValueError` as `sign_flips` does.
    """
    values = _checked(differences)
    if not 0 < level < 1:
        raise ValueError(f"expected level to be above 0 and below 1, got {level}; write 95 % as 0.95")
    count = len(values)
    if count == 1:
        return Interval(None, None, None, METHOD, "one pair says nothing about its spread; run more seeds")
    means, method = _subset_means(values)
    patterns = len(means) + 1
    # So many patterns are cut off at either end; the rounding of 1 - level must not cost one.
    cut = max(1, math.floor((1 - level) / 2 * patterns + 1e-9))
    attained = 1 - 2 * cut / patterns
    return Interval(float(means[cut - 1]), float(means[-cut]), attained, method, _shortfall(count, level, attained))


def _subset_means(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Return the means of subsets of at least one value, ascending, and the method: of all, or of random ones."""
    if len(values) <= MOST_PAIRS:
        return np.sort(_subset_sums(values)[1:] / _subset_sums(np.ones(len(values)))[1:]), METHOD
    flips = random_flips(len(values))
    flips = flips[flips.any(axis=1)]
    return np.sort(flips @ values / flips.sum(axis=1)), DRAWN


def smallest_p(pairs: int) -> float:
    """Return the smallest two-sided p that `pairs` (at least 1) can give: 2^(1-n), or that of as many draws."""
    if pairs < 1:
        raise ValueError(f"expected pairs to be at least 1, got {pairs}; run more seeds")
    return 2.0 ** (1 - pairs) if pairs <= MOST_PAIRS else 2 / (DRAWS + 1)


def pairs_needed(alpha: float, claims: int = 1) -> int:
    """Return how many pairs each of `claims` needs so that all can be decided at `alpha` after Holm's correction."""
    if not 0 < alpha < 1 or claims < 1:
        raise ValueError(f"expected alpha in (0, 1) and at least one claim, got {alpha} and {claims}; correct them")
    pairs = 1
    while claims * smallest_p(pairs) > alpha:
        pairs += 1
    return pairs


def _shortfall(count: int, level: float, attained: float) -> str | None:
    if attained >= level - 1e-9:
        return None
    smallest = Fraction(2, 2**count)
    return (
        f"a {100 * level:g} % interval does not exist for {count} pairs, whose smallest two-sided p is {smallest}; "
        f"this one has {100 * attained:g} %"
    )


def _checked(differences: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected at least one difference, got {values.size}; give one a seed")
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite differences, got {values.tolist()}; leave out seeds without a value")
    return values


def _subset_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of all 2^n subsets; the empty one is first."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums


def effects(differences: Sequence[float]) -> Effects:
    """Return the effect sizes of at least one finite difference, one minus other (`Effects` defines them)."""
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"expected at least one finite difference, got {values.tolist()}; leave out undefined seeds")
    mean = float(values.mean())
    superiority = float((values > 0).mean() + (values == 0).mean() / 2)
    # A spread that is only rounding (1e-17) would make any mean a giant effect.
    if len(values) < 2 or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return Effects(mean, None, superiority, _UNDEFINED)
    if len(values) == 2:
        return Effects(mean, None, superiority, _TWO)
    spread = float(values.std(ddof=1))
    return Effects(mean, small_sample_factor(len(values) - 1) * mean / spread, superiority)


def small_sample_factor(freedom: int) -> float:
    """Return Hedges' exact factor that takes the bias out of mean / standard deviation; `freedom` at least 2.

    Gamma(f / 2) / (sqrt(f / 2) Gamma((f - 1) / 2)), about 1 - 3 / (4 f - 1) (Hedges, J. Educ. Stat. 1981). With one
    degree of freedom none exists: the formula's limit is 0, which would make every effect 0.
    """
    if freedom < 2:
        raise ValueError(f"expected freedom to be at least 2, got {freedom}; give three differences or more")
    return math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)


def holm(ps: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return each claim's p corrected over all claims (Holm, Scand. J. Stat. 1979), in the order given.

    A claim without a p (None) keeps None, but counts: it was claimed, though it could not be tested. Raises
    `ValueError` for a p outside [0, 1].
    """
    wrong = {name: p for name, p in ps.items() if p is not None and not 0 <= p <= 1}
    if wrong:
        raise ValueError(f"expected every p to be in [0, 1], got {wrong}; correct them")
    corrected: dict[str, float] = {}
    highest = 0.0
    tested = {name: p for name, p in ps.items() if p is not None}
    for rank, name in enumerate(sorted(tested, key=lambda name: tested[name])):
        highest = max(highest, min(1.0, (len(ps) - rank) * tested[name]))
        corrected[name] = highest
    return {name: corrected.get(name) for name in ps}


def pair_by_seed(
    one: Mapping[int, Value | None], other: Mapping[int, Value | None]
) -> tuple[dict[int, tuple[Value, Value]], tuple[int, ...]]:
    """Return the pairs of values of two arms by rising seed, and the seeds that are left out.

    Those are the seeds with an undefined value (None: not planted, not measured) in one of the arms. Raises
    `ValueError` unless both arms ran the same seeds.
    """
    if one.keys() != other.keys():
        alone = sorted(one.keys() ^ other.keys())
        raise ValueError(f"expected both arms to have run the same seeds, got {alone} in one only; run them in both")
    values = {seed: (one[seed], other[seed]) for seed in sorted(one)}
    whole = {seed: (a, b) for seed, (a, b) in values.items() if a is not None and b is not None}
    return whole, tuple(seed for seed in values if seed not in whole)
