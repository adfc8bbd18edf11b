"""A small square at a fixed position: BadNets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from simulator.scenario.bounds import Count, Natural, Share
from simulator.seeds import generator as seeded
from simulator.world.attacks.poisoning import DirtyLabel

Corner = Literal["bottom-right", "bottom-left", "top-right", "top-left"]
Pattern = Literal["white", "checkerboard", "noise"]


@final
@dataclass(eq=False, kw_only=True)
class Patch(DirtyLabel):
    """BadNets: a square of `size` x `size` pixels, the label changed to `target`.

    `place` is a corner, `margin` pixels off both edges, or the [row, column] of the square's upper left pixel (margin
    then unused). `pattern` is `white` (every pixel at `value`), `checkerboard` (the upper left at `value`, then 0 in
    turn) or `noise` (half of the pixels, rounded up, at `value`, the rest at 0, arranged by `pattern_seed`). `value`
    is a brightness in [0, 1], the same in every channel. Opacity mixes the square with the image under it. Images that
    the square does not fit into are refused (`ValueError`).

    Gu, Dolan-Gavitt and Garg, "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain", 2017.
    Deviation: rows of the target class are never poisoned.
    Published figures to compare (BackdoorBench, CIFAR-10, PreAct-ResNet18): attack success 0.950, 0.887 and 0.747 at
    rates 0.1, 0.05 and 0.01, clean accuracy 0.913, 0.926 and 0.931.

    >>> Patch(size=2, pattern="checkerboard").stamp(torch.full((1, 1, 4, 4), 0.5)).squeeze()
    tensor([[0.5000, 0.5000, 0.5000, 0.5000],
            [0.5000, 0.5000, 0.5000, 0.5000],
            [0.5000, 0.5000, 1.0000, 0.0000],
            [0.5000, 0.5000, 0.0000, 1.0000]])
    >>> labels = torch.tensor([1, 2, 0, 0])
    >>> found = Patch(target=0).poison(torch.zeros(4, 1, 8, 8), labels, 0.5, torch.Generator())
    >>> found.labels.tolist(), found.roles.tolist()
    ([0, 0, 0, 0], [1, 1, 0, 0])
    """

    target: int = 0
    size: Count = 3
    place: Corner | tuple[int, int] = "bottom-right"
    margin: Natural = 0
    pattern: Pattern = "white"
    value: Share = 1.0
    pattern_seed: int = 0

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the square at `opacity`."""
        corner = self.upper_left(images.shape[-2], images.shape[-1])
        return put_square(images, self._square().to(images), corner, opacity)

    def upper_left(self, height: int, width: int) -> tuple[int, int]:
        """Return row and column of the square's upper left pixel in images of `height` x `width` pixels."""
        if not isinstance(self.place, str):
            return self.place
        far = self.size + self.margin
        row = height - far if self.place.startswith("bottom") else self.margin
        return row, width - far if self.place.endswith("right") else self.margin

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a square that is not entirely inside the image."""
        super().check_fits(shape, classes)
        _, height, width = shape
        row, column = self.upper_left(height, width)
        if row < 0 or column < 0 or row + self.size > height or column + self.size > width:
            raise ValueError(
                f"expected the patch to lie inside images of {height} x {width} pixels, got size {self.size} "
                f"at row {row}, column {column}; make it smaller or move it"
            )

    def _square(self) -> Tensor:
        """Return the pattern (size, size)."""
        pixels = self.size**2
        if self.pattern == "white":
            bright = torch.ones(pixels)
        elif self.pattern == "checkerboard":
            steps = torch.arange(self.size)
            bright = ((steps[:, None] + steps) % 2 == 0).float().flatten()
        else:
            order = torch.randperm(pixels, generator=seeded(self.pattern_seed, "patch", self.size))
            bright = (order < (pixels + 1) // 2).float()
        return (bright * self.value).reshape(self.size, self.size)


def put_square(images: Tensor, pixels: Tensor, corner: tuple[int, int], opacity: float) -> Tensor:
    """Return copies of `images` (N, C, H, W) with `pixels` (S, S) or (C, S, S) mixed in at `opacity`.

    `corner` is row and column of the upper left pixel.
    """
    stamped, (row, column), size = images.clone(), corner, pixels.shape[-1]
    under = stamped[..., row : row + size, column : column + size]
    under.mul_(1 - opacity).add_(pixels, alpha=opacity)
    return stamped
