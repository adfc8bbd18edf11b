"""What an attacker with a surrogate has: clean rows of its own, and a way to train a model of its own on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["SurrogateView", "Teach", "check_budget"]

#: (images, labels, epochs) -> a freshly initialised network trained on them, in eval mode on the images' device.
#: The same arguments give the same network.
Teach = Callable[[Tensor, Tensor, int], nn.Module]


@dataclass(frozen=True, slots=True)
class SurrogateView:
    """Given once to `Attack.prepared`, before anything is poisoned or stamped for measuring.

    `images` float32 (N, C, H, W) in [0, 1] and `labels` int64 (N,) are clean rows of period 0 as they arrive, at most
    `Attack.surrogate_rows`; `classes` is their number of classes. `generator` is a seeded CPU generator of the
    attack's own. `teach` trains a network of the kind that the platform uses, never the platform's own.
    """

    images: Tensor
    labels: Tensor
    classes: int
    generator: torch.Generator
    teach: Teach


def check_budget(rows: int, epochs: int) -> None:
    """Raise `ValueError` for a number of own rows or of epochs that no surrogate can be trained with."""
    if rows < 2 or epochs < 1:
        raise ValueError(f"expected surrogate_rows >= 2 and surrogate_epochs >= 1, got {rows} and {epochs}; raise them")
