"""The threshold at which clean updates raise few enough false alarms, and what can be promised of it.

Conformal risk control (Angelopoulos, Bates, Fisch, Lei, Schuster: Conformal Risk Control, ICLR 2024): of n clean
updates, the i-th loses the share L_i(t) of what a defense judges at threshold t: 0 or 1 where it judges versions or
windows whole. If the next clean update is exchangeable with them, it loses (L_1 + ... + L_n + 1) / (n + 1) on average
at most. Nothing is assumed about scores. Where updates are judged whole this is the order statistic of split
conformal prediction: the k-th highest score, k = rate * (n + 1) rounded down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.special import betaincinv

#: one-sided confidence of `Control.at_most`
CONFIDENCE = 0.95


@final
@dataclass(frozen=True, slots=True)
class Look:
    """What a defense said of one clean update, at the options that it had.

    `scores`, falling, are the highest of its `rows`, higher = more suspicious; `rows` is 1 where it judges an update
    whole. `flagged`: how many of them it flagged.
    """

    scores: tuple[float, ...]
    rows: int
    flagged: int

    def share_above(self, threshold: float) -> float:
        """Return the share of rows whose score lies above `threshold`; 1 where that is below all that was kept."""
        above = sum(score > threshold for score in self.scores)
        return 1.0 if above == len(self.scores) else above / self.rows


@final
@dataclass(frozen=True, slots=True)
class Control:
    """A `threshold` (what lies above it is flagged), and what follows for clean updates.

    `expected`: the share that the next one loses at most on average. `lost`: what those lost that it was set on.
    `at_most`: with 95 % confidence the rate at which this one threshold flags clean updates, were they independent;
    None where rows are judged.
    """

    threshold: float
    expected: float
    lost: tuple[float, ...]
    at_most: float | None


def looks_needed(rate: float) -> int:
    """Return the fewest clean updates that can promise `rate`.

    >>> looks_needed(0.05), looks_needed(0.3)  # 1 / 20 is 0.05, 1 / 4 is less than 0.3
    (19, 3)
    """
    return max(1, math.ceil(1 / rate - 1e-9) - 1)


def controlled(looks: Sequence[Look], rate: float) -> Control:
    """Return the least threshold that promises `rate`; there must be `looks_needed(rate)` looks or more.

    >>> found = controlled([Look((float(score),), 1, 0) for score in (3, 9, 4, 1)], 0.4)  # one of four may be flagged
    >>> found.threshold, found.expected, found.lost
    (4.01, 0.4, (0.0, 1.0, 0.0, 0.0))
    """
    count, allowed = len(looks), rate * (len(looks) + 1) - 1 + 1e-9
    if allowed < 0:
        raise ValueError(f"expected at least {looks_needed(rate)} looks for a rate of {rate}, got {count}")
    values, above = _shares_above(looks)
    place = int(np.argmax(above <= allowed))  # `above` falls, and is 0 at the highest
    beyond = float(values[place + 1]) if place + 1 < len(values) else math.inf
    threshold = just_above(float(values[place]), beyond)
    lost = tuple(look.share_above(threshold) for look in looks)
    whole = all(look.rows == 1 for look in looks)
    return Control(threshold, (sum(lost) + 1) / (count + 1), lost, _at_most(int(sum(lost)), count) if whole else None)


def just_above(value: float, beyond: float = math.inf) -> float:
    """Return the shortest decimal number above `value` and below `beyond`, of three digits or more.

    >>> just_above(0.12), just_above(0.99987), just_above(0.99987, 0.9999), just_above(-0.0456)
    (0.121, 1.0, 0.99988, -0.0455)
    """
    if value == 0.0:
        return min(1e-9, beyond / 2)
    for digits in range(3, 9):
        unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
        found = float(f"{(math.floor(value / unit + 1e-9) + 1) * unit:.{digits}g}")
        if value < found < beyond:
            return found
    return math.nextafter(value, math.inf)


def _shares_above(looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
    """Return the different scores, rising, and for each the sum of the shares of rows above it."""
    scores = np.concatenate([look.scores for look in looks])
    weights = np.concatenate([_weights(look) for look in looks])
    values, places = np.unique(scores, return_inverse=True)
    mass = np.bincount(places, weights)
    return values, np.append(np.cumsum(mass[::-1])[::-1][1:], 0.0)


def _weights(look: Look) -> np.ndarray:
    """Return the share of rows that each score stands for; the lowest stands for all that were not kept too."""
    found = np.full(len(look.scores), 1 / look.rows)
    found[-1] = 1 - (len(found) - 1) / look.rows
    return found


def _at_most(flagged: int, count: int) -> float:
    """Return the upper limit of Clopper and Pearson (Biometrika 1934) of a rate, `flagged` of `count` being seen."""
    return float(betaincinv(flagged + 1, count - flagged, CONFIDENCE)) if flagged < count else 1.0
