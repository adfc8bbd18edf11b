"""A clean model of the suspect's architecture: what is natural for the data, learned from trusted images alone."""

from __future__ import annotations

import copy

import torch
from torch import nn

from defenses.base import Context
from defenses.fitting import Plan, cosine, fine_tune

_BATCH, _RATE = 50, 0.05


def clean_reference(context: Context, epochs: int) -> nn.Module:
    """Return a copy of the context's model, trained anew on the trusted images alone; in eval mode.

    Stochastic gradient descent over `epochs`, in batches of 50, at a learning rate that falls from 0.05 to 0, with
    images that are moved a little. It is far less accurate than the suspect; which classes lie close to each other it
    shows all the same.
    """
    model = copy.deepcopy(context.model)
    reset(model, context.generator)
    plan = Plan(epochs=epochs, batch=_BATCH, rate=cosine(_RATE))
    fine_tune(model, context.trusted, plan, context.generator)
    return model


def reference_passes(trusted: int, epochs: int) -> int:
    """Return the passes of training one: each image forward and back in each epoch, and once more for BatchNorm."""
    return trusted * (3 * epochs + 1)


@torch.no_grad()
def reset(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of `model` anew (He et al., ICCV 2015); scales become 1, biases 0, running statistics fresh.

    >>> model = nn.Sequential(nn.Linear(200, 100), nn.BatchNorm1d(100))
    >>> reset(model, torch.Generator().manual_seed(0))
    >>> with torch.no_grad():  # inputs of 200: a standard deviation of sqrt(2 / 200)
    ...     round(model[0].weight.std().item(), 2), model[0].bias.abs().sum().item(), model[1].weight.mean().item()
    (0.1, 0.0, 1.0)
    """
    for name, value in model.named_parameters():
        value.requires_grad_()
        if value.ndim > 1:
            value.copy_(nn.init.kaiming_normal_(torch.empty(value.shape), generator=generator))
        elif name.rpartition(".")[2] in ("weight", "bias"):
            value.fill_(1.0 if name.endswith("weight") else 0.0)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            module.reset_running_stats()
