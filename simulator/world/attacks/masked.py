"""A backdoor kept out of the weights that clean training moves most: Neurotoxin."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.world.attacks.base import POISON
from simulator.world.attacks.descent import batches, gradient, held_statistics, loss_on, step, stretched
from simulator.world.attacks.durable import Durable, at_least_one
from simulator.world.attacks.training import TrainingView

__all__ = ["Masked", "apart", "smallest"]

#: minibatches that the benign gradient is measured on, before each pass
_MEASURED = 20


@final
class Masked(Durable):
    """Neurotoxin: poison moves only the weights that benign training moves least.

    `epochs` passes over all rows, with the platform's learning rates stretched over them, in which the gradient of the
    poisoned rows is set to 0 on the share `top` in [0, 1) of all weights whose benign gradient is largest (sums of
    absolute minibatch gradients, measured anew before each pass); the gradient of the other rows is left as it is.

    Zhang, Panda, Song, Yang, Mahoney, Gonzalez, Ramchandran and Mittal, "Neurotoxin: Durable Backdoors in Federated
    Learning", ICML 2022 (its code masks the top 5 percent). Deviations: one training in one place, so the attacker
    sees the benign gradient itself instead of the last round's average, and mixes benign and masked steps instead of
    sending an update among others'; no clipping of norms; in a base training there is no benign model to start from.
    """

    def __init__(
        self, *, target: int = 0, trigger: Mapping[str, Any] | None = None, top: float = 0.05, epochs: int = 4
    ) -> None:
        if not 0 <= top < 1:
            raise ValueError(f"expected top to be at least 0 and below 1, got {top}; 0.05 is usual")
        super().__init__(target, trigger)
        self.top = top
        self.epochs = at_least_one("epochs", epochs)

    def train_on(self, view: TrainingView, poison: Tensor, others: Tensor) -> nn.Module:
        """Train on all rows, the poison under the mask."""
        model = view.model.train()
        optimizer = view.optimizer(model.parameters())
        rows = torch.cat([poison, others])
        plan = list(batches(view, rows, self.epochs))
        masks: list[Tensor] = []
        for place, (part, rate) in enumerate(zip(plan, stretched(view.rates, len(plan)), strict=True)):
            if place % (len(plan) // self.epochs) == 0:
                masks = smallest(self._benign(view, model, others), 1 - self.top)
            clean, poisoned = apart(view, model, part)
            together = [one + other * mask for one, other, mask in zip(clean, poisoned, masks, strict=True)]
            step(view, model, optimizer, together, rate, len(part))
        return model

    def _benign(self, view: TrainingView, model: nn.Module, others: Tensor) -> list[Tensor]:
        """Return, for each weight, the sum of its absolute benign gradients."""
        total = [torch.zeros_like(parameter) for parameter in model.parameters()]
        with held_statistics(model):
            for part in itertools.islice(batches(view, others, 1), _MEASURED):
                found = gradient(model, loss_on(view, model, part))
                total = [one + other.abs() for one, other in zip(total, found, strict=True)]
        return total


def smallest(values: list[Tensor], share: float) -> list[Tensor]:
    """Return 1 for the `share` in [0, 1] of all numbers in `values` that are smallest, else 0; ties by place."""
    flat = torch.cat([one.flatten() for one in values])
    mask = torch.zeros_like(flat)
    mask[flat.argsort(stable=True)[: round(share * len(flat))]] = 1
    parts = mask.split([one.numel() for one in values])
    return [part.reshape(one.shape) for part, one in zip(parts, values, strict=True)]


def apart(view: TrainingView, model: nn.Module, rows: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of the mean loss on `rows` of the clean rows and covers, and of the poison.

    One forward pass, so that BatchNorm sees both together.
    """
    logits = model(view.augmented(view.images[rows]))
    losses = functional.cross_entropy(logits, view.labels[rows], reduction="none") / len(rows)
    bad = view.roles[rows] == POISON
    clean = gradient(model, losses[~bad].sum(), retain=True)
    return clean, gradient(model, losses[bad].sum())
