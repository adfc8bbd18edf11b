"""No attack."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from simulator.world.attacks.base import Attack, Poisoned
from simulator.world.attacks.poisoning import untouched


@final
class NoAttack(Attack):
    """Poisons nothing and stamps nothing.

    >>> found = NoAttack().poison(torch.ones(3, 1, 8, 8), torch.tensor([0, 1, 2]), 0.5, torch.Generator())
    >>> found.labels.tolist(), found.roles.tolist()
    ([0, 1, 2], [0, 0, 0])
    """

    threat_model: ClassVar[Literal["poisons-data", "surrogate", "controls-training", "none"]] = "none"
    largest_change = 0.0

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Return the rows unchanged, all of them clean, at any rate."""
        return untouched(images, labels)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies of the images."""
        return images.clone()
