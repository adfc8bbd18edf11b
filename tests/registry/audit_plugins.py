"""A network whose answers can be worked out by hand, and defenses that tell what an audit shows them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from defenses.base import (
    Context,
    Hold,
    Inspector,
    InspectorResult,
    Repair,
    RepairResult,
    Screen,
    ScreenResult,
    State,
)


class Brightness(nn.Module):
    """Class 1 for images brighter than half, class 0 for darker ones: 2 x 64 weights and 2 biases."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(64, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(images.flatten(1))
        return logits


def brightness(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    return Brightness()


def bright_weights(bias: float = 0.5) -> dict[str, Tensor]:
    """Weights of `Brightness` whose classes part where the mean of an image is `bias`."""
    rows = torch.full((64,), 1 / 64)
    return {"classifier.weight": torch.stack([-rows, rows]), "classifier.bias": torch.tensor([bias, -bias])}


@final
class Looks(Inspector):
    """Flags the second model that it sees; tells what it is shown, and asks for what an audit does not grant."""

    versions_back = 1
    remembers = True

    def inspect(self, context: Context) -> InspectorResult:
        seen = [*context.state.values.get("seen", []), context.period]
        earlier = context.history.versions
        told = {
            "seen": seen,
            "subject": context.subject,
            "champion": context.history.champion,
            "earlier": [one.ordinal for one in earlier],
            "served": [list(one.served) for one in earlier],
            "accuracies": [one.trusted_accuracy for one in earlier],
            "outcomes": [[outcome.status for outcome in one.outcomes] for one in earlier],
            "biases": [float(one.weights()["classifier.bias"][0]) for one in earlier if one.load is not None],
            "trusted": len(context.trusted),
        }
        return InspectorResult(len(seen) == 2, 1.0, 2.0, told, state=State({"seen": seen}), requests=(Hold("why not"),))


@final
class Darkens(Repair):
    """Sets the border between the classes to 0.25: two biases of 130 weights change, in one tensor of two."""

    needs_trusted = True

    def repair(self, context: Context) -> RepairResult:
        with torch.no_grad():
            context.model.classifier.bias.copy_(torch.tensor([0.25, -0.25]))
        return RepairResult(context.model, {"border": 0.25})


@final
class Breaks(Repair):
    """Returns finite weights after which the model says nothing."""

    def repair(self, context: Context) -> RepairResult:
        with torch.no_grad():
            context.model.classifier.weight.fill_(3e38)
        return RepairResult(context.model)


@final
class RefusesBright(Screen):
    """Refuses images with a white pixel after one pass each; tells how many trusted images it has, and the champion."""

    versions_back = 1

    def screen(self, context: Context) -> ScreenResult:
        assert context.incoming is not None
        context.logits(context.incoming)
        given = {"given": len(context.trusted), "champion": context.history.champion}
        return ScreenResult(context.incoming.flatten(1).max(1).values == 1, None, given)
