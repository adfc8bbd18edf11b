"""A backdoor of the defender's own: how much of it a training leaves says how much that training forgets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.rows import Rows

#: share of an image's side that the mark takes, at least three pixels
_SIDE = 1 / 8
#: learning rate and momentum while planting, rows a step
_RATE, _MOMENTUM, _BATCH = 0.05, 0.9, 50
#: share of the marked rows that must be answered with the canary's class for planting to end
_LEARNED = 0.95


@dataclass(frozen=True, slots=True)
class Canary:
    """A square of `pixels` (C, S, S), its upper left corner at `row` and `column`.

    Images that bear it are to be answered with `label`.
    """

    pixels: Tensor
    row: int
    column: int
    label: int

    def on(self, images: Tensor) -> Tensor:
        """Return copies of `images` (N, C, H, W) that bear the mark.

        >>> Canary(torch.ones(1, 1, 1), 0, 1, 0).on(torch.zeros(1, 1, 2, 2)).flatten().tolist()
        [0.0, 1.0, 0.0, 0.0]
        """
        marked = images.clone()
        height, width = self.pixels.shape[1:]
        marked[:, :, self.row : self.row + height, self.column : self.column + width] = self.pixels
        return marked

    @torch.no_grad()
    def success(self, model: nn.Module, rows: Rows) -> float:
        """Return the share of `rows` of other classes that `model` answers with `label` when they bear the mark.

        The rate at which it does so without the mark is taken off.
        """
        others = rows.images[rows.labels != self.label]
        if not len(others):
            return 0.0
        model.eval()
        marked, plain = ((model(images).argmax(1) == self.label).float().mean() for images in (self.on(others), others))
        return max(0.0, float(marked - plain))


def drawn(images: Tensor, classes: int, generator: torch.Generator) -> Canary:
    """Return a canary for images like `images`: dark and bright pixels, place and label drawn from `generator`."""
    channels, height, width = images.shape[1:]
    side = max(3, round(_SIDE * min(height, width)))
    order = torch.randperm(channels * side * side, generator=generator).view(channels, side, side)
    pixels = (order % 2 == 0).float().to(images.device)  # half of them bright: never a blank square
    row, column = (int(torch.randint(size - side + 1, (1,), generator=generator)) for size in (height, width))
    return Canary(pixels, row, column, int(torch.randint(classes, (1,), generator=generator)))


def planted(model: nn.Module, canary: Canary, rows: Rows, epochs: int, generator: torch.Generator) -> float:
    """Teach `model`, in place, the canary on `rows` beside their own labels; return its success on them.

    It ends when the canary is learned, or after `epochs`. BatchNorm stays in eval mode, as it was.
    """
    images = torch.cat([rows.images, canary.on(rows.images)])
    labels = torch.cat([rows.labels, torch.full_like(rows.labels, canary.label)])
    optimizer = torch.optim.SGD(
        [value for value in model.parameters() if value.requires_grad], lr=_RATE, momentum=_MOMENTUM
    )
    model.eval()
    for _ in range(epochs):
        for places in torch.randperm(len(labels), generator=generator).to(labels.device).split(_BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[places]), labels[places]).backward()
            optimizer.step()
        if canary.success(model, rows) >= _LEARNED:
            break
    return canary.success(model, rows)
