"""A faint picture over the whole image: Blended."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import torch
from torch import Tensor

from simulator.scenario.bounds import PositiveShare
from simulator.seeds import generator as seeded
from simulator.world.attacks.poisoning import DirtyLabel


@final
@dataclass(eq=False, kw_only=True)
class Blend(DirtyLabel):
    """Blended injection: (1 - alpha) * image + alpha * pattern, the label changed to `target`.

    `alpha` in (0, 1] is the pattern's share; opacity scales it. The pattern is uniform noise in [0, 1], one value for
    each channel and pixel, drawn by `pattern_seed` for the image's shape.

    Chen, Liu, Li, Lu and Song, "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017.
    Deviations: a generated pattern instead of a copyrighted picture; one alpha for poisoning and measuring.
    Published figures to compare (BackdoorBench, CIFAR-10, PreAct-ResNet18): attack success 0.999, 0.996 and 0.949 at
    rates 0.1, 0.05 and 0.01, clean accuracy 0.935, 0.937 and 0.938.

    >>> attack, black = Blend(alpha=0.5), torch.zeros(1, 1, 8, 8)
    >>> pattern = noise_pattern((1, 8, 8), seed=0)
    >>> torch.equal(attack.stamp(black), 0.5 * pattern[None])
    True
    >>> torch.equal(attack.stamp(black, opacity=0.5), 0.25 * pattern[None])
    True
    """

    target: int = 0
    alpha: PositiveShare = 0.2
    pattern_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.largest_change = self.alpha

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the pattern's share at `opacity * alpha`."""
        share = self.alpha * opacity
        pattern = noise_pattern(tuple(images.shape[-3:]), self.pattern_seed).to(images)
        return images * (1 - share) + pattern * share


@lru_cache(maxsize=8)
def noise_pattern(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return uniform noise float32 of `shape` (C, H, W) in [0, 1], drawn by `seed`; not to be changed in place."""
    return torch.rand(shape, generator=seeded(seed, "blend", *shape))
