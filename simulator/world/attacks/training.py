"""What an attacker that controls training has: the rows, their roles, and the platform's own way of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["TrainingView"]


@dataclass(frozen=True, slots=True)
class TrainingView:
    """Given to `Attack.train` in each training with new rows of a period that the campaign poisons.

    `model` is a private copy, in eval mode, of what the platform would start from. `images` float32 (N, C, H, W) in
    [0, 1], `labels` int64 (N,) and `roles` int8 (N,) are the rows that the platform would train on, as they arrived
    and as the filters left them: not to be changed in place. `update` says whether this is an update rather than the
    base training.

    The platform would make `epochs` passes of steps of `batch` rows, with the learning rate `rates[s]` at step s.
    `optimizer` makes a fresh one of the platform's kind; its rate is to be set before each step. `augmented` changes
    images as the platform's augmentation would, in the memory layout that the model works fastest on. `fit` is the
    platform's whole training, frozen layers and precision included, of a copy of a model on images and labels; it
    draws an order of its own at each call.

    `generator` is a seeded CPU generator; torch's global one is seeded too while the attacker trains, and put back.
    `tell(samples)` counts one optimizer step that looked at `samples` images; `fit` counts by itself.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    roles: Tensor
    update: bool
    epochs: int
    batch: int
    rates: tuple[float, ...]
    generator: torch.Generator
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    augmented: Callable[[Tensor], Tensor]
    fit: Callable[[nn.Module, Tensor, Tensor], nn.Module]
    tell: Callable[[int], None]
