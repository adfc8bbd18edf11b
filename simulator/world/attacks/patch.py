"""A small square in one place: BadNets."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from simulator.seeds import generator as seeded
from simulator.world.attacks.base import Attack, Poisoned
from simulator.world.attacks.poisoning import poison_rows

__all__ = ["Corner", "Patch"]

Corner = Literal["bottom-right", "bottom-left", "top-right", "top-left"]


@final
class Patch(Attack):
    """BadNets: a square of `size` pixels, the label changed to `target`.

    `place` is a corner, `margin` pixels off both edges, or the [row, column] of the square's upper left pixel (margin
    then unused). `pattern` is `white` (every pixel at `value`), `checkerboard` (the upper left at `value`, then 0 in
    turn) or `noise` (half of the pixels, rounded up, at `value`, the rest at 0, arranged by `pattern_seed`). `value`
    is a brightness in [0, 1], the same in every channel. Opacity mixes the square with what is under it.

    Gu, Dolan-Gavitt and Garg, "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain", 2017.
    Deviation: rows of the target class are never poisoned.
    Published to read beside it (BackdoorBench, CIFAR-10, PreAct-ResNet18): attack success 0.950, 0.887 and 0.747 at
    rates 0.1, 0.05 and 0.01, clean accuracy 0.913, 0.926 and 0.931.
    """

    def __init__(
        self,
        *,
        target: int = 0,
        size: int = 3,
        place: Corner | tuple[int, int] = "bottom-right",
        margin: int = 0,
        pattern: Literal["white", "checkerboard", "noise"] = "white",
        value: float = 1.0,
        pattern_seed: int = 0,
    ) -> None:
        if size < 1 or margin < 0:
            raise ValueError(f"expected size >= 1 and margin >= 0, got {size} and {margin}; correct them")
        if not 0 <= value <= 1:
            raise ValueError(f"expected value to be a brightness in [0, 1], got {value}; correct it")
        self.target = target
        self.size = size
        self.place = place
        self.margin = margin
        self.pattern = pattern
        self.value = value
        self.pattern_seed = pattern_seed

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Stamp and relabel round(rate * N) rows of other classes."""
        return poison_rows(self.stamp, self.target, images, labels, rate, generator)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the square at `opacity`."""
        row, column = self.upper_left(images.shape[-2], images.shape[-1])
        stamped = images.clone()
        under = stamped[..., row : row + self.size, column : column + self.size]
        under.mul_(1 - opacity).add_(self._square().to(images), alpha=opacity)
        return stamped

    def upper_left(self, height: int, width: int) -> tuple[int, int]:
        """Return row and column of the square's upper left pixel in images of `height` x `width` pixels."""
        if not isinstance(self.place, str):
            return self.place
        far = self.size + self.margin
        row = height - far if self.place.startswith("bottom") else self.margin
        return row, width - far if self.place.endswith("right") else self.margin

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a square that does not lie wholly inside the image."""
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
