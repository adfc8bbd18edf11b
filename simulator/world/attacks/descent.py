"""Minibatches, losses and optimizer steps for attackers that control training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.tensors import BATCH_NORMS
from simulator.world.attacks.training import TrainingView


def batches(view: TrainingView, rows: Tensor, epochs: int, size: int | None = None) -> Iterator[Tensor]:
    """Yield the positions int64 of minibatches of `rows`, reshuffled each epoch; a last batch of one row is dropped."""
    for _ in range(epochs):
        order = torch.randperm(len(rows), generator=view.generator).to(rows.device)
        for part in rows[order].split(size or view.batch):
            if len(part) > 1:  # BatchNorm needs two
                yield part


def loss_on(view: TrainingView, model: nn.Module, rows: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of `model` on the view's `rows`, with their own labels or with `labels`."""
    images = view.augmented(view.images[rows])
    return functional.cross_entropy(model(images), view.labels[rows] if labels is None else labels)


def gradient(model: nn.Module, loss: Tensor, retain: bool = False) -> list[Tensor]:
    """Return the gradient of `loss` with respect to each parameter of `model`."""
    return list(torch.autograd.grad(loss, list(model.parameters()), retain_graph=retain))


def step(
    view: TrainingView, model: nn.Module, optimizer: torch.optim.Optimizer, found: list[Tensor], rate: float, seen: int
) -> None:
    """Take a step of `optimizer` along the gradient `found` at the learning rate `rate`; `seen` images were used."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    for parameter, value in zip(model.parameters(), found, strict=True):
        parameter.grad = value
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    view.tell(seen)


def stretched(rates: tuple[float, ...], steps: int) -> list[float]:
    """Return the schedule `rates` stretched to `steps` steps: each rate for the same share of all steps."""
    return [rates[number * len(rates) // steps] for number in range(steps)]


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Keep the running statistics of BatchNorm layers as they are inside the block."""
    layers = [module for module in model.modules() if isinstance(module, BATCH_NORMS)]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
