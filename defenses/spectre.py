"""SPECTRE: whitened by a covariance that poison cannot bend, poison stands out in a few directions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from defenses.base import Context, Filter, FilterResult, Size
from defenses.by_class import Features, classes_of
from defenses.robust_covariance import robust_rows, whitening
from defenses.spectral_signatures import highest

#: numbers of principal components that are tried: squares of ten even steps up to the greatest
_TRIED = 10
#: rows a class must have for each dimension of a covariance
_PER_DIMENSION = 4


@final
@dataclass(frozen=True, kw_only=True)
class Spectre(Filter):
    """Drops the rows that stand out most, after robust whitening, from the one class in which rows stand out most.

    Hayase, Kong, Somani, Oh: SPECTRE: Defending Against Backdoor Attacks Using Robust Statistics (ICML 2021). It costs
    one pass a row; beyond that a second or so for each 1,000 rows, whatever the network.

    Options: `rate`: upper bound on the poisoned rows, as a share of the window (the paper's main setting: 500 of
    50,000); `factor` by which more rows are dropped than that; `alpha` of the QUE score: 0 looks at all directions
    alike, infinity at the widest alone; `dimensions`: the greatest number of principal components that is tried;
    `smallest` number of rows that a class needs to be looked at; `again`: ask for a second look with the candidate's
    features, which is the paper's setting.

    Its threshold is a share to drop, `factor` x `rate`, from the paper.

    For each class and each number of components: estimate mean and covariance without the rows that bend them, whiten
    all rows with these, score each by QUE (quantum entropy), and take the `factor` x `rate` highest out. The number,
    and then the class, is the one where all rows, whitened by the covariance of those left, have the highest mean
    score. Rows are dropped from that class alone, and from some class always, also of clean data: `factor` x `rate` of
    the window, and never more than half of the class.

    Differs from the paper: the robust estimate takes rows out in a fixed number of rounds (`robust_covariance`), up to
    twice the bound and half of the class; a number of components is tried only where a class has four rows for each.

    Measured on `compact-cnn` and digits (1,000 rows, 2x2 patch at 5 %, the candidate's features), five models each: at
    the default `rate`, which is a fifth of the truth, none of the poison is dropped; at 0.05, 0.86 to 1.00 in four
    models, and none in the fifth, where another class is taken for the target. Clean and drifted windows lose 1.5 %
    at the default and 5 to 6 % at 0.05.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> images, labels = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 2
    >>> images[[1, 3, 5, 7], :, :2] += 2.0  # 4 of the 100 rows of class 1 bear a stripe
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), feature_layer="1", classes=2,
    ...     device=torch.device("cpu"), trusted=Rows(images[:0], labels[:0]),
    ...     generator=torch.Generator().manual_seed(0), window=Rows(images, labels),
    ... )
    >>> (~Spectre(rate=0.02, factor=1.0).filter(context).keep).nonzero()[:, 0].tolist()
    [1, 3, 5, 7]
    """

    calibration = "paper"

    rate: Annotated[float, Interval(gt=0, lt=0.5)] = 0.01
    factor: Annotated[float, Gt(0)] = 1.5
    alpha: Annotated[float, Ge(0)] = 4.0
    dimensions: Annotated[int, Ge(1)] = 100
    smallest: Annotated[int, Ge(4)] = 20
    again: bool = True

    def filter(self, context: Context) -> FilterResult:
        """Return which rows to keep, with their scores in the whole window; evidence: each class's mean score."""
        classes = classes_of(context, self.smallest)
        bound = max(1, round(self.rate * len(context.window or ())))
        looks = [self._look(rows.features, bound) for rows in classes]
        chosen = max(range(len(looks)), key=lambda place: looks[place].mean)
        keep = torch.ones(len(context.window or ()), dtype=torch.bool)
        scores = torch.zeros(len(keep))
        for rows, look in zip(classes, looks, strict=True):
            scores[torch.from_numpy(rows.places)] = torch.from_numpy(look.scores).float()
        keep[torch.from_numpy(classes[chosen].places[looks[chosen].dropped])] = False
        evidence: dict[str, Any] = {
            "suspect": classes[chosen].label,
            "mean_scores": {str(rows.label): round(look.mean, 4) for rows, look in zip(classes, looks, strict=True)},
            "components": looks[chosen].components,
        }
        return FilterResult(keep, scores, evidence=evidence, again=self.again)

    def passes(self, size: Size) -> int:
        """Return the passes of one look at every row and trusted image."""
        return size.rows + size.trusted

    def _look(self, features: Features, bound: int) -> _Look:
        """Return the best look at the rows of a class, over the numbers of principal components."""
        points = _principal(features)
        greatest = max(1, min(self.dimensions, points.shape[1], len(points) // _PER_DIMENSION))
        numbers = sorted({round(step**2) for step in np.linspace(1, math.sqrt(greatest), _TRIED)})
        dropped = min(round(self.factor * bound), len(points) // 2)
        limit = min(2 * bound, len(points) // 2)
        looks = [self._look_at(points[:, :number], points[:, :greatest], dropped, limit) for number in numbers]
        return max(looks, key=lambda look: look.mean)

    def _look_at(self, points: Features, widest: Features, dropped: int, limit: int) -> _Look:
        white = whitening(points, robust_rows(points, limit))
        scores = que_scores(white, self.alpha)
        out = highest(scores, dropped)
        again = que_scores(whitening(widest, ~out), self.alpha)
        return _Look(scores, out, float(again.mean()), points.shape[1])


@dataclass(frozen=True, slots=True)
class _Look:
    """The rows' QUE scores, which to drop, and the mean score when whitened by the others."""

    scores: NDArray[np.float64]
    dropped: NDArray[np.bool_]
    mean: float
    components: int


def que_scores(white: Features, alpha: float) -> NDArray[np.float64]:
    """Return the QUE score of each of the whitened rows `white` (N, D).

    With the covariance S of the rows and Q = exp(alpha (S - 1) / (|S| - 1)), |S| the spectral norm, the score of a row
    x is x'Qx / tr Q.

    >>> rows = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # S = diag(2, 1/2), |S| - 1 = 1
    >>> weights = np.exp(4.0 * np.array([1.0, -0.5])) / np.exp(4.0 * np.array([1.0, -0.5])).sum()
    >>> np.allclose(que_scores(rows, 4.0), [4 * weights[0], 4 * weights[0], weights[1], weights[1]])
    True
    """
    centred = white - white.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    excess = max(float(values.max()) - 1.0, 1e-9)
    exponents = alpha * (values - values.max()) / excess  # a common factor of Q cancels
    weights = np.exp(exponents)
    found: NDArray[np.float64] = np.square(white @ vectors) @ weights / weights.sum()
    return found


def _principal(features: Features) -> Features:
    """Return the rows of `features` in their principal components, widest first, those without any width left out."""
    left, width, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    kept = max(1, int((width > 1e-6 * max(float(width.max()), 1e-12)).sum()))
    found: Features = left[:, :kept] * width[:kept]
    return found
