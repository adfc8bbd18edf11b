"""A slight, smooth warp of the image: WaNet, with its noise mode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from simulator.scenario.bounds import NonNegative, Positive
from simulator.seeds import generator as seeded
from simulator.world.attacks.base import COVER, POISON, Attack, Poisoned
from simulator.world.attacks.poisoning import changed, choose_with_covers, untouched


@final
@dataclass(eq=False, kw_only=True)
class WaNet(Attack):
    """WaNet: the image warped by one fixed smooth field, the label changed to `target`.

    The field is `grid` x `grid` uniform vectors of mean absolute component 1, drawn by `field_seed` and up-sampled
    bicubically; `strength` scales it so that 1 moves pixels by half a pixel on average along each axis (just below:
    (size - 1) / (2 size)). Opacity scales the field. Noise mode: `cover_ratio` rows for each poisoned one, of any
    class, are warped by the field with a jitter, uniform to either side and up to about half a pixel, drawn for each
    pixel and axis; they keep their labels, so that only this exact warp is learned.

    `largest_change` is 1: at an edge between black and white a moved pixel may change by any amount.

    Nguyen and Tran, "WaNet: Imperceptible Warping-based Backdoor Attack", ICLR 2021. Deviations: which rows are
    poisoned or covers, and their jitter, are drawn once when they arrive, not anew for each batch of the training.
    Published figures to compare (BackdoorBench, CIFAR-10, PreAct-ResNet18): attack success 0.897, 0.855 and 0.126 at
    rates 0.1, 0.05 and 0.01, clean accuracy 0.912, 0.918 and 0.907.

    >>> stripes = torch.tensor([0.0, 1.0]).repeat(4).expand(1, 1, 8, 8)
    >>> attack = WaNet(strength=0.5)
    >>> moved = (attack.stamp(stripes) - stripes).abs().mean(), (attack.stamp(stripes, 0.5) - stripes).abs().mean()
    >>> [round(change.item(), 1) for change in moved]
    [0.2, 0.1]
    """

    target: int = 0
    grid: Annotated[int, Field(ge=2)] = 4
    strength: Positive = 0.5
    cover_ratio: NonNegative = 2.0
    field_seed: int = 0

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Warp and relabel round(rate * N) rows of other classes; warp the covers with jitter."""
        others = labels != self.target
        poison, covers = choose_with_covers(others, torch.ones_like(others), rate, self.cover_ratio, generator)
        batch = changed(untouched(images, labels), poison, self.stamp, POISON, self.target)
        return changed(batch, covers, lambda rows: self._jittered(rows, generator), COVER)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies warped by `opacity` times the field."""
        if opacity == 0:
            return images.clone()
        return warp(images, opacity * self._moves(images))

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a field finer than the image."""
        super().check_fits(shape, classes)
        if self.grid > min(shape[1:]):
            raise ValueError(
                f"expected a field no finer than images of {shape[1]} x {shape[2]} pixels, got {self.grid} vectors a "
                "side; choose fewer"
            )

    def _moves(self, images: Tensor) -> Tensor:
        """Return the displacement (1, H, W, 2) in pixels, horizontal first."""
        height, width = images.shape[-2:]
        field = _field(self.grid, height, width, self.field_seed).to(images)
        return self.strength * field * _half_pixels(images)

    def _jittered(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        jitter = torch.rand(count, height, width, 2, generator=generator).mul_(2).sub_(1).to(images)
        return warp(images, self._moves(images) + jitter * _half_pixels(images))


def warp(images: Tensor, moves: Tensor) -> Tensor:
    """Return images (N, C, H, W) in which each pixel is read `moves` (N or 1, H, W, 2) pixels away.

    Horizontal (to the right) first, then vertical (downwards); bilinear, with the border repeated outside the image.
    """
    count, _, height, width = images.shape
    y, x = (torch.linspace(-1, 1, size, device=images.device, dtype=images.dtype) for size in (height, width))
    identity = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    pixel = 2 / (torch.tensor([width, height], device=images.device, dtype=images.dtype) - 1)
    grid = (identity + moves * pixel).clamp(-1, 1).expand(count, height, width, 2)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True).clamp(0, 1)


def _half_pixels(images: Tensor) -> Tensor:
    """Return 1 / size of the range [-1, 1] along each axis, in pixels: the paper's unit."""
    size = torch.tensor([images.shape[-1], images.shape[-2]], device=images.device, dtype=images.dtype)
    return (size - 1) / (2 * size)


@lru_cache(maxsize=8)
def _field(grid: int, height: int, width: int, seed: int) -> Tensor:
    """Return the up-sampled field float32 (1, H, W, 2); not to be changed in place."""
    vectors = torch.rand(1, 2, grid, grid, generator=seeded(seed, "wanet", grid)) * 2 - 1
    vectors = vectors / vectors.abs().mean()
    fine = interpolate(vectors, size=(height, width), mode="bicubic", align_corners=True)
    return fine.permute(0, 2, 3, 1).contiguous()
