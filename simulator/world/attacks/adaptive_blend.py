"""Blending whose trigger is shown in parts while poisoning and whole afterwards: Adaptive-Blend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from simulator.scenario.bounds import Count, NonNegative, PositiveShare
from simulator.world.attacks.base import COVER, POISON, Attack, Poisoned
from simulator.world.attacks.blend import noise_pattern
from simulator.world.attacks.poisoning import changed, choose_with_covers, untouched


@final
@dataclass(eq=False, kw_only=True)
class AdaptiveBlend(Attack):
    """Adaptive-Blend: each poisoned row carries `shown` random pieces of the pattern's `pieces`, test images all.

    The pattern, as in `Blend` (`pattern_seed`), is cut into `pieces` (a square number) of about equal size. It is
    blended in with the share `train_alpha` when poisoning and `test_alpha` when measuring, both in (0, 1]; opacity
    scales the latter. Cover rows, `cover_ratio` (at least 0) for each poisoned one, of any class, carry pieces too and
    keep their labels, so that poisoned rows cannot be separated by their features. The rate counts poisoned rows alone.

    Qi, Xie, Li, Mahloujifar and Mittal, "Revisiting the Assumption of Latent Separability for Backdoor Defenses", ICLR
    2023. Deviation: a generated pattern instead of a copyrighted picture.
    BackdoorBench has no figure for it; compare with the blend's 0.949 at rate 0.01. Its authors' toolbox poisons
    0.003 of the rows and covers as many.

    >>> attack = AdaptiveBlend(pieces=4, shown=1, train_alpha=0.5, cover_ratio=1.0)
    >>> images, labels = torch.zeros(6, 1, 4, 4), torch.tensor([1, 1, 1, 0, 0, 0])
    >>> found = attack.poison(images, labels, 1 / 3, torch.Generator().manual_seed(0))
    >>> found.roles.bincount().tolist()  # clean, poison, cover
    [2, 2, 2]
    >>> (found.images != 0).sum(dim=(1, 2, 3)).sort().values.tolist()  # one piece of four has 4 pixels
    [0, 0, 4, 4, 4, 4]
    """

    target: int = 0
    train_alpha: PositiveShare = 0.15
    test_alpha: PositiveShare = 0.2
    pieces: Count = 16
    shown: Count = 8
    cover_ratio: NonNegative = 1.0
    pattern_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.isqrt(self.pieces) ** 2 != self.pieces:
            raise ValueError(f"expected pieces to be a square number, got {self.pieces}; choose one such as 16")
        if self.shown > self.pieces:
            raise ValueError(
                f"expected shown to be in [1, {self.pieces}] pieces, got {self.shown}; half of them is usual"
            )
        self.largest_change = self.test_alpha

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Blend parts into round(rate * N) rows of other classes and relabel them; blend parts into the covers."""
        others = labels != self.target
        poison, covers = choose_with_covers(others, torch.ones_like(others), rate, self.cover_ratio, generator)
        batch = untouched(images, labels)
        batch = changed(batch, poison, lambda rows: self._partly(rows, generator), POISON, self.target)
        return changed(batch, covers, lambda rows: self._partly(rows, generator), COVER)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the whole pattern's share at `opacity * test_alpha`."""
        share = self.test_alpha * opacity
        return images * (1 - share) + self._pattern(images) * share

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse more pieces than the image has pixels along a side."""
        super().check_fits(shape, classes)
        if math.isqrt(self.pieces) > min(shape[1:]):
            raise ValueError(
                f"expected pieces of at least a pixel in images of {shape[1]} x {shape[2]} pixels, got {self.pieces} "
                "pieces; choose fewer"
            )

    def _partly(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return copies with `shown` pieces of the pattern each, drawn anew for every image."""
        order = torch.rand(len(images), self.pieces, generator=generator).argsort(dim=1)
        here = (order < self.shown).to(images.device)[:, _piece_of(images, self.pieces)].unsqueeze(1)
        share = self.train_alpha * here.to(images.dtype)
        return images * (1 - share) + self._pattern(images) * share

    def _pattern(self, images: Tensor) -> Tensor:
        return noise_pattern(tuple(images.shape[-3:]), self.pattern_seed).to(images)


def _piece_of(images: Tensor, pieces: int) -> Tensor:
    """Return the number int64 (H, W) of each pixel's piece, row by row from the upper left."""
    height, width = images.shape[-2:]
    side = math.isqrt(pieces)
    rows, columns = (torch.arange(size, device=images.device) * side // size for size in (height, width))
    return rows[:, None] * side + columns
