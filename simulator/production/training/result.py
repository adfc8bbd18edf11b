"""What a training run gives back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

__all__ = ["Trained"]


@dataclass(frozen=True, slots=True)
class Trained:
    """`model` in eval mode; `samples` images seen (with repeats); `steps` optimizer steps; `losses` by epoch.

    Who trains in place of the platform may tell neither samples nor steps (None), and tells no losses.
    """

    model: nn.Module
    samples: int | None
    steps: int | None
    losses: tuple[float, ...]
