"""Neural Cleanse: the search for triggers, the clean reference, and all rules on a made-up model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from defenses.base import Context, DoesNotApply, Rows, Size
from defenses.clean_reference import clean_reference
from defenses.neural_cleanse import NeuralCleanse
from defenses.reversed_triggers import Triggers
from tests.defenses.decisive import decisive_model


def _context(classes: int, channels: int, decisive: int | None) -> Context:
    labels = torch.arange(52) % classes
    images = torch.zeros(52, channels, 8, 8)
    images.view(52, -1)[torch.arange(52), labels] = 1.0
    return Context(
        model=decisive_model(classes, channels, decisive),
        feature_layer="1",
        classes=classes,
        device=torch.device("cpu"),
        trusted=Rows(images, labels),
        generator=torch.Generator().manual_seed(0),
    )


def _inspected(classes: int, channels: int, decisive: int | None, **options: Any) -> Any:
    return NeuralCleanse(**options).inspect(_context(classes, channels, decisive))


@pytest.mark.parametrize(("classes", "channels"), [(10, 1), (26, 3)])
@pytest.mark.parametrize("rule", ["reference", "own-classes", "anomaly-index"])
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
    own = _inspected(10, 1, 3, patience=10**6, rule="own-classes").evidence["passes"]
    assert own == 3 * 8 * 10 * (25 * 4 + 25 * 2 + 50)  # images, classes, starts in each of 100 steps
    assert result.evidence["passes"] - own == own + 52 * (3 * 20 + 1)  # the reference's
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


def test_the_reference_is_trained_anew_on_the_trusted_images() -> None:
    labels = torch.arange(60) % 4  # all dark, or one channel bright: told apart wherever an image is moved
    images = torch.zeros(60, 3, 8, 8)
    images[labels > 0, labels[labels > 0] - 1] = 1.0
    context = replace(_context(4, 3, 3), trusted=Rows(images, labels))
    before = context.model[1].weight.detach().clone()  # type: ignore[index]
    reference, again = (clean_reference(replace(context, generator=torch.Generator().manual_seed(1)), 20) for _ in "12")
    assert torch.equal(context.model[1].weight, before)  # type: ignore[index]
    assert torch.equal(again[1].weight, reference[1].weight)  # type: ignore[index]
    assert float(reference[1].weight.detach()[3, 63]) < 5  # type: ignore[index]  # 30 was planted
    assert torch.equal(reference(images).argmax(1), labels)
