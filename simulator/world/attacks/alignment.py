"""Measures how far the gradients of the backdoor loss and the clean loss agree, and optimises a trigger for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

_ROWS = 250  # at a time


@final
class Alignment:
    """Cosines with the clean gradient of `model`, taken over clean `images` (N, C, H, W) and `labels` (N,).

    Gradients are those of the mean cross-entropy with respect to all weights; the model is in eval mode.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, target: int) -> None:
        self._model = model.eval().requires_grad_(True)
        self._weights = list(model.parameters())
        self._others = images[labels != target]
        self._target = target
        self._clean = self._gradient(images, labels)

    def cosine(self, stamped: Tensor) -> float:
        """Return the cosine, in [-1, 1], of the clean gradient and the gradient for `stamped` with the target label."""
        backdoor = self._gradient(stamped, self._called(stamped))
        return float(functional.cosine_similarity(self._clean, backdoor, dim=0))

    def raised(
        self,
        put: Callable[[Tensor, Tensor], Tensor],
        start: Tensor,
        steps: int,
        step: float,
        generator: torch.Generator,
    ) -> Tensor:
        """Return pixels in [0, 1], moved from `start` so that the cosine rises.

        `put(images, pixels)` gives stamped images and can be differentiated. Ascent by the sign of the cosine's
        gradient over images of other classes, drawn anew each of `steps` times, by `step` at first and 0 at the end.
        """
        pixels = start
        for done in range(steps):
            rows = torch.randperm(len(self._others), generator=generator)[:_ROWS].to(self._others.device)
            pixels = pixels.detach().requires_grad_(True)
            (uphill,) = torch.autograd.grad(self._batch_cosine(put(self._others[rows], pixels)), pixels)
            pixels = (pixels.detach() + step * (1 - done / steps) * uphill.sign()).clamp(0, 1)
        return pixels.detach()

    def _batch_cosine(self, stamped: Tensor) -> Tensor:
        loss = functional.cross_entropy(self._model(stamped), self._called(stamped))
        backdoor = torch.autograd.grad(loss, self._weights, create_graph=True)
        return functional.cosine_similarity(self._clean, _flat(backdoor), dim=0)

    def _gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the gradient of the mean loss, flat (P,)."""
        total = torch.zeros(sum(weight.numel() for weight in self._weights), device=images.device)
        for rows, called in zip(images.split(_ROWS), labels.split(_ROWS), strict=True):
            loss = functional.cross_entropy(self._model(rows), called, reduction="sum")
            total += _flat(torch.autograd.grad(loss, self._weights))
        return total / len(images)

    def _called(self, images: Tensor) -> Tensor:
        return torch.full((len(images),), self._target, device=images.device)


def _flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])
