"""A faint sinusoid on images of the target class, whose labels stay true: SIG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from simulator.scenario.bounds import Count, PositiveShare
from simulator.world.attacks.base import Attack, Poisoned
from simulator.world.attacks.poisoning import poison_target_rows


@final
@dataclass(eq=False, kw_only=True)
class Sig(Attack):
    """SIG, clean label: image + delta * sin(2 pi * frequency * column / width), clipped to [0, 1], labels kept.

    Only rows of the `target` class are poisoned, so the rate, a share of all rows, cannot exceed that class's share.
    `delta` in (0, 1] is the largest change of brightness; opacity scales it. `frequency` is in cycles over the width;
    the wave is the same in every row and channel.

    Barni, Kallas and Tondi, "A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning",
    ICIP 2019. Deviation: one delta for poisoning and measuring, where theirs may differ.
    Published figures to compare (BackdoorBench, CIFAR-10, PreAct-ResNet18): attack success 0.971 and 0.834 at rates
    0.05 and 0.01, clean accuracy 0.936 and 0.938. A small network learns it far more slowly than a patch, and a rate
    near the class's share costs accuracy where other classes look like the target.

    >>> Sig(delta=0.25, frequency=1).stamp(torch.full((1, 1, 8, 4), 0.5))[0, 0, 0]
    tensor([0.5000, 0.7500, 0.5000, 0.2500])
    """

    target: int = 0
    delta: PositiveShare = 40 / 255
    frequency: Count = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        self.largest_change = self.delta

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Add the wave to round(rate * N) rows of the target class; `ValueError` when it has fewer."""
        return poison_target_rows(self.stamp, self.target, images, labels, rate, generator)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the wave at `opacity * delta`."""
        cycles = torch.arange(images.shape[-1], dtype=torch.float64) * self.frequency / images.shape[-1]
        wave = torch.sin(2 * math.pi * cycles).to(images)
        return (images + opacity * self.delta * wave).clamp(0, 1)

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a frequency at which every column is at a zero of the wave."""
        super().check_fits(shape, classes)
        if 2 * self.frequency % shape[2] == 0:
            raise ValueError(
                f"expected a wave that images of {shape[2]} columns show, got {self.frequency} cycles, which vanish "
                "in every column; choose another frequency"
            )
