"""A model whose every answer can be worked by hand, and what a probe is shown of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.observer.probes.base import ProbeView
from simulator.records import Reading
from simulator.scenario import catalog

CLASSES = 3


class Readable(nn.Module):
    """Class k's logit is pixel (0, k); the target 0 gets `pull` times the corner pixel on top."""

    def __init__(self, pull: float) -> None:
        super().__init__()
        self.pull = nn.Parameter(torch.tensor([pull]))

    def forward(self, images: Tensor) -> Tensor:
        logits = images[:, 0, 0, :CLASSES]
        return torch.cat([logits[:, :1] + self.pull * images[:, 0, 3, 3, None], logits[:, 1:]], 1)


def images_of(labels: Tensor) -> Tensor:
    """Images that `Readable` reads as `labels`, with a margin of 0.5; corner dark."""
    images = torch.zeros(len(labels), 1, 4, 4)
    images[torch.arange(len(labels)), 0, 0, labels] = 0.5
    return images


def stamp(images: Tensor, opacity: float = 1.0) -> Tensor:
    stamped = images.clone()
    stamped[:, 0, 3, 3] = opacity
    return stamped


def view_of(model: nn.Module, **others: Any) -> ProbeView:
    labels = torch.tensor([0, 1, 2, 1, 2, 1])
    test = Batch(images_of(labels), labels, torch.arange(6))
    whole = ProbeView(model.eval(), test, CLASSES, lambda opacity: stamp(test.images, opacity), target=0)
    return replace(whole, **others)


def read(probe: str, view: ProbeView, **options: object) -> dict[str, Reading]:
    return dict(catalog.build("probes", probe, options).measure(view))


def weights(pull: float) -> dict[str, Tensor]:
    return {"pull": torch.tensor([pull])}
