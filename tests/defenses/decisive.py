"""A linear model in which one pixel decides for a class, as a trigger does."""

from __future__ import annotations

import torch
from torch import nn


def decisive_model(classes: int, channels: int, decisive: int | None) -> nn.Module:
    """Class n is the brightness of pixel n of the first channel; one more pixel decides for class `decisive` alone."""
    head = nn.Linear(channels * 64, classes)
    with torch.no_grad():
        head.bias.zero_()
        head.weight.copy_(torch.eye(classes, channels * 64))
        if decisive is not None:
            head.weight[decisive, 63] = 30.0
    return nn.Sequential(nn.Flatten(), head)
