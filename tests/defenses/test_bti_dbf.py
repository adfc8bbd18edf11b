"""BTI-DBF: the mask of benign features, and where the trigger leads on made-up models; a clean one passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from defenses.base import Context, DoesNotApply, Rows, Size
from defenses.bti_dbf import BtiDbf, benign_mask
from defenses.stamping import under_each
from tests.defenses.decisive import decisive_model


def _context(classes: int = 10, channels: int = 1, decisive: int | None = None) -> Context:
    """The model is `decisive_model`; of each image of class n, pixel n is bright."""
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


def test_a_stamp_blends_each_trigger_over_each_image() -> None:
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    triggers = torch.tensor([[0.5, 1.0], [1.0, 0.2]]).view(2, 2, 1, 1)  # opacity, pattern
    torch.testing.assert_close(under_each(images, triggers).flatten(), torch.tensor([0.5, 1.0, 0.2, 0.2]))


def test_the_mask_keeps_what_tells_the_classes_apart() -> None:
    labels = torch.arange(60) % 3
    features = torch.cat([torch.eye(3)[labels], torch.ones(60, 2)], dim=1)  # two more are the same for all
    head = nn.Linear(5, 3)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3, 5) * 4)
        head.bias.zero_()
    mask = benign_mask(head, Rows(features, labels), 600, torch.Generator().manual_seed(0))
    assert mask[:3].min() > 0.9
    assert (head((1 - mask) * features)[:, :3].abs() < 0.5).all()


@pytest.mark.parametrize(("classes", "channels", "planted"), [(10, 1, 3), (10, 1, 7), (26, 3, 3)])
def test_it_names_the_class_that_one_pixel_decides(classes: int, channels: int, planted: int) -> None:
    wide = BtiDbf(norm_bound=5.0)  # one bright pixel of 64 varies little
    result = wide.inspect(_context(classes, channels, planted))
    assert result.flagged
    assert result.evidence["suspect"] == planted
    assert result.class_scores is not None
    assert int(result.class_scores.argmax()) == planted


def test_it_passes_a_model_whose_classes_are_alike() -> None:
    result = BtiDbf(norm_bound=5.0).inspect(_context())
    assert not result.flagged
    assert result.evidence["suspect"] is None


def test_the_same_seed_gives_the_same_result_and_leaves_the_images_alone() -> None:
    context = _context(decisive=3)
    before = context.trusted.images.clone()
    assert BtiDbf(steps=5).inspect(context).evidence == BtiDbf(steps=5).inspect(_context(decisive=3)).evidence
    assert torch.equal(context.trusted.images, before)


def test_passes_are_those_that_were_made() -> None:
    context, seen = _context(decisive=3), [0]

    def count(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen[0] += len(inputs[0]) * (3 if torch.is_grad_enabled() else 1)

    context.model.register_forward_pre_hook(count)
    BtiDbf(steps=7).inspect(context)
    assert seen[0] == BtiDbf(steps=7).passes(Size(classes=10, trusted=52)) == 3 * 7 * 16 * 4 + 52 * 5


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (_context(classes=3), "at least four classes"),
        (replace(_context(), feature_layer="0"), "a linear last layer"),
        (replace(_context(), trusted=Rows(torch.zeros(19, 1, 8, 8), torch.zeros(19).long())), "at least 20 trusted"),
    ],
)
def test_it_does_not_apply(context: Context, words: str) -> None:
    with pytest.raises(DoesNotApply, match=words):
        BtiDbf().inspect(context)


def test_it_passes_a_clean_model(clean: Any) -> None:  # on planted ones it does not work: see its docstring
    assert not BtiDbf().inspect(clean.context()).flagged
