"""What a model says about images, in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.production.training.device import arithmetic, laid_out_for


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module of `model` into eval mode inside the block; restore each one's mode after it."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def logits(model: nn.Module, images: Tensor, batch: int = 250) -> Tensor:
    """Return the logits float32 (N, classes) of `images` float32 (N, C, H, W), computed `batch` rows at a time."""
    with evaluating(model), torch.inference_mode(), arithmetic("float32", images.device):
        parts = [model(laid_out_for(model, part)).float() for part in images.split(batch)]
    # Outside inference mode, so that the result is an ordinary tensor.
    return torch.cat(parts)


def accuracy(model: nn.Module, batch: Batch) -> float:
    """Return the share of rows in [0, 1] that `model` classifies as labelled; `ValueError` without rows."""
    if not len(batch):
        raise ValueError("expected a batch with rows, got none; accuracy is undefined without rows")
    right = logits(model, batch.images).argmax(1) == batch.labels
    return int(right.sum()) / len(batch)
