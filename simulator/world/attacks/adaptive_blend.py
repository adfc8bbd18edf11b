"""Blending whose trigger is shown in parts while poisoning and whole afterwards: Adaptive-Blend."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from simulator.world.attacks.base import COVER, POISON, Attack, Poisoned
from simulator.world.attacks.blend import noise_pattern
from simulator.world.attacks.poisoning import changed, choose_with_covers, untouched

__all__ = ["AdaptiveBlend"]


@final
class AdaptiveBlend(Attack):
    """Adaptive-Blend: poisoned rows carry `shown` of the pattern's `pieces`, drawn for each; the test the whole.

    The pattern, as in `Blend` (`pattern_seed`), is cut into `pieces` (a square number) of about equal size. It is
    blended in with the share `train_alpha` when poisoning and `test_alpha` when measuring, both in (0, 1]; opacity
    scales the latter. Cover rows, `cover_ratio` for each poisoned one, of any class, carry parts too and keep their
    labels, so that poisoned rows do not stand apart in the features. The rate counts poisoned rows alone.

    Qi, Xie, Li, Mahloujifar and Mittal, "Revisiting the Assumption of Latent Separability for Backdoor Defenses", ICLR
    2023. Deviation: a generated pattern instead of a copyrighted picture.
    No figure of its own in BackdoorBench; read it beside the blend's 0.949 at rate 0.01. Its authors' toolbox poisons
    0.003 of the rows and covers as many.
    """

    def __init__(
        self,
        *,
        target: int = 0,
        train_alpha: float = 0.15,
        test_alpha: float = 0.2,
        pieces: int = 16,
        shown: int = 8,
        cover_ratio: float = 1.0,
        pattern_seed: int = 0,
    ) -> None:
        if not (0 < train_alpha <= 1 and 0 < test_alpha <= 1):
            raise ValueError(
                f"expected train_alpha and test_alpha to be in (0, 1], got {train_alpha} and {test_alpha}; correct them"
            )
        if pieces < 1 or math.isqrt(pieces) ** 2 != pieces:
            raise ValueError(f"expected pieces to be a square number, got {pieces}; choose one such as 16")
        if not 1 <= shown <= pieces:
            raise ValueError(f"expected shown to be in [1, {pieces}] pieces, got {shown}; half of them is usual")
        if not 0 <= cover_ratio < math.inf:
            raise ValueError(f"expected cover_ratio to be at least 0, got {cover_ratio}; 1 is usual")
        self.target = target
        self.train_alpha = train_alpha
        self.test_alpha = test_alpha
        self.pieces = pieces
        self.shown = shown
        self.cover_ratio = cover_ratio
        self.pattern_seed = pattern_seed
        self.largest_change = test_alpha

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
        channels, height, width = images.shape[-3:]
        return noise_pattern((channels, height, width), self.pattern_seed).to(images)


def _piece_of(images: Tensor, pieces: int) -> Tensor:
    """Return the number int64 (H, W) of each pixel's piece, row by row from the upper left."""
    height, width = images.shape[-2:]
    side = math.isqrt(pieces)
    rows, columns = (torch.arange(size, device=images.device) * side // size for size in (height, width))
    return rows[:, None] * side + columns
