"""The power of a claim: how often a study of as many seeds would decide it, simulated from values seen before.

Differences are drawn from a normal distribution whose mean and spread are themselves drawn from what the values leave
open (Student's posterior), so that a small pilot promises less; of a share, from the beta distribution. This is called
assurance; it lies nearer to one half than the power at the estimate. Draws are seeded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.study.statistics.monte_carlo import random_flips
from simulator.study.statistics.shares import share_p
from simulator.study.statistics.values import Claim

REPEATS = 1_000
#: random sign patterns of each simulated test: the smallest two-sided p is 2 / 10,000
_PATTERNS = 9_999
_SEED = 0
_LEAST = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Simulated:
    """Repeats of one claim's test: `p` of each, and whether its estimate lies on the claim's side of the gate."""

    p: Floats
    beyond: NDArray[np.bool_]


def power_to_decide(claim: Claim, values: Sequence[float], alpha: float, pairs: int | None = None) -> float | None:
    """Return the share of repeats with p <= `alpha`, on either side of the gate; None with fewer than three values.

    `values` are paired differences one - other, or of a share its events as 1 and 0; `pairs` is how many each repeat
    has, by default as many as there are values.
    """
    found = simulate(claim, values, len(values) if pairs is None else pairs)
    return None if found is None else float((found.p <= alpha).mean())


def simulate(claim: Claim, values: Sequence[float], pairs: int) -> Simulated | None:
    """Return `REPEATS` simulated tests of `claim` with `pairs` pairs each; None with fewer than three values."""
    if len(values) < _LEAST:
        return None
    draw = np.random.default_rng(_SEED)
    if claim.endpoint.kind == "share":
        return _shares(claim, values, pairs, draw)
    return _tests(claim, _drawn(np.asarray(values), pairs, draw))


def _shares(claim: Claim, values: Sequence[float], pairs: int, draw: np.random.Generator) -> Simulated:
    count = sum(value > 0 for value in values)
    counts = draw.binomial(pairs, draw.beta(count + 0.5, len(values) - count + 0.5, REPEATS))
    ps = np.array([share_p(events, pairs, claim.gate) for events in range(pairs + 1)])
    sides = np.array([claim.beyond_gate(events / pairs) for events in range(pairs + 1)])
    return Simulated(ps[counts], sides[counts])


def _drawn(values: Floats, pairs: int, draw: np.random.Generator) -> Floats:
    """Simulated differences, a row a repeat."""
    freedom = len(values) - 1
    spread = values.std(ddof=1) * np.sqrt(freedom / draw.chisquare(freedom, REPEATS))
    mean = values.mean() + spread / math.sqrt(len(values)) * draw.normal(size=REPEATS)
    found: Floats = mean[:, None] + spread[:, None] * draw.normal(size=(REPEATS, pairs))
    return found


def _tests(claim: Claim, differences: Floats) -> Simulated:
    means = differences.mean(axis=1)
    beyond = np.array([claim.beyond_gate(mean) for mean in means])
    if claim.direction != "within":
        greater, less = _sided(differences - claim.gate)
        return Simulated(np.minimum(1.0, 2 * np.minimum(greater, less)), beyond)
    low, high = _sided(differences + claim.gate), _sided(differences - claim.gate)
    outside = np.where(means > 0, np.minimum(*high), np.minimum(*low))
    return Simulated(np.where(beyond, np.maximum(low[0], high[1]), np.minimum(1.0, 2 * outside)), beyond)


def _sided(differences: Floats) -> tuple[Floats, Floats]:
    """Both one-sided p of every row."""
    flipped = random_flips(differences.shape[1], _PATTERNS) @ differences.T
    slack = 1e-12 * np.abs(differences).sum(axis=1)
    greater = ((flipped <= slack).sum(axis=0) + 1) / (_PATTERNS + 1)
    less = ((flipped >= -slack).sum(axis=0) + 1) / (_PATTERNS + 1)
    return greater, less
