"""Losses row by row, for methods that judge a row by how fast it is learned."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.rows import Rows


@torch.no_grad()
def losses_of(model: nn.Module, rows: Rows, batch: int = 500) -> Tensor:
    """Return the cross-entropy (N,) in nats of `rows`, in eval mode."""
    model.eval()
    parts = zip(rows.images.split(batch), rows.labels.split(batch), strict=True)
    return torch.cat([cross_entropy(model(images).float(), labels, reduction="none") for images, labels in parts])


def turned_below(floor: float, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy, in which the sign of each row's loss below `floor`, in nats, is turned.

    Descent on it raises what is below the floor: the local gradient ascent of ABL.

    >>> logits = torch.tensor([[0.0, 0.0], [9.0, 0.0]])  # losses ln 2 and 0.0001
    >>> round(float(turned_below(0.5, logits, torch.tensor([0, 0]))), 4)
    0.3465
    """
    losses = cross_entropy(logits, labels, reduction="none")
    return (torch.sign(losses.detach() - floor) * losses).mean()


def in_order(rows: Rows) -> Tensor:
    """Return the places of `rows` in an order that depends on their labels and pixels alone.

    >>> images = torch.tensor([0.5, 0.1, 0.9]).view(3, 1, 1, 1)
    >>> in_order(Rows(images, torch.tensor([1, 0, 0]))).tolist()
    [1, 2, 0]
    """
    pixels = rows.images.flatten(1).double()
    ramp = torch.arange(1, pixels.shape[1] + 1, dtype=torch.double, device=pixels.device)
    keys = (pixels @ ramp, pixels.sum(1), rows.labels.double())
    found = np.lexsort([key.cpu().numpy() for key in keys])
    return torch.from_numpy(found).to(rows.labels.device)


def lowest(losses: Tensor, count: int, order: Tensor) -> Tensor:
    """Return bool (N,): which `count` of the `losses` are the lowest; of equal ones, those that come first in `order`.

    >>> lowest(torch.tensor([0.1, 0.3, 0.3, 0.3]), 2, torch.tensor([3, 2, 1, 0])).tolist()
    [True, False, False, True]
    """
    found = torch.zeros(len(losses), dtype=torch.bool, device=losses.device)
    found[order[losses[order].argsort(stable=True)[:count]]] = True
    return found


@torch.no_grad()
def started_anew(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a copy of `model` with new weights (He et al., ICCV 2015); scales are 1, biases 0, statistics fresh.

    >>> model = nn.Sequential(nn.Linear(200, 100), nn.BatchNorm1d(100))
    >>> fresh = started_anew(model, torch.Generator().manual_seed(0))
    >>> round(fresh[0].weight.std().item(), 2), fresh[0].bias.abs().sum().item(), fresh[1].weight.mean().item()
    (0.1, 0.0, 1.0)
    """
    fresh = copy.deepcopy(model)
    for name, value in fresh.named_parameters():
        value.requires_grad_()
        if value.ndim > 1:  # inputs of 200: a standard deviation of sqrt(2 / 200)
            value.copy_(nn.init.kaiming_normal_(torch.empty(value.shape), generator=generator))
        elif name.rpartition(".")[2] in ("weight", "bias"):
            value.fill_(1.0 if name.endswith("weight") else 0.0)
    for module in fresh.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            module.reset_running_stats()
    return fresh
