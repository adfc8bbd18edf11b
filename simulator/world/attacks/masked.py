"""A backdoor kept out of the weights that clean training moves most: Neurotoxin."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from simulator.scenario.bounds import Count
from simulator.world.attacks.base import POISON
from simulator.world.attacks.descent import batches, frozen_statistics, gradient, loss_on, step, stretched
from simulator.world.attacks.durable import Durable
from simulator.world.attacks.training import TrainingView

#: minibatches that the benign gradient is measured on, before each pass
_MEASURED = 20


@final
@dataclass(eq=False, kw_only=True)
class Masked(Durable):
    """Neurotoxin: poisoned rows train only the weights that benign training changes least.

    `epochs` passes over all rows, with the platform's learning rates stretched over them. The gradient of the poisoned
    rows is set to 0 for the share `top` in [0, 1) of all weights whose benign gradient is largest (sum of absolute
    minibatch gradients, measured again before each pass); the gradient of the other rows is left as it is.

    Zhang, Panda, Song, Yang, Mahoney, Gonzalez, Ramchandran and Mittal, "Neurotoxin: Durable Backdoors in Federated
    Learning", ICML 2022 (its code masks the top 5 percent). Deviations: one training in one place, so the attacker
    sees the benign gradient itself instead of the last round's average, and mixes benign and masked steps instead of
    sending an update among others'; no clipping of norms; in a base training there is no benign model to start from.
    The paper's figures are for federated rounds; none is quoted.

    >>> attack = Masked(top=0.25, trigger={"use": "patch", "size": 1})
    >>> attack.threat_model, attack.stamp(torch.zeros(1, 1, 8, 8))[0, 0, 7, 6:].tolist()
    ('controls-training', [0.0, 1.0])
    >>> smallest([torch.tensor([0.1, 9.0]), torch.tensor([0.2, 0.3])], 1 - attack.top)  # 1: poison may train it
    [tensor([1., 0.]), tensor([1., 1.])]
    """

    top: Annotated[float, Field(ge=0, lt=1)] = 0.05
    epochs: Count = 4

    def train_on(self, view: TrainingView, poison: Tensor, others: Tensor) -> nn.Module:
        """Train on all rows, the poison under the mask."""
        model = view.model.train()
        optimizer = view.optimizer(model.parameters())
        rows = torch.cat([poison, others])
        plan = list(batches(view, rows, self.epochs))
        masks: list[Tensor] = []
        for number, (part, rate) in enumerate(zip(plan, stretched(view.rates, len(plan)), strict=True)):
            if number % (len(plan) // self.epochs) == 0:
                masks = smallest(self._benign(view, model, others), 1 - self.top)
            clean, poisoned = apart(view, model, part)
            together = [one + other * mask for one, other, mask in zip(clean, poisoned, masks, strict=True)]
            step(view, model, optimizer, together, rate, len(part))
        return model

    def _benign(self, view: TrainingView, model: nn.Module, others: Tensor) -> list[Tensor]:
        """Return, for each weight, the sum of its absolute benign gradients."""
        total = [torch.zeros_like(parameter) for parameter in model.parameters()]
        with frozen_statistics(model):
            for part in itertools.islice(batches(view, others, 1), _MEASURED):
                found = gradient(model, loss_on(view, model, part))
                total = [one + other.abs() for one, other in zip(total, found, strict=True)]
        return total


def smallest(values: list[Tensor], share: float) -> list[Tensor]:
    """Return 1 for the `share` in [0, 1] of all numbers in `values` that are smallest, else 0; ties by position."""
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
