"""The filter on four points of a plane, whose distances are worked out by hand."""

import pytest
import torch
from near_another_class import NearAnotherClass
from torch import nn

from defenses.base import Context, DoesNotApply, Rows


def context(window: list[list[float]], labels: list[int], trusted: int = 2) -> Context:
    """Images of two pixels are their own features; the trusted mean of class 0 is (0, 0), that of class 1 (1, 0)."""
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0]])[:trusted].view(-1, 1, 1, 2)
    return Context(
        model=nn.Sequential(nn.Flatten(), nn.Linear(2, 2)),
        feature_layer="1",
        classes=2,
        device=torch.device("cpu"),
        trusted=Rows(means, torch.arange(trusted)),
        generator=torch.Generator(),
        window=Rows(torch.tensor(window).view(-1, 1, 1, 2), torch.tensor(labels)),
    )


def test_rows_near_another_class_are_dropped() -> None:
    rows = [[0.2, 0.0], [0.8, 0.0], [0.8, 0.0], [0.5, 0.0]]
    result = NearAnotherClass().filter(context(rows, [0, 1, 0, 0]))
    assert result.keep.tolist() == [True, True, False, True]
    assert result.scores is not None
    torch.testing.assert_close(result.scores, torch.tensor([0.25, 0.25, 4.0, 1.0]))


def test_a_class_without_trusted_images_is_no_failure() -> None:
    with pytest.raises(DoesNotApply, match="no trusted image"):
        NearAnotherClass().filter(context([[0.0, 0.0]], [0], trusted=1))
