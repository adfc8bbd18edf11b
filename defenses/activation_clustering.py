"""Activation Clustering: poisoned and clean rows of one label activate the model differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from defenses.base import Context, DoesNotApply, Filter, FilterResult, Size, Threshold
from defenses.by_class import ClassRows, alike, classes_of

#: rows of a class whose silhouette is computed; it needs all their pairs
_SILHOUETTE_ROWS = 1000


@final
@dataclass(frozen=True, kw_only=True)
class ActivationClustering(Filter):
    """Splits the features of each class into two clusters and drops the smaller one where the split is suspicious.

    Chen, Carvalho, Baracaldo, Ludwig, Edwards, Lee, Molloy, Srivastava: Detecting Backdoor Attacks on Deep Neural
    Networks by Activation Clustering (SafeAI at AAAI 2019). It costs one pass a row and a trusted image.

    Options: `dimensions` to which the features are reduced; `rule` by which a split is suspicious (below); `level`, the
    error probability of the rule `trusted`; `share` of a class's rows up to which the smaller cluster is suspicious;
    `silhouette` of the split from which it is; `smallest` number of rows that a class needs to be looked at; `again`:
    ask for a second look with the candidate's features, which is the paper's setting: the features of a model that was
    trained on this window.

    Its threshold is an error probability against the trusted images (`level`), or that of the paper (`silhouette`).

    Rules: `trusted` puts the trusted images of the class into the clusters too. If at least half of the smaller cluster
    were clean, they would fall into it half as often as the window's rows or more often; the cluster is dropped when a
    binomial test refutes that at `level`. It is skipped without trusted images, and says nothing about a class that has
    fewer than some 20 of them. `both` and `either` are the paper's two comparisons and need no trusted images: the
    smaller cluster's share is at most `share`, the silhouette at least `silhouette` (paper: 0.10 to 0.15).

    Differs from the paper: principal instead of independent components; the rule `trusted`, because the published
    thresholds flag classes of nearly every clean window; no exclusionary retraining, which is a training a class. Like
    the paper's, it assumes that less than half of a class is poison. It cannot see poison that is no cluster of its
    own: where the model has not learned the trigger, or where a few rows in a hundred are poison and a clean class has
    two kinds of images.

    Measured on `compact-cnn` and digits (1,000 rows, 300 trusted images, 2x2 patch at 5 %, the candidate's features):
    0.96 to 1.00 of the poison is dropped in four of five models and none in the fifth, where its rows are no cluster;
    no clean row beside it, none of five clean windows, and none of five windows of which two thirds are turned by 10
    degrees and the trusted images are not. Fashion-MNIST, 3x3 patch, two models: 1.00 and 0.98.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> images, labels = torch.full((120, 1, 4, 4), 0.2), torch.arange(120) % 2
    >>> images += 0.02 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    >>> trusted = Rows(images[60:], labels[60:])
    >>> images, labels = images[:60].clone(), labels[:60]
    >>> images[labels.nonzero()[:12, 0], :, :2] = 1.0  # 12 of the 30 rows of class 1 bear a stripe
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), feature_layer="1", classes=2,
    ...     device=torch.device("cpu"), trusted=trusted,
    ...     generator=torch.Generator().manual_seed(0), window=Rows(images, labels),
    ... )
    >>> result = ActivationClustering(dimensions=2).filter(context)
    >>> (~result.keep).nonzero()[:, 0].tolist()
    [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23]
    >>> result.evidence["classes"]["1"]["share"], result.evidence["classes"]["1"]["trusted_share"]
    (0.4, 0.0)
    """

    calibration = "trusted images"
    threshold_option = Threshold("level", of="classes.*.doubt", flags="below")  # of the rule `trusted`

    dimensions: Annotated[int, Ge(1)] = 10
    rule: Literal["trusted", "both", "either"] = "trusted"
    level: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    share: Annotated[float, Interval(gt=0, le=0.5)] = 0.5
    silhouette: Annotated[float, Interval(ge=-1, le=1)] = 0.15
    smallest: Annotated[int, Ge(4)] = 20
    again: bool = True

    def filter(self, context: Context) -> FilterResult:
        """Return which rows to keep, with each class's share and silhouette as evidence.

        A score is the silhouette of a class's split for the rows of the smaller cluster, 0 for the others.
        """
        if self.rule == "trusted" and not len(context.trusted):
            raise DoesNotApply("activation clustering by `rule: trusted` needs trusted images; `rule: both` does not")
        classes = classes_of(context, self.smallest)
        seed = int(torch.randint(2**31, (1,), generator=context.generator))
        keep, scores = torch.ones(len(context.window or ()), dtype=torch.bool), torch.zeros(len(context.window or ()))
        found: dict[str, Any] = {}
        for rows in classes:
            split = self._split(rows, seed)
            suspicious = self._is_suspicious(split)
            found[str(rows.label)] = {**split.evidence(), "dropped": suspicious}
            smaller = torch.from_numpy(rows.places[split.smaller])
            scores[smaller] = split.silhouette
            keep[smaller] = not suspicious
        return FilterResult(keep, scores, evidence={"classes": found}, again=self.again)

    def passes(self, size: Size) -> int:
        """Return the passes of one look at every row and trusted image."""
        return size.rows + size.trusted

    def _split(self, rows: ClassRows, seed: int) -> _Split:
        features = rows.features
        if alike(features):  # nothing to split
            return _Split(np.zeros(len(rows), dtype=bool), np.zeros(len(rows.trusted), dtype=bool), -1.0)
        reduced = PCA(min(self.dimensions, features.shape[1], len(rows) - 1), svd_solver="full").fit(features)
        points = reduced.transform(features)
        means = KMeans(2, n_init=10, random_state=seed).fit(points)
        cluster = means.labels_.astype(bool)
        swap = cluster.mean() > 0.5
        trusted = (
            means.predict(reduced.transform(rows.trusted)).astype(bool) if len(rows.trusted) else np.zeros(0, bool)
        )
        value = silhouette_score(points, cluster, sample_size=min(_SILHOUETTE_ROWS, len(points)), random_state=seed)
        return _Split(cluster ^ swap, trusted ^ swap, float(value))

    def _is_suspicious(self, split: _Split) -> bool:
        if not split.smaller.any():
            return False
        if self.rule == "trusted":
            return split.share <= self.share and split.doubt < self.level
        verdicts = split.share <= self.share, split.silhouette >= self.silhouette
        return all(verdicts) if self.rule == "both" else any(verdicts)


@dataclass(frozen=True, slots=True)
class _Split:
    """Which rows of a class, and which of its trusted images, are in the smaller cluster."""

    smaller: NDArray[np.bool_]
    trusted: NDArray[np.bool_]
    silhouette: float

    @property
    def share(self) -> float:
        return float(self.smaller.mean())

    @property
    def doubt(self) -> float:
        """How probable so few trusted images in the smaller cluster are, if half of it is clean; 1 without any."""
        return float(binom.cdf(self.trusted.sum(), len(self.trusted), self.share / 2)) if len(self.trusted) else 1.0

    def evidence(self) -> dict[str, Any]:
        return {
            "share": round(self.share, 4),
            "trusted_share": round(float(self.trusted.mean()), 4) if len(self.trusted) else None,
            "doubt": round(self.doubt, 6),
            "silhouette": round(self.silhouette, 4),
        }
