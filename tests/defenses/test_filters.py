"""Filters on a real model with a planted backdoor and on one without, their statistics, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from defenses.activation_clustering import ActivationClustering
from defenses.base import Context, DoesNotApply, Filter, Rows
from defenses.loss_isolation import LossIsolation
from defenses.robust_covariance import robust_rows, whitening
from defenses.row_losses import started_anew
from defenses.scan import Scan, excess, within_covariance
from defenses.spectral_signatures import SpectralSignatures
from defenses.spectre import Spectre, que_scores
from defenses.strip_filter import StripFilter

#: filter, least recall of the poison, most clean rows dropped beside it, most rows dropped of a clean window
PURPOSE = (
    (ActivationClustering(), 0.9, 0.02, 0.01),
    (SpectralSignatures(), 0.1, 0.17, 0.16),
    (SpectralSignatures(false_positive_rate=0.02), 0.8, 0.08, 0.08),
    (Scan(), 0.9, 0.02, 0.01),
    (Spectre(rate=0.05), 0.9, 0.06, 0.08),
    (StripFilter(), 0.7, 0.06, 0.06),
)
IDS = [f"{type(one).__name__}-{place}" for place, (one, *_) in enumerate(PURPOSE)]


@pytest.mark.parametrize(("method", "recall", "beside", "clean_dropped"), PURPOSE, ids=IDS)
def test_filters_find_poison_and_leave_clean_rows(
    poisoned: Any, clean: Any, method: Filter, recall: float, beside: float, clean_dropped: float
) -> None:
    dropped = ~method.filter(poisoned.context()).keep
    assert dropped[poisoned.poison].float().mean() >= recall
    assert better_than_by_lot(dropped, poisoned.poison)
    assert dropped[~poisoned.poison].float().mean() <= beside
    assert (~method.filter(clean.context()).keep).float().mean() <= clean_dropped


def better_than_by_lot(dropped: Tensor, poison: Tensor) -> bool:
    """Whether so much of the poison is dropped as one filter in 30,000 would that drops as many rows by lot."""
    share = float(dropped.float().mean())
    luck = 4 * (share * (1 - share) / int(poison.sum())) ** 0.5
    return float(dropped[poison].float().mean()) > share + luck


def test_a_filter_that_drops_rows_by_lot_does_not_pass() -> None:
    poison, generator = torch.arange(3000) < 150, torch.Generator().manual_seed(0)
    draws = (torch.rand(3000, generator=generator) < 0.15 for _ in range(200))
    assert not any(better_than_by_lot(dropped, poison) for dropped in draws)
    assert better_than_by_lot(poison, poison)


EVERY = (
    ActivationClustering(),
    SpectralSignatures(),
    Scan(smallest=4),
    Spectre(),
    StripFilter(),
    LossIsolation(epochs=1),
)


@pytest.mark.parametrize("method", EVERY, ids=lambda method: type(method).__name__)
def test_the_order_of_the_rows_does_not_matter(method: Filter) -> None:
    context = _small(rows=120)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(3))
    mixed = _small(rows=120, order=order)
    first, second = method.filter(context), method.filter(mixed)
    assert torch.equal(second.keep, first.keep[order])
    assert first.scores is not None and second.scores is not None  # noqa: PT018
    torch.testing.assert_close(second.scores, first.scores[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", EVERY, ids=lambda method: type(method).__name__)
def test_rows_that_are_all_alike_are_no_error(method: Filter) -> None:
    context = _small(rows=80)
    assert context.window is not None
    same = Rows(context.window.images[:1].expand(80, -1, -1, -1).clone(), context.window.labels)
    context = replace(context, window=same)
    if isinstance(method, Scan):
        with pytest.raises(DoesNotApply, match="features that differ"):
            method.filter(context)
    else:
        assert len(method.filter(context).keep) == 80


@pytest.mark.parametrize(
    ("method", "dropped"),
    [(LossIsolation(epochs=1, share=0.1), 8), (LossIsolation(epochs=1, false_positive_rate=0.1), 0)],
    ids=["share", "quantile of the trusted images"],
)
def test_no_more_rows_than_stated_are_dropped_where_all_are_learned_alike(method: Filter, dropped: int) -> None:
    """Of rows that are all the same none is learned better than another, nor than the trusted images."""
    alike = Rows(torch.zeros(80, 3, 4, 4), torch.zeros(80, dtype=torch.long))
    context = replace(_small(rows=80), window=alike, trusted=alike)
    assert int((~method.filter(context).keep).sum()) == dropped


@pytest.mark.parametrize(
    ("method", "trusted", "words"),
    [
        (ActivationClustering(), 0, "needs trusted images; `rule: both` does not"),
        (Scan(), 5, "needs at least 6 trusted images, got 5"),
        (StripFilter(), 35, "needs 36 trusted images or more, got 35"),
        (SpectralSignatures(false_positive_rate=0.1), 0, "where `false_positive_rate` is given"),
        (LossIsolation(false_positive_rate=0.1), 0, "where `false_positive_rate` is given"),
        (Spectre(smallest=50), 10, "a class with at least 50 rows in the window"),
    ],
)
def test_what_a_filter_cannot_work_on_is_skipped(method: Filter, trusted: int, words: str) -> None:
    with pytest.raises(DoesNotApply, match=words):
        method.filter(_small(rows=80, trusted=trusted))


def test_clustering_without_trusted_images_follows_the_paper() -> None:
    context = _small(rows=80, trusted=0, poison=8)
    assert not ActivationClustering(rule="both", share=0.5, silhouette=0.5).filter(context).keep[:8].any()


def test_clustering_drops_no_group_that_trusted_images_share() -> None:
    """Every class has two kinds of images, which the paper's rules take for poison."""
    window, trusted = _rows(80, seed=1), _rows(80, seed=2)
    for rows in (window, trusted):
        rows.images[::5] += 4.0
    context = Context(_model(), "1", 4, torch.device("cpu"), trusted, torch.Generator().manual_seed(0), window=window)
    assert ActivationClustering().filter(context).keep.all()
    assert not ActivationClustering(rule="both").filter(context).keep.all()


def test_covariance_within_groups_is_that_of_a_known_mixture() -> None:
    """Many groups far apart: the covariance of what is added to their means, with n - 1 degrees of freedom a group."""
    rng = np.random.default_rng(0)
    true = np.array([[2.0, 0.6], [0.6, 1.0]])
    groups = [rng.multivariate_normal(10 * rng.normal(size=2), true, size=200) for _ in range(30)]
    np.testing.assert_allclose(within_covariance(groups), true, atol=0.1)


def test_excess_of_equal_values_is_zero() -> None:
    np.testing.assert_array_equal(excess(np.full(5, 3.0)), np.zeros(5))


def test_que_without_preference_is_the_mean_square_of_the_directions() -> None:
    rows = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(que_scores(rows, 0.0), [4.5, 4.5, 0.5, 0.5])


def test_que_with_a_strong_preference_looks_at_the_widest_direction() -> None:
    rows = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(que_scores(rows, 200.0), [9.0, 9.0, 0.0, 0.0], atol=1e-9)


def test_whitened_rows_have_unit_covariance() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3)) @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 3.0]])
    white = whitening(rows, np.ones(50, dtype=bool))
    np.testing.assert_allclose(np.cov(white.T, ddof=0), np.eye(3), atol=1e-9)


def test_the_robust_estimate_leaves_out_no_more_rows_than_it_may() -> None:
    rows = np.random.default_rng(1).standard_t(2, size=(400, 3))  # heavy tails: there is always one more to leave out
    assert (~robust_rows(rows, 40)).sum() == 40


def test_a_network_that_is_started_anew_differs_and_the_draw_decides() -> None:
    model = _model()
    one, two, other = (started_anew(model, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[1].weight, two[1].weight)  # type: ignore[index]
    assert not torch.equal(one[1].weight, other[1].weight)  # type: ignore[index]
    assert not torch.equal(one[1].weight, model[1].weight)


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).eval()


def _rows(count: int, seed: int) -> Rows:
    images = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return Rows(images, torch.arange(count) % 4)


def _small(rows: int, trusted: int = 60, order: torch.Tensor | None = None, poison: int = 0) -> Context:
    """Features are the pixels; the first `poison` rows have label 0 and bear a bright corner."""
    window = _rows(rows, seed=1)
    window.images[:poison, :, :2] += 3.0
    window.labels[:poison] = 0
    if order is not None:
        window = window.take(order)
    generator = torch.Generator().manual_seed(0)
    return Context(_model(), "1", 4, torch.device("cpu"), _rows(trusted, seed=2), generator, window=window)
