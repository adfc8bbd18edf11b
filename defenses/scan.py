"""SCAn: a poisoned class is two groups of rows, where clean classes vary about one mean, all alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from defenses.base import Context, DoesNotApply, Filter, FilterResult, Size, Threshold
from defenses.by_class import ClassRows, Features, alike, classes_of

#: rounds of expectation and maximisation at most, and the relative change at which they end
_ROUNDS, _CHANGE = 100, 1e-5
#: trusted images needed for each dimension of a covariance
_PER_DIMENSION = 3


@final
@dataclass(frozen=True, kw_only=True)
class Scan(Filter):
    """Drops the group without trusted images from each class that is two groups far more clearly than the others are.

    Tang, Wang, Tang, Zhang: Demon in the Variant: Statistical Analysis of DNNs for Robust Backdoor Contamination
    Detection (USENIX Security 2021). It costs one pass a row and a trusted image.

    Options: `dimensions` to which the features are reduced; `threshold` of the anomaly index (paper: e squared);
    `smallest` number of rows that a class needs to be looked at; `again`: ask for a second look with the candidate's
    features, which is the paper's setting.

    Its threshold is the paper's; `ebbdoor calibrate` can set another. A feature vector is the mean of its class plus a
    variation whose covariance is the same in every class. Both covariances are estimated on the trusted images by
    expectation maximisation. With that covariance fixed, twice the logarithm of the likelihood ratio of two groups
    against one is the sum of squares that 2-means takes away in the whitened features. Its mean over the rows is a
    class's statistic. A class whose statistic lies `threshold` deviations above the median of all is contaminated, and
    loses the group in which there are fewer trusted images of the class than in the window; without any, the smaller.

    Differs from the paper: the features are reduced to principal components of the window first, since a few hundred
    trusted images say nothing about a covariance of hundreds of dimensions; only indices above the median count; the
    statistic is a mean over the rows, as in the authors' code, since a sum grows with the size of a class and flags
    large ones. It is skipped with fewer than four classes, where a deviation from the median says nothing, and where
    there are fewer than three trusted images for each of two dimensions. Differs from the authors' code: the mean of
    one group is that of its rows; there it falls short of it (tests/defenses/test_agreement.py).

    Measured on `compact-cnn` and digits (1,000 rows, 300 trusted images, 2x2 patch at 5 %, the candidate's features),
    five models each: all of the poison is dropped and at most 0.8 % of the clean rows beside it, nothing of clean
    windows, and of windows of which two thirds are turned by 10 degrees, the trusted images not, one class in one of
    five (3 % of its rows).

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> images, labels = torch.rand(400, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(400) % 4
    >>> trusted, window = Rows(images[:120], labels[:120]), Rows(images[120:].clone(), labels[120:])
    >>> stamped = (window.labels == 1).nonzero()[:8, 0]
    >>> window.images[stamped, :, :2] += 2.0  # 8 of the 70 rows of class 1 bear a stripe
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), feature_layer="1", classes=4,
    ...     device=torch.device("cpu"), trusted=trusted, generator=torch.Generator().manual_seed(0), window=window,
    ... )
    >>> torch.equal((~Scan().filter(context).keep).nonzero()[:, 0], stamped)
    True
    """

    needs_trusted = True
    calibration = "paper"
    threshold_option = Threshold("threshold", of="classes.*.index")

    dimensions: Annotated[int, Ge(2)] = 50
    threshold: Annotated[float, Gt(0)] = math.e**2
    smallest: Annotated[int, Ge(4)] = 20
    again: bool = True

    def filter(self, context: Context) -> FilterResult:
        """Return which rows to keep, with each class's index as evidence; a row's score is the index of its class."""
        dimensions = min(self.dimensions, len(context.trusted) // _PER_DIMENSION)
        if dimensions < 2:
            raise DoesNotApply(f"SCAn needs at least {2 * _PER_DIMENSION} trusted images, got {len(context.trusted)}")
        classes = classes_of(context, self.smallest)
        if len(classes) < 4:
            raise DoesNotApply(f"SCAn needs at least four classes in the window, got {len(classes)}")
        seed = int(torch.randint(2**31, (1,), generator=context.generator))
        groups = [two_groups(rows, seed) for rows in _whitened(classes, dimensions)]
        indices = excess(np.array([group.statistic for group in groups]))
        keep = torch.ones(len(context.window or ()), dtype=torch.bool)
        scores = torch.zeros(len(keep))
        found: dict[str, Any] = {}
        for rows, group, index in zip(classes, groups, indices, strict=True):
            flagged = bool(index > self.threshold)
            scores[torch.from_numpy(rows.places)] = float(index)
            keep[torch.from_numpy(rows.places[group.suspicious])] = not flagged
            share = round(float(group.suspicious.mean()), 4)
            found[str(rows.label)] = {"index": round(float(index), 4), "share": share, "dropped": flagged}
        return FilterResult(keep, scores, evidence={"classes": found}, again=self.again)

    def passes(self, size: Size) -> int:
        """Return the passes of one look at every row and trusted image."""
        return size.rows + size.trusted


def excess(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each value lies above the median, in units of 1.4826 times the median absolute deviation.

    >>> (excess(np.array([1.0, 3.0, 5.0, 7.0])) * 1.4826).round(9).tolist()  # median 4, deviations 3, 1, 1, 3
    [-1.5, -0.5, 0.5, 1.5]
    """
    away = values - np.median(values)
    spread = float(np.median(np.abs(away)))
    found: NDArray[np.float64] = away / (1.4826 * spread) if spread > 0 else np.zeros(len(values))
    return found


def within_covariance(groups: list[Features]) -> Features:
    """Return the covariance (D, D) of the variation within each of `groups` (N, D), by expectation maximisation.

    The mean of each group is the posterior mean, given how far the groups' means lie apart.
    """
    total = np.concatenate(groups).mean(axis=0)
    means = [group.mean(axis=0) - total for group in groups]
    centred = [group - total for group in groups]
    sizes = np.array([len(group) for group in groups])
    between, within = np.cov(np.stack(means).T, ddof=0), _spread(centred, means)
    for _ in range(_ROUNDS):
        posterior = [
            between @ np.linalg.pinv(between + within / size) @ mean for size, mean in zip(sizes, means, strict=True)
        ]
        before, within = within, _spread(centred, posterior)
        between = sum(size * np.outer(mean, mean) for size, mean in zip(sizes, posterior, strict=True)) / sizes.sum()
        if np.abs(within - before).max() <= _CHANGE * np.abs(before).max():
            break
    return within


def _spread(centred: list[Features], means: list[Features]) -> Features:
    away = np.concatenate([rows - mean for rows, mean in zip(centred, means, strict=True)])
    found: Features = away.T @ away / len(away)
    return found


def _whitened(classes: list[ClassRows], dimensions: int) -> list[ClassRows]:
    """Return `classes` in principal components that have, within a class of trusted images, unit covariance."""
    features = np.concatenate([rows.features for rows in classes])
    if alike(features):
        raise DoesNotApply("SCAn needs features that differ, got the same for every row")
    reduced = PCA(min(dimensions, *features.shape), svd_solver="full").fit(features)
    trusted = [reduced.transform(rows.trusted) for rows in classes if len(rows.trusted) > 1]
    if not trusted:
        raise DoesNotApply("SCAn needs two trusted images of some class, got none")
    values, vectors = np.linalg.eigh(within_covariance(trusted))
    scale = vectors / np.sqrt(np.maximum(values, 1e-3 * values.max()))
    return [
        ClassRows(rows.label, rows.places, reduced.transform(rows.features) @ scale, _apply(reduced, rows, scale))
        for rows in classes
    ]


def _apply(reduced: PCA, rows: ClassRows, scale: Features) -> Features:
    found: Features = reduced.transform(rows.trusted) @ scale if len(rows.trusted) else np.empty((0, scale.shape[1]))
    return found


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows of a class are in the suspicious group, and how much better two groups fit than one, a row."""

    suspicious: NDArray[np.bool_]
    statistic: float


def two_groups(rows: ClassRows, seed: int) -> Groups:
    """Return the better of two groups against one of the whitened `rows`.

    >>> features = np.array([[0.0], [0.0], [0.0], [4.0]])  # squares about the mean 1: 3 + 9; about two means: 0
    >>> two_groups(ClassRows(0, np.arange(4), features, np.empty((0, 1))), 0).statistic
    3.0
    """
    if alike(rows.features):
        return Groups(np.zeros(len(rows), dtype=bool), 0.0)
    means = KMeans(2, n_init=10, random_state=seed).fit(rows.features)
    first = means.labels_.astype(bool)
    one = float(np.square(rows.features - rows.features.mean(axis=0)).sum())
    trusted = means.predict(rows.trusted).astype(bool) if len(rows.trusted) else np.zeros(0, dtype=bool)
    lacks = trusted.mean() < first.mean() if len(trusted) else first.mean() <= 0.5
    return Groups(first if lacks else ~first, (one - float(means.inertia_)) / len(rows))
