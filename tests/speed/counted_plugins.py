"""Plug-ins that count what they are given, named by the tests of counts as a user names his own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from simulator.world.drift import Drift


@dataclass(slots=True)
class Counts:
    """What was done since it was last emptied. `stage`, written by the test, says what the loop is at."""

    stage: str = ""
    #: stage, whether it was training, images of the pass
    passes: list[tuple[str, bool, int]] = field(default_factory=list)
    #: stage of each copy made of a network
    copies: list[str] = field(default_factory=list)
    #: stage and images of each change by a drift
    drifted: list[tuple[str, int]] = field(default_factory=list)


COUNTS = Counts()


@final
class Network(nn.Module):
    """A small network that notes its passes and the copies made of it."""

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], 16), nn.ReLU())
        self.classifier = nn.Linear(16, classes)

    def forward(self, images: Tensor) -> Tensor:
        COUNTS.passes.append((COUNTS.stage, self.training, len(images)))
        logits: Tensor = self.classifier(self.features(images))
        return logits

    def __reduce_ex__(self, protocol: Any) -> Any:
        COUNTS.copies.append(COUNTS.stage)  # a deep copy begins here
        return super().__reduce_ex__(protocol)


def network(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Return the network that counts."""
    return Network(channels, size, classes)


@final
class Darker(Drift):
    """A little darker every period, from period 0 on."""

    def __init__(self) -> None:
        super().__init__(step=0.01, at=0)

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        COUNTS.drifted.append((COUNTS.stage, len(images)))
        return images - magnitude
