"""The domain classifier: its parts against scikit-learn, its alarm rate, and which kind of drift it names."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.stats import binom, spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from simulator.production.monitors.domain import (
    _RIDGE,
    _predictions,
    _Sums,
    auc,
    class_shares,
    kind_of,
    of_reference_mix,
    same_labels,
    standardised,
    told_apart,
)
from simulator.production.monitors.evidently import Evidently
from simulator.production.monitors.mmd import Mmd
from simulator.world.drift import Brightness


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_mean_rank_is_the_auc(rng):
    scores, sides = rng.random(50), rng.permutation(np.repeat([0.0, 1.0], [30, 20]))
    ranks = (scores.argsort().argsort() + 0.5) / 50
    assert auc(ranks[None], sides[None])[0] == pytest.approx(roc_auc_score(sides, scores), rel=1e-12)


@pytest.mark.parametrize("features", [4, 60])
def test_the_regression_is_scikit_learns_on_the_other_folds(rng, features):
    rows, sides, fold = rng.normal(size=(100, features)), rng.random((2, 100)).round(), np.arange(40, 60)
    others = np.delete(np.arange(100), fold)
    theirs = Ridge(alpha=_RIDGE * 80).fit(rows[others], sides[:, others].T).predict(rows[fold])
    centred = theirs - sides[:, others].mean(1)
    np.testing.assert_allclose(_predictions(rows, sides, fold), centred, atol=1e-9)
    sums = _Sums.of(rows, sides)
    assert sums is not None
    np.testing.assert_allclose(sums.without(rows[fold], sides[:, fold]).scores(rows[fold]), centred, atol=1e-9)


def test_more_features_than_rows_take_the_system_of_the_rows(rng):
    assert _Sums.of(rng.normal(size=(40, 33)), rng.random((2, 40))) is None
    assert _Sums.of(rng.normal(size=(40, 32)), rng.random((2, 40))) is not None


def test_columns_that_never_vary_are_nothing():
    first, second = standardised(np.array([[1.0, 0.1], [3.0, 0.1]]), np.array([[5.0, 0.1], [7.0, 0.1]]))
    np.testing.assert_allclose(first[:, 0], [-3 / 5**0.5, -1 / 5**0.5])
    assert np.abs([first[:, 1], second[:, 1]]).max() < 1e-6


@pytest.mark.parametrize("features", [3, 90])
def test_rows_of_one_distribution_alarm_at_the_level(features):
    alarms = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        found = told_apart(draw.normal(size=(40, features)), draw.normal(size=(60, features)), 0.05, 39, draw)
        assert (found.auc > found.threshold) == (found.p_value <= 0.05)
        alarms += found.p_value <= 0.05
    low, high = binom.interval(0.95, 200, 0.05)
    assert low <= alarms <= high


def test_rows_that_are_all_equal_are_not_told_apart(rng):
    found = told_apart(np.ones((20, 3)), np.ones((30, 3)), 0.05, 19, rng)
    assert (found.auc, found.p_value) == (0.5, 1.0)


def test_the_p_value_counts_the_observed_value(make_view, images, rng):
    assert told_apart(rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + 9, 0.05, 39, rng).p_value == 1 / 40
    white = make_view(images[:40], torch.ones_like(images[40:80]))
    assert Mmd(permutations=39).observe(white).p_value == 1 / 40


def test_class_shares_of_a_classifier_that_is_sure():
    sure = np.eye(3)
    before, after = class_shares(sure[[0, 0, 1, 1, 1]], sure[[0, 1, 1, 2]])
    np.testing.assert_allclose(before, [0.25, 0.5, 0.25], atol=1e-5)
    np.testing.assert_allclose(after, [0.4, 0.6, 0.0], atol=1e-5)


def mixture(rng: np.random.Generator, shares: list[float], rows: int, shift: float = 0.0) -> tuple[np.ndarray, ...]:
    """Draw rows of three Gaussian classes a distance of 2 apart, and the true class probabilities at shares of 1/3."""
    centres = np.array([[0, 0], [2, 0], [0, 2.0]])
    found = centres[rng.choice(3, rows, p=shares)] + rng.normal(size=(rows, 2))
    density = np.exp(-((found[:, None] - centres) ** 2).sum(2) / 2)
    return found + np.array([0, shift]), density / density.sum(1, keepdims=True)


def test_a_thinned_batch_has_the_reference_mix(rng):
    (reference, before), (batch, outputs) = mixture(rng, [1 / 3] * 3, 4000), mixture(rng, [0.7, 0.2, 0.1], 8000)
    kept = batch[of_reference_mix(outputs, before, rng)]
    assert np.abs(batch.mean(0) - reference.mean(0)).max() > 0.2
    # standard error of the difference: about 1.4 / sqrt(2000)
    assert np.abs(kept.mean(0) - reference.mean(0)).max() < 0.12
    assert told_apart(reference, kept, 0.05, 39, rng).p_value > 0.05


def test_equal_mixes_of_labels_have_a_p_value_of_1():
    assert same_labels(np.array([0, 0, 2]), np.array([0, 0, 2])) == pytest.approx(1)
    assert same_labels(np.array([1, 1]), np.array([1, 1, 1])) == 1
    # by hand: counts 30 10 / 10 30, expected 20 each: chi squared 20 with 1 degree of freedom
    assert same_labels(np.repeat([0, 1], [30, 10]), np.repeat([0, 1], [10, 30])) == pytest.approx(7.744e-6, rel=1e-3)


def test_kinds():
    assert kind_of(0.0, None, 0.05) == "unclear"


def test_the_score_grows_with_the_drift_and_the_kind_is_named(make_view, images):
    drawn = images[torch.randperm(20000, generator=torch.Generator().manual_seed(1))[:1100]]
    reference, batch = drawn[:400], drawn[400:]
    amounts = [0.0, 0.03, 0.06, 0.1, 0.2]
    signals = [
        Evidently(resamples=39).observe(make_view(reference, Brightness().change(batch, amount, torch.Generator())))
        for amount in amounts
    ]
    assert spearmanr(amounts, [signal.score for signal in signals]).statistic >= 0.9
    assert not signals[0].alarm
    assert signals[-1].alarm
    assert signals[-1].detail["kind"] == "covariate"
    for signal in signals:
        assert signal.method == "evidently"
        assert signal.alarm == (signal.score > signal.threshold) == (signal.p_value <= 0.05)


def test_one_view_one_signal_and_a_page(make_view, images):
    view = make_view(images[:200], images[200:500])
    before = view.generator.get_state()
    assert Evidently(resamples=39).observe(view) == Evidently(resamples=39).observe(view)
    assert torch.equal(view.generator.get_state(), before)
    assert "rank by the domain classifier" in Evidently(resamples=39).html(view)


def test_a_diverged_champion_gives_a_reason(make_view, model, images):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken[0].bias.fill_(float("nan"))
    signal = Evidently().observe(make_view(images[:20], images[20:60], champion=broken))
    assert (signal.score, signal.alarm) == (None, False)
    assert signal.detail["reason"] == "the champion's features are not finite"


def test_two_images_a_side_are_enough_to_answer(make_view, images):
    signal = Evidently(resamples=19).observe(make_view(images[:2], images[2:4]))
    assert signal.score is not None
    assert 0 <= signal.score <= 1


def test_columns_without_their_method_are_refused():
    with pytest.raises(ValueError, match=r"only with method: columns, got \['entropy'\] .* add method: columns"):
        Evidently(columns=("entropy",))
