"""Agreement with an independent implementation: adversarial-robustness-toolbox 1.20.1, on the same features.

The numbers were computed with that package's own functions, which is no dependency of ours. Where the two differ on
purpose, a test says how.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from defenses.activation_clustering import ActivationClustering
from defenses.base import Context, Rows
from defenses.spectral_signatures import highest, spectral_scores

#: `spectral_signature_scores(features - features.mean(axis=0))` of the first class below
SPECTRAL = (
    "5.51962 4.23695 5.78962 5.08603 4.07296 6.20555 5.24725 5.16825 2.52418 1.59844 1.38031 1.22996 0.69296 1.03813 "
    "1.1231 2.57552 1.52493 1.6541 1.526 0.4239 0.1036 1.80538 0.22355 1.93257 1.52898 0.95195 0.16433 1.48818 2.24847 "
    "0.31877 0.80296 1.88193 1.81113 1.92332 1.97489 1.29863 2.29784 0.37798 1.82655 0.05663"
)


def _classes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Forty rows of four features each; the first eight of the first class are shifted."""
    rng = np.random.default_rng(14)
    first, second = rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
    first[:8, 0] += 6.0
    return first, second


def test_spectral_scores_are_the_same_on_centred_features() -> None:
    """Theirs are the absolute projections, ours the signed ones, whose squares rank alike."""
    own, _ = spectral_scores(_classes()[0], np.empty((0, 4)))
    np.testing.assert_allclose(np.abs(own), [float(value) for value in SPECTRAL.split()], atol=1e-4)


def test_spectral_scores_do_not_depend_on_where_the_origin_is() -> None:
    """Theirs do, because the features are not centred when they are projected.

    With features moved by -5 along the first axis, their eight highest scores are those of the rows 8, 15, 23, 28, 31,
    33, 34 and 36: none of the shifted ones.
    """
    moved = _classes()[0] - np.array([5.0, 0.0, 0.0, 0.0])
    own, _ = spectral_scores(moved, np.empty((0, 4)))
    assert np.flatnonzero(highest(np.square(own), 8)).tolist() == list(range(8))


def test_clustering_by_the_papers_two_rules_is_the_same() -> None:
    """Theirs, with `reduce="PCA"`, two dimensions, and `analyze_by_silhouette_score` at its thresholds of 0.35 and 0.1.

    The first class: `sizes_clusters [32 8]`, `avg_silhouette_score 0.7379`, suspicious. The second, which has no
    clusters, is not suspicious; its split is another one, `[20 20]`, since theirs starts 2-means once and ours ten
    times. Its default, FastICA, which scales all components alike, is left out on purpose.
    """
    first, second = _classes()
    method = ActivationClustering(dimensions=2, rule="both", share=0.35, silhouette=0.1)
    result = method.filter(_context(np.concatenate([first, second])))
    found: dict[str, Any] = result.evidence["classes"]
    assert found["0"]["share"] == 8 / 40
    assert found["0"]["silhouette"] == 0.7379
    assert [found[label]["dropped"] for label in "01"] == [True, False]
    assert (~result.keep).nonzero()[:, 0].tolist() == list(range(8))


def _context(features: NDArray[np.float64]) -> Context:
    """A context in which the features are the pixels; the first half of the rows is of class 0, the rest of class 1."""
    images = torch.from_numpy(features).float().view(-1, 1, 2, 2)
    labels = torch.arange(len(images)) * 2 // len(images)
    nothing = Rows(images[:0], labels[:0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    generator = torch.Generator().manual_seed(0)
    return Context(model, "1", 2, torch.device("cpu"), nothing, generator, window=Rows(images, labels))
