"""A backdoor trained to survive clean updates that are still to come."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from simulator.scenario.bounds import Count, Positive
from simulator.world.attacks.descent import batches, frozen_statistics, gradient, loss_on, step
from simulator.world.attacks.durable import Durable
from simulator.world.attacks.training import TrainingView


@final
@dataclass(eq=False, kw_only=True)
class Anticipate(Durable):
    """Anticipation of updates: the backdoor is trained at the weights that simulated clean updates lead to.

    The platform's own training on the poisoned rows is followed by `epochs` passes at a learning rate that falls
    linearly from `rate` to 0. At each step a copy of the network takes one clean step at the learning rate
    `update_rate`, which is what the attacker expects of the platform; it is reset to the network every `updates` steps.
    The network follows the gradient of its own loss plus that of the copy's loss on `poison_batch` poisoned rows,
    applied as if the copy's weights were its own (first order).

    Wen, Geiping, Fowl, Souri, Chellappa, Goldblum and Goldstein, "Thinking Two Moves Ahead: Anticipating Other Users
    Improves Backdoor Attacks in Federated Learning", 2022 (9 anticipated steps in its code). Deviations: one training
    instead of federated rounds; first order, where the paper differentiates through the steps; the simulated updates
    use the attacker's own clean rows of this period, without the drift to come. The paper's figures are for federated
    rounds; none is quoted.

    >>> attack = Anticipate(updates=3, trigger={"use": "patch", "size": 1})
    >>> attack.threat_model, attack.stamp(torch.zeros(1, 1, 8, 8))[0, 0, 7, 6:].tolist()
    ('controls-training', [0.0, 1.0])
    """

    updates: Count = 9
    update_rate: Positive = 0.05
    epochs: Count = 2
    rate: Positive = 0.02
    poison_batch: Count = 64

    def train_on(self, view: TrainingView, poison: Tensor, others: Tensor) -> nn.Module:
        """Train as the platform does, then against simulated updates."""
        model = view.fit(view.model, view.images, view.labels).train()
        optimizer = view.optimizer(model.parameters())
        later = self._later(view, model, poison, others)
        plan = list(batches(view, torch.cat([poison, others]), self.epochs))
        for number, part in enumerate(plan):
            ahead = next(later)
            now = gradient(model, loss_on(view, model, part))
            together = [mine + coming for mine, coming in zip(now, ahead, strict=True)]
            step(view, model, optimizer, together, self.rate * (1 - number / len(plan)), len(part) + self.poison_batch)
        return model

    def _later(self, view: TrainingView, model: nn.Module, poison: Tensor, others: Tensor) -> Iterator[list[Tensor]]:
        """Yield the gradients of the poison's loss along simulated futures, each from where `model` then stands."""
        clean = _endless(view, others, view.batch)
        stamped = _endless(view, poison, max(2, self.poison_batch))
        while True:
            future = copy.deepcopy(model)
            optimizer = view.optimizer(future.parameters())
            for part in itertools.islice(clean, self.updates):
                found = gradient(future, loss_on(view, future, part))
                step(view, future, optimizer, found, self.update_rate, len(part))
                with frozen_statistics(future):
                    found = gradient(future, loss_on(view, future, next(stamped)))
                yield found


def _endless(view: TrainingView, rows: Tensor, size: int) -> Iterator[Tensor]:
    while True:
        yield from batches(view, rows, 1, size)
