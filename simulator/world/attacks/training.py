"""What an attacker that controls training has: the rows, their roles, and the platform's training procedure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class TrainingView:
    """Passed to `Attack.train` in each training with new rows of a poisoned period.

    `model` is a private copy, in eval mode, of the model that the platform would start from. `images` float32
    (N, C, H, W) in [0, 1], `labels` int64 (N,) and `roles` int8 (N,) are the rows that the platform would train on,
    after its filters; they must not be changed in place. `update` is False in the base training.

    The platform would train `epochs` epochs in minibatches of `batch` rows, with the learning rate `rates[s]` at step
    s. `optimizer` makes a new optimizer of the platform's kind; set its learning rate before each step. `augmented`
    applies the platform's augmentation and returns images in the memory layout that is fastest for the model. `fit` is
    the platform's whole training of a copy of a model on images and labels, with its frozen layers and precision; each
    call shuffles differently.

    `generator` is a seeded CPU generator; torch's global generator is seeded too while the attacker trains and restored
    afterwards. Call `tell(samples)` for each optimizer step on `samples` images; `fit` does so itself.
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
