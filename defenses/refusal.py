"""A refusal threshold from clean images: how many clean images it will refuse is stated, and with what uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from scipy.special import betaincinv
from torch import Tensor

from defenses.base import DoesNotApply


@final
@dataclass(frozen=True, slots=True)
class Refusal:
    """Refuse what scores above `threshold`, the `rank`-th highest score of `images` clean images.

    An image drawn as those were is refused with probability rank / (images + 1), or less where scores are equal. That
    is an average over such thresholds; the rate of a given one follows a Beta(rank, images + 1 - rank) distribution.
    """

    threshold: float
    rank: int
    images: int

    def flagged(self, scores: Tensor) -> Tensor:
        """Return bool (N,): which `scores` lie above the threshold."""
        return scores > self.threshold

    def evidence(self) -> dict[str, Any]:
        """Return the threshold, and what share of clean images it refuses: expected, and with a 95 % interval."""
        low, high = (float(betaincinv(self.rank, self.images + 1 - self.rank, tail)) for tail in (0.025, 0.975))
        return {
            "threshold": round(self.threshold, 6),
            "calibrated_on": self.images,
            "false_positive_rate": round(self.rank / (self.images + 1), 4),
            "false_positive_interval": [round(low, 4), round(high, 4)],
        }


@final
@dataclass(frozen=True, slots=True)
class Stated:
    """Refuse what scores above a `threshold` that was set beforehand; `refused` of `images` trusted images are."""

    threshold: float
    refused: int
    images: int

    def flagged(self, scores: Tensor) -> Tensor:
        """Return bool (N,): which `scores` lie above the threshold."""
        return scores > self.threshold

    def evidence(self) -> dict[str, Any]:
        """Return the threshold, and the share of trusted images that it refuses."""
        return {"threshold": self.threshold, "refused_trusted": round(self.refused / max(1, self.images), 4)}


def limit_of(scores: Tensor, rate: float, threshold: float | None) -> Refusal | Stated:
    """Return what refuses at `threshold`, or where that is None, as `refusal` does.

    >>> limit_of(torch.arange(19.0), 0.1, None).threshold, limit_of(torch.arange(4.0), 0.1, 2.5).evidence()
    (17.0, {'threshold': 2.5, 'refused_trusted': 0.25})
    """
    if threshold is None:
        return refusal(scores, rate)
    return Stated(threshold, int((scores > threshold).sum()), len(scores))


def refusal(scores: Tensor, rate: float) -> Refusal:
    """Return the threshold at which at most the share `rate` of clean images is refused on average.

    `scores` (N,) are those of clean images that had no part in how scores are computed; higher = more suspicious. This
    is the split conformal quantile (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005). Raises
    `DoesNotApply` with too few scores to say anything at that rate.

    >>> found = refusal(torch.arange(19.0), 0.1)
    >>> found.threshold, found.rank  # two of twenty places lie above 17
    (17.0, 2)
    """
    rank = math.floor(rate * (len(scores) + 1) + 1e-9)
    if rank < 1:
        needed = math.ceil(1 / rate - 1e-9) - 1
        raise DoesNotApply(f"a false positive rate of {rate} needs {needed} images to calibrate, got {len(scores)}")
    threshold = torch.topk(scores.double(), rank).values[-1]
    return Refusal(float(threshold), rank, len(scores))
