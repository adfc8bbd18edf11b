"""The inspector on a model of one weight, whose moves are worked out by hand."""

import pytest
import torch
from stride_watch import StrideWatch
from torch import nn

from defenses.base import Context, DoesNotApply, History, Hold, PastVersion, Rows, State


def model_at(weight: float) -> nn.Module:
    """A model whose only parameter is `weight`."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    return model


def context(to: float, moves: list[float], subject: str = "candidate", versions: int = 1) -> Context:
    """A candidate at `to`, trained from a version at 2."""
    before = PastVersion(0, None, 0, (0,), None, (), lambda: model_at(2.0))
    return Context(
        model=model_at(to),
        feature_layer="",
        classes=1,
        device=torch.device("cpu"),
        trusted=Rows(torch.zeros(0, 1, 1, 1), torch.zeros(0, dtype=torch.int64)),
        generator=torch.Generator(),
        subject=subject,
        history=History(versions=(before,) * versions, champion=0 if versions else None),
        state=State({"moves": moves}),
    )


def test_a_long_move_is_flagged_held_and_forgotten() -> None:
    """From 2 to 4 is a move of 1; the median of the others is 0.2, three times that 0.6."""
    result = StrideWatch().inspect(context(4.0, [0.1, 0.2, 0.3]))
    assert (result.flagged, result.score, result.threshold) == (True, 1.0, pytest.approx(0.6))
    assert result.requests == (Hold("it moved 1, usual are at most 0.6"),)
    assert result.state == State({"moves": [0.1, 0.2, 0.3]})


def test_a_usual_move_is_remembered() -> None:
    result = StrideWatch().inspect(context(3.0, [0.5, 0.5, 0.5]))
    assert (result.flagged, result.score, result.threshold, result.requests) == (False, 0.5, 1.5, ())
    assert result.state == State({"moves": [0.5, 0.5, 0.5, 0.5]})


def test_it_does_not_judge_before_it_knows_enough_moves() -> None:
    result = StrideWatch().inspect(context(4.0, [0.1]))
    assert (result.flagged, result.state) == (False, State({"moves": [0.1, 1.0]}))


def test_it_says_where_it_does_not_apply() -> None:
    for one in (context(4.0, [], "champion"), context(4.0, [], versions=0)):
        with pytest.raises(DoesNotApply, match="no candidate, or the version before it is not"):
            StrideWatch().inspect(one)
