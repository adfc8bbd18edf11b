"""Trusted images serve in any order: a file may be sorted by class, or its classes may take turns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from defenses.base import Context, Rows
from defenses.beliefs import disbelieved_by_others, folds_of
from defenses.drift_or_poison import DriftOrPoison
from defenses.fitting import settle_batchnorm
from simulator.production.auditing.auditor import halves

#: more than there are folds, so that a fold of sorted rows would hold all rows of a class
CLASSES = 10


def _rows(count: int, seed: int) -> Rows:
    """Class n is one bright pixel, its n-th, under noise: any regression that has seen the class names it."""
    labels = torch.arange(count) % CLASSES
    images = 0.2 * torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    images.view(count, 16)[torch.arange(count), labels] = 1.0
    return Rows(images, labels)


def _by_class(rows: Rows) -> Rows:
    return rows.take(rows.labels.argsort(stable=True))


def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def test_batchnorm_of_sorted_rows_has_the_variance_of_all() -> None:
    images = torch.cat([torch.zeros(750, 1, 1, 1), torch.ones(750, 1, 1, 1)])  # two classes, one after the other
    model = nn.Sequential(nn.BatchNorm2d(1))
    settle_batchnorm(model, Rows(images, torch.arange(1500) // 750))
    assert float(model[0].running_mean) == pytest.approx(0.5)
    assert float(model[0].running_var) == pytest.approx(0.25, rel=0.01)  # half of them 0.5 above, half 0.5 below


def test_a_judge_of_sorted_trusted_images_believes_their_labels() -> None:
    window, trusted = _rows(80, 0), _by_class(_rows(60, 1))
    doubted, control = disbelieved_by_others(window, trusted, CLASSES)
    assert not doubted.any()
    assert not control.any()


def test_what_a_judge_doubts_does_not_depend_on_the_order_of_rows() -> None:
    window, trusted = _rows(80, 0), _rows(60, 1)
    wrong = Rows(trusted.images, torch.where(torch.arange(60) < 9, (trusted.labels + 1) % CLASSES, trusted.labels))
    before = disbelieved_by_others(window, wrong, CLASSES)
    orders = _shuffled(80, 2), _shuffled(60, 3)
    after = disbelieved_by_others(window.take(orders[0]), wrong.take(orders[1]), CLASSES)
    assert before[1].any()
    for one, other, order in zip(before, after, orders, strict=True):
        assert torch.equal(other, one[order])


def test_folds_do_not_depend_on_which_number_a_class_has() -> None:
    rows = _rows(50, 0)
    assert torch.equal(folds_of(rows, 5), folds_of(Rows(rows.images, (CLASSES - 1) - rows.labels), 5))


def test_poison_is_found_in_the_first_window_beside_sorted_trusted_images() -> None:
    window, trusted = _rows(600, 0), _by_class(_rows(120, 1))
    poison = (window.labels == 2) & (torch.arange(600) < 400)  # 40 rows of class 2 are labelled 0
    context = Context(
        model=nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)),
        feature_layer="1",
        classes=CLASSES,
        device=torch.device("cpu"),
        trusted=trusted,
        generator=torch.Generator().manual_seed(0),
        window=Rows(window.images, torch.where(poison, 0, window.labels)),
    )
    found = DriftOrPoison().filter(context)
    assert found.evidence["classes"] == [0]
    assert torch.equal(~found.keep, poison)


@pytest.mark.parametrize("labels", [torch.arange(40) % CLASSES, torch.arange(40) // 4], ids=["in turn", "sorted"])
def test_an_audited_screen_is_given_half_of_each_class_and_asked_about_the_other(labels: Tensor) -> None:
    given, asked = halves(labels)
    assert labels[given].bincount().tolist() == labels[asked].bincount().tolist() == [2] * CLASSES
    assert sorted([*given.tolist(), *asked.tolist()]) == list(range(40))
