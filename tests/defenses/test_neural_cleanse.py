"""Neural Cleanse: the outlier test on hand-worked norms, the search for triggers, and both rules on a made-up model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import t as student
from torch import nn

from defenses.base import Context, DoesNotApply, Rows, Size
from defenses.neural_cleanse import NeuralCleanse, outlier_probability
from defenses.reversed_triggers import Triggers


def test_the_outlier_test_is_that_of_grubbs() -> None:
    # logarithms 0 and 3, 4, 5: mean 4, deviation 1; t = -4 / sqrt(1 + 1/3) with 2 degrees of freedom, of 4 classes
    found = outlier_probability(np.exp([4.0, 0.0, 3.0, 5.0]))
    assert found == pytest.approx(4 * student.cdf(-4 / np.sqrt(4 / 3), 2))


def test_equal_norms_have_no_outlier() -> None:
    assert outlier_probability(np.full(10, 7.0)) == 1.0


@pytest.mark.parametrize("classes", [6, 10, 26])
def test_it_flags_log_normal_norms_at_most_as_often_as_stated(classes: int) -> None:
    norms = np.exp(np.random.default_rng(0).normal(3.0, 0.4, (4000, classes)))
    flagged = np.mean([outlier_probability(row) <= 0.05 for row in norms])
    assert 0.035 < flagged < 0.06  # 0.05 stated, three standard errors are 0.010


def test_the_verdict_does_not_depend_on_the_order_of_classes() -> None:
    norms = np.exp(np.random.default_rng(1).normal(3.0, 0.4, 10))
    assert outlier_probability(norms) == pytest.approx(outlier_probability(norms[::-1]), rel=1e-9)


def _model(classes: int, channels: int, decisive: int | None) -> nn.Module:
    """Class n is the brightness of pixel n of the first channel; one more pixel decides for class `decisive` alone."""
    head = nn.Linear(channels * 64, classes)
    with torch.no_grad():
        head.bias.zero_()
        head.weight.copy_(torch.eye(classes, channels * 64))
        if decisive is not None:
            head.weight[decisive, 63] = 30.0
    return nn.Sequential(nn.Flatten(), head)


def _inspected(classes: int, channels: int, decisive: int | None, **options: Any) -> Any:
    labels = torch.arange(52) % classes
    images = torch.zeros(52, channels, 8, 8)
    images.view(52, -1)[torch.arange(52), labels] = 1.0
    context = Context(
        model=_model(classes, channels, decisive),
        feature_layer="1",
        classes=classes,
        device=torch.device("cpu"),
        trusted=Rows(images, labels),
        generator=torch.Generator().manual_seed(0),
    )
    return NeuralCleanse(**options).inspect(context)


@pytest.mark.parametrize(("classes", "channels"), [(10, 1), (26, 3)])
@pytest.mark.parametrize("rule", ["outlier-test", "anomaly-index"])
def test_it_finds_the_class_that_one_pixel_decides(classes: int, channels: int, rule: str) -> None:
    result = _inspected(classes, channels, 3, rule=rule)
    assert result.flagged
    assert result.evidence["suspect"] == 3
    assert int(result.class_scores.argmax()) == 3
    assert result.triggers.shape == (classes, channels, 8, 8)
    found = result.triggers[3, 0]
    assert bool((found[~found.isnan()] >= 0).all()) and bool((found[~found.isnan()] <= 1).all())  # noqa: PT018
    assert int(found.argmax()) == 63


def test_it_passes_a_model_whose_classes_are_alike() -> None:
    result = _inspected(10, 1, None)
    assert not result.flagged
    assert result.evidence["suspect"] is None


def test_passes_are_those_that_were_made_and_at_most_those_foretold() -> None:
    result = _inspected(10, 1, 3, patience=10**6)
    assert result.evidence["passes"] == NeuralCleanse().passes(Size(classes=10, trusted=52))
    assert _inspected(10, 1, 3, patience=1).evidence["passes"] < result.evidence["passes"]


def test_the_better_starts_of_each_class_go_on() -> None:
    triggers = Triggers(torch.tensor([0, 1, 0, 1]), torch.Size((1, 2, 2)), 0.1, torch.Generator().manual_seed(0))
    triggers._norms = torch.tensor([3.0, 4.0, 2.0, 4.0])  # class 1: neither succeeded, so the loss decides
    triggers._losses = torch.tensor([0.0, 0.2, 9.0, 0.1])
    triggers.keep_best(1)
    assert triggers._going.tolist() == [2, 3]
    assert triggers.found(2).norms.tolist() == [2.0, 4.0]
    assert triggers.found(2).images.isnan().all()


def test_a_class_is_done_when_its_mask_no_longer_shrinks() -> None:
    triggers = Triggers(torch.tensor([0, 1]), torch.Size((1, 2, 2)), 0.1, torch.Generator().manual_seed(0))
    triggers._steps, triggers._since = 10, torch.tensor([2, 8])
    triggers._norms = torch.tensor([1.0, 1.0])
    triggers.stop_settled(5)
    assert triggers._going.tolist() == [1]


def test_a_class_that_nothing_reaches_has_no_trigger_and_the_whole_area() -> None:
    result = _inspected(10, 1, 3, steps=1)
    assert result.triggers.isnan().all()
    assert result.evidence["mask_norms"] == [64.0] * 10
    assert not result.flagged


def test_few_classes_say_nothing() -> None:
    with pytest.raises(DoesNotApply, match="at least four classes"):
        _inspected(3, 1, None)
