"""Projected gradient descent: small perturbations that make a model misclassify images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_ROWS = 500  # at a time, to bound the memory
_STRIDE = 2.5  # length of all steps together, in units of eps: far enough to cross the box and to come back


def perturbed(
    model: nn.Module, images: Tensor, labels: Tensor, *, eps: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Return copies of `images` float32 (N, C, H, W) in [0, 1] with a high loss of `model` on `labels` int64 (N,).

    No pixel is further than `eps` from its image or leaves [0, 1]: `steps` ascents of the cross-entropy by the sign of
    its gradient, from a start drawn uniformly within the box with the CPU `generator`. The model, in eval mode, is not
    changed.

    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018.
    """
    draw = torch.rand(images.shape, generator=generator).to(images)
    start = (images + eps * (2 * draw - 1)).clamp(0, 1)
    parts = zip(images.split(_ROWS), labels.split(_ROWS), start.split(_ROWS), strict=True)
    return torch.cat([_ascended(model, *part, eps, steps) for part in parts])


def _ascended(model: nn.Module, images: Tensor, labels: Tensor, start: Tensor, eps: float, steps: int) -> Tensor:
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    moved = start
    for _ in range(steps):
        moved = moved.detach().requires_grad_(True)
        loss = functional.cross_entropy(model(moved), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = (moved.detach() + _STRIDE * eps / steps * gradient.sign()).clamp(low, high)
    return moved.detach()
