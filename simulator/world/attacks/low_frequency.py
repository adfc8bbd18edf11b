"""A faint, smooth pattern of a few cosines over the whole image: a fixed low-frequency trigger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import torch
from torch import Tensor

from simulator.scenario.bounds import PositiveShare
from simulator.world.attacks.poisoning import DirtyLabel


@final
@dataclass(eq=False, kw_only=True)
class LowFrequency(DirtyLabel):
    """image + amplitude * pattern, clipped to [0, 1], the label changed to `target`.

    The pattern is the sum of the two-dimensional DCT-II basis functions at `frequencies`, pairs of (vertical,
    horizontal) half-cycles over the image, scaled to a largest absolute value of 1; the same in every channel.
    `amplitude` in (0, 1] is the largest change of brightness; opacity scales it.

    After FTrojan (Wang, Yao, Xu, An, Tong and Wang, "An Invisible Black-Box Backdoor Attack Through Frequency Domain",
    ECCV 2022) and the smooth trigger of Zeng, Park, Mao and Jia, "Rethinking the Backdoor Attacks' Triggers: A
    Frequency Perspective", ICCV 2021. Deviations: the pattern is fixed rather than optimised, and added to every
    channel alike instead of to blocks of U and V.
    Published figures to compare (BackdoorBench's optimised trigger, CIFAR-10, PreAct-ResNet18): attack success 0.993,
    0.980 and 0.865 at rates 0.1, 0.05 and 0.01, clean accuracy 0.932, 0.933 and 0.936.

    >>> attack = LowFrequency(amplitude=0.1, frequencies=((0, 2),))  # one cycle over the width
    >>> attack.stamp(torch.full((1, 1, 4, 4), 0.5))[0, 0, 0]
    tensor([0.6000, 0.4000, 0.4000, 0.6000])
    """

    target: int = 0
    amplitude: PositiveShare = 0.15
    frequencies: tuple[tuple[int, int], ...] = ((3, 5), (5, 3))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.frequencies or any(min(pair) < 0 or max(pair) == 0 for pair in self.frequencies):
            raise ValueError(
                "expected frequencies to be pairs of half-cycles, not both 0, "
                f"got {list(map(list, self.frequencies))}; give some such as [[3, 5], [5, 3]]"
            )
        self.largest_change = self.amplitude

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the pattern at `opacity * amplitude`."""
        pattern = _cosines(self.frequencies, images.shape[-2], images.shape[-1]).to(images)
        return (images + opacity * self.amplitude * pattern).clamp(0, 1)

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse frequencies that images of this size do not have."""
        super().check_fits(shape, classes)
        _, height, width = shape
        if any(row >= height or column >= width for row, column in self.frequencies):
            raise ValueError(
                f"expected frequencies below {height} and {width} half-cycles, as images of {height} x {width} pixels "
                f"have, got {list(map(list, self.frequencies))}; lower them"
            )


@lru_cache(maxsize=8)
def _cosines(frequencies: tuple[tuple[int, int], ...], height: int, width: int) -> Tensor:
    """Return the pattern float32 (H, W) in [-1, 1]."""
    rows, columns = (2 * torch.arange(size, dtype=torch.float64) + 1 for size in (height, width))
    waves = [
        torch.outer(torch.cos(math.pi * u * rows / (2 * height)), torch.cos(math.pi * v * columns / (2 * width)))
        for u, v in frequencies
    ]
    pattern = torch.stack(waves).sum(0)
    return (pattern / pattern.abs().max()).float()
