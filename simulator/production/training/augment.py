"""Augmentation, vectorised on the device: each epoch draws one plan for all rows, each step applies its rows' part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional

Augmentation = Literal["none", "crop", "flip", "crop-flip"]


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What one epoch does to each row: `shifts` int64 (N, 2) pixels down and right, `flips` bool (N,); None: none."""

    shifts: Tensor | None
    flips: Tensor | None

    def apply(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return `images` (B, C, H, W) augmented; `rows` int64 (B,) are their positions in the plan."""
        if self.shifts is not None:
            images = crop(images, self.shifts[rows])
        if self.flips is not None:
            images = flip(images, self.flips[rows])
        return images


def draw(
    kind: Augmentation, count: int, size: tuple[int, int], generator: torch.Generator, device: torch.device
) -> Plan:
    """Draw the plan of `count` rows of `size` (H, W). The CPU `generator` gives the same plan on every device."""
    shifts = flips = None
    if kind in ("crop", "crop-flip"):
        columns = [torch.randint(-margin(s), margin(s) + 1, (count,), generator=generator) for s in size]
        shifts = torch.stack(columns, dim=1).to(device)
    if kind in ("flip", "crop-flip"):
        flips = (torch.rand(count, generator=generator) < 0.5).to(device)
    return Plan(shifts, flips)


def joined(plans: Iterable[Plan]) -> Plan:
    """Return the plan of the rows of `plans`, all of one kind, one after another."""
    parts = tuple(plans)
    shifts = [plan.shifts for plan in parts if plan.shifts is not None]
    flips = [plan.flips for plan in parts if plan.flips is not None]
    return Plan(torch.cat(shifts) if shifts else None, torch.cat(flips) if flips else None)


def margin(size: int) -> int:
    """Return the largest shift in pixels along a side of `size` pixels: the usual 4 at 32, in proportion."""
    return max(1, round(size / 8))


def crop(images: Tensor, shifts: Tensor) -> Tensor:
    """Return `images` (B, C, H, W) moved by `shifts` (B, 2) pixels down and right; what comes in is zero."""
    height, width = images.shape[2:]
    down, right = margin(height), margin(width)
    padded = functional.pad(images, (right, right, down, down))
    rows = torch.arange(height, device=images.device) + (down - shifts[:, :1])
    columns = torch.arange(width, device=images.device) + (right - shifts[:, 1:])
    each = torch.arange(len(images), device=images.device)[:, None, None]
    # Gathering with the channels last gives the memory layout that training uses.
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def flip(images: Tensor, flips: Tensor) -> Tensor:
    """Return `images` (B, C, H, W) with the rows where `flips` (B,) holds mirrored left to right."""
    return torch.where(flips[:, None, None, None], images.flip(3), images)
