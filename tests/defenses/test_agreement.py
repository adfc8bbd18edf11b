"""Agreement with an independent implementation, on the same features and images.

The numbers were computed with the functions of adversarial-robustness-toolbox 1.20.1, and where a test says so with
those of SCLBD/BackdoorBench f02e353; neither is a dependency of ours. Where the two differ on purpose, a test says how.
Repairs: `test_agreement_repairs.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import nn

from defenses.activation_clustering import ActivationClustering
from defenses.base import Context, Rows
from defenses.by_class import ClassRows
from defenses.neural_cleanse import anomaly_indices
from defenses.row_losses import turned_below
from defenses.scan import two_groups, within_covariance
from defenses.spectral_signatures import highest, spectral_scores
from defenses.spectre import que_scores
from defenses.strip import entropy_under

#: `spectral_signature_scores(features - features.mean(axis=0))` of the first class below
SPECTRAL = (
    "5.51962 4.23695 5.78962 5.08603 4.07296 6.20555 5.24725 5.16825 2.52418 1.59844 1.38031 1.22996 0.69296 1.03813 "
    "1.1231 2.57552 1.52493 1.6541 1.526 0.4239 0.1036 1.80538 0.22355 1.93257 1.52898 0.95195 0.16433 1.48818 2.24847 "
    "0.31877 0.80296 1.88193 1.81113 1.92332 1.97489 1.29863 2.29784 0.37798 1.82655 0.05663"
)

#: the entropies, in bits, to which `STRIPMixin.mitigate` fits its normal distribution, with the entropy taken over the
#: classes of a prediction (`axis=1`), and the threshold that follows at a rate of 0.05
STRIP = "0.23099 0.25442 0.17403 0.29927 0.42877 0.25448 0.34041 0.19347 0.82687 0.60206 0.35308 0.5335"
STRIP_THRESHOLD = 0.06865
#: `STRIP.check` of BackdoorBench, in nats, with `strip_alpha=0.5`
SUPERIMPOSED = "0.32623 0.3572 0.25724 0.42127 0.5376 0.36771 0.4609 0.29881 0.84242 0.71902 0.48501 0.65084"
#: `gb_model["Se"]` of BackdoorBench's `SCAn.build_global_model`, on the clean rows below
WITHIN = (
    (1.00030782, 0.02239005, 0.07456444),
    (0.02239005, 0.97906561, -0.03348432),
    (0.07456444, -0.03348432, 0.76261669),
)

#: scores of the first twelve rows below in BackdoorBench's `rcov_quantum_filter`, with the exponential of a matrix
QUE = "15.2917 4.532 16.3273 15.1336 27.3776 6.3212 0.9639 0.9846 3.7004 1.287 0.1129 1.2621"


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


def test_entropies_under_other_images_are_the_same() -> None:
    """Theirs takes the mean of two images; ours adds them, here under a network whose inputs were doubled for theirs.

    As shipped, theirs takes the entropy over the overlays (`axis=0`), once for each class: 1.467 to 1.473 for these
    images, whatever is predicted for them. Ours is the paper's, over the classes, and so are these numbers.
    """
    context, images = _blended()
    bits = entropy_under(context, images, images[:4], 1.0).numpy() / np.log(2)
    np.testing.assert_allclose(bits, [float(value) for value in STRIP.split()], atol=1e-5)


def test_the_threshold_of_a_fitted_normal_distribution_is_not_ours() -> None:
    """Theirs lies below the least of its own twelve entropies, and refuses less than it says; ours is one of them."""
    context, images = _blended()
    bits = entropy_under(context, images, images[:4], 1.0).numpy() / np.log(2)
    np.testing.assert_allclose(norm.ppf(0.05, bits.mean(), bits.std()), STRIP_THRESHOLD, atol=1e-5)
    assert bits.min() > STRIP_THRESHOLD


def test_entropies_of_superimposed_images_are_the_same() -> None:
    """BackdoorBench adds half of an overlay, as ours does at that opacity; that it does not clip changes nothing here.

    Its threshold is a quantile of the entropies, as that of `strip-filter` is, but of images among the overlays.
    """
    context, images = _blended()
    own = entropy_under(context, images, images[:4], 0.5)
    np.testing.assert_allclose(own.numpy(), [float(value) for value in SUPERIMPOSED.split()], atol=1e-5)


def test_outliers_among_mask_norms_are_the_same() -> None:
    """`outlier_detection` flags class 3 of the first masks, of an index above 2, and none of the second.

    The masks that it searches are not compared. After five steps of success in a row its loop sets the weight of the
    norm back in every further one, so that the weight never grows, where the paper's grows. In the network of
    `NeuralCleanse`'s example, in which one pixel of sixteen forces class 3, a hundred of its epochs leave masks of 4.0
    to 5.3 pixels for all five classes, that of class 3 the largest.
    """
    first = anomaly_indices(np.array([4.0, 5.0, 5.5, 0.9, 6.0, 4.5, 5.2, 7.0, 4.8, 14.0]))
    assert np.flatnonzero(first > 2).tolist() == [3]
    second = anomaly_indices(np.array([4.0, 5.0, 5.5, 2.9, 6.0, 4.5]))
    assert not (second > 2).any()


def test_the_covariance_within_classes_is_the_same() -> None:
    """BackdoorBench's SCAn divides by the number of rows less one, ours by that number."""
    np.testing.assert_allclose(within_covariance(_mixture()[1]), np.array(WITHIN) * 179 / 180, rtol=1e-6)


def test_two_groups_against_one_are_the_same_about_the_mean_of_the_class() -> None:
    """BackdoorBench's `calc_test` of the third class less its mean: 5.858967, of 12 rows against 48.

    Of the class as it is, it gives 44.1, and 242.3 of a clean one. Under one group it expects the mean at
    Se (N Su + Se)^-1 N times that of the rows, where Su is missing: close to the middle of all classes. What it
    measures then is how far a class lies from there. The authors' code (TDteach/Demon-in-the-Variant 2da3942) does so
    too; ours expects the mean at that of the rows, which maximises the likelihood.
    """
    values, vectors = np.linalg.eigh(np.array(WITHIN))
    white = [rows @ (vectors / np.sqrt(values)) for rows in _mixture()[0]]
    found = [two_groups(ClassRows(0, np.arange(60), rows, np.empty((0, 3))), 0) for rows in white]
    assert np.flatnonzero(found[2].suspicious).tolist() == list(range(12))
    np.testing.assert_allclose(found[2].statistic, 5.858967, rtol=1e-5)
    assert max(one.statistic for place, one in enumerate(found) if place != 2) < 1.1


def test_the_statistic_of_two_groups_does_not_grow_with_the_class() -> None:
    """Theirs is divided by the rows of the class, too: twice the same rows are no more suspicious than once."""
    rows = _mixture()[0][2]
    once, twice = (
        two_groups(ClassRows(0, np.arange(len(some)), some, np.empty((0, 3))), 0).statistic
        for some in (rows, np.concatenate([rows, rows]))
    )
    np.testing.assert_allclose(twice, once)


def test_que_scores_are_the_same_with_the_exponential_of_a_matrix() -> None:
    """Theirs takes numpy's `exp` of each element, where the paper's Q is the exponential of a matrix.

    With `scipy.linalg.expm` in its place the numbers are these, without 15.7, 4.9, 15.8 and so on; the same six rows
    are the highest. Theirs divides covariances by the number of rows less one, and whitens about the mean of all rows,
    ours about that of those that are kept.
    """
    rng = np.random.default_rng(19)
    rows = rng.normal(size=(60, 3)) * np.array([3.0, 2.0, 1.0])
    rows[:6] += np.array([0.0, 3.0, 4.0])
    rows -= rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(rows[6:].T))
    scores = que_scores(rows @ (vectors / np.sqrt(values)) * np.sqrt(60 / 59), 4.0) * 59 / 60
    np.testing.assert_allclose(scores[:12], [float(value) for value in QUE.split()], atol=1e-4)
    assert np.flatnonzero(highest(scores, 6)).tolist() == [0, 2, 3, 4, 5, 28]


def test_a_floor_under_the_loss_of_each_row_is_not_that_of_a_batch() -> None:
    """The losses are 0.0949, 0.5514, 0.3064 and 1.0986; `LGALoss(0.5)` of BackdoorBench's ABL gives 0.51283 for all.

    It and the authors' code turn the sign of a batch's mean loss. Ours turns that of each row, as the paper's formula
    does: (-0.0949 + 0.5514 - 0.3064 + 1.0986) / 4. For a batch of one row they agree: -0.09492 and 1.09861.
    """
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 2.0], [0.0, 0.0, 0.0]])
    labels = torch.tensor([0, 1, 2, 1])
    np.testing.assert_allclose(float(turned_below(0.5, logits, labels)), 0.31219, atol=1e-5)
    for place, theirs in ((0, -0.09492), (3, 1.09861)):
        alone = turned_below(0.5, logits[[place]], labels[[place]])
        np.testing.assert_allclose(float(alone), theirs, atol=1e-5)


def _blended() -> tuple[Context, torch.Tensor]:
    """Twelve images no brighter than a half, the first four of which are the overlays, and a linear network."""
    rng = np.random.default_rng(16)
    images, weights = rng.random((12, 1, 4, 4)) * 0.5, rng.normal(size=(3, 16))
    head = nn.Linear(16, 3, bias=False)
    head.weight.data.copy_(torch.from_numpy(weights))
    nothing = Rows(torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.long))
    model = nn.Sequential(nn.Flatten(), head).eval()
    context = Context(model, "1", 3, torch.device("cpu"), nothing, torch.Generator())
    return context, torch.from_numpy(images).float()


def _mixture() -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Six classes of three features: 60 rows each, twelve of the third class shifted, and 30 clean ones each."""
    rng = np.random.default_rng(14)
    means = rng.normal(size=(6, 3)) * 5
    rows = [rng.normal(size=(60, 3)) + mean for mean in means]
    rows[2][:12] += np.array([6.0, 0.0, 0.0])
    return rows, [rng.normal(size=(30, 3)) + mean for mean in means]


def _context(features: NDArray[np.float64]) -> Context:
    """A context in which the features are the pixels; the first half of the rows is of class 0, the rest of class 1."""
    images = torch.from_numpy(features).float().view(-1, 1, 2, 2)
    labels = torch.arange(len(images)) * 2 // len(images)
    nothing = Rows(images[:0], labels[:0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    generator = torch.Generator().manual_seed(0)
    return Context(model, "1", 2, torch.device("cpu"), nothing, generator, window=Rows(images, labels))
