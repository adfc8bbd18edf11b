"""Whether a model is better than chance: an exact test against a model whose answers do not depend on the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.special import bdtrc
from torch import Tensor

from simulator.records import Reading

#: the probability, at most, that a model counts as better than chance whose answers do not depend on the image
CHANCE_LEVEL = 0.01


def better_than_chance(predictions: Tensor, labels: Tensor, seen: Sequence[int] | None = None) -> Reading:
    """Return 1 when `predictions` agree with `labels` more often than chance allows, else 0.

    Only rows of the classes `seen` in training count (None: all rows), all with the same weight, also under a
    label-prior drift. By chance answers do not depend on the image. Two exact one-sided tests, each at half of
    `CHANCE_LEVEL` so that together they err with at most that probability:

    - binomial: as many right answers, each with the share of the most frequent class. It tells with few rows a class.
    - Fisher's, for each class ("is it this class?"), at the level divided by the number of classes. It tells where one
      class is so frequent that always answering it would be right as often.

    Undefined without rows. 0 where all rows are of one class: there is nothing to tell apart.
    """
    if seen is not None:
        kept = torch.isin(labels, torch.tensor(sorted(seen), dtype=labels.dtype, device=labels.device))
        predictions, labels = predictions[kept], labels[kept]
    if len(labels) == 0:
        why = "there is no test image"
        return Reading.undefined(why if seen is None else f"{why} of a class that was trained on so far")
    rows = torch.bincount(labels).tolist()
    if sum(count > 0 for count in rows) < 2:
        return Reading.of(0)
    level = CHANCE_LEVEL / 2
    return Reading.of(_binomial(predictions, labels, max(rows)) <= level or _fisher(predictions, labels, rows) <= level)


def _binomial(predictions: Tensor, labels: Tensor, most: int) -> float:
    """Return the probability of as many right answers by always naming the class of `most` rows, rows drawn anew."""
    right = int((predictions == labels).sum())
    return 1.0 if right == 0 else float(bdtrc(right - 1, len(labels), most / len(labels)))


def _fisher(predictions: Tensor, labels: Tensor, rows: Sequence[int]) -> float:
    """Return the smallest probability, over the classes, of as many right answers with the labels shuffled.

    It is multiplied by the number of classes that have rows (Bonferroni's correction).
    """
    from scipy.stats import hypergeom  # imported here: it takes half a second, and most models pass the other test

    classes = [k for k, count in enumerate(rows) if count]
    named = [int((predictions == k).sum()) for k in classes]
    right = [int(((predictions == k) & (labels == k)).sum()) for k in classes]
    tails = hypergeom.sf([hits - 1 for hits in right], len(labels), [rows[k] for k in classes], named)
    return min(1.0, float(tails.min()) * len(classes))
