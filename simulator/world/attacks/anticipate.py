"""A backdoor trained to be there after clean updates that are still to come."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from simulator.world.attacks.descent import batches, gradient, held_statistics, loss_on, step
from simulator.world.attacks.durable import Durable, at_least_one, positive
from simulator.world.attacks.training import TrainingView

__all__ = ["Anticipate"]


@final
class Anticipate(Durable):
    """Anticipation of updates: poison is learned at weights that a simulated future of clean steps leads to.

    After the platform's own training on the poisoned rows come `epochs` passes at a learning rate that falls in a line
    from `rate` to 0. At each of their steps a copy of the network takes one clean step at `update_rate`, which is what
    the attacker expects of the platform; it is set back to the network every `updates` steps. The network follows the
    gradient of its own loss plus that of the copy's loss on `poison_batch` poisoned rows, as if the copy's weights
    were its own (first order).

    Wen, Geiping, Fowl, Souri, Chellappa, Goldblum and Goldstein, "Thinking Two Moves Ahead: Anticipating Other Users
    Improves Backdoor Attacks in Federated Learning", 2022 (9 anticipated steps in its code). Deviations: one training
    instead of federated rounds; first order, where the paper differentiates through the steps; the future is the
    attacker's own clean rows of today, without the drift to come.
    """

    def __init__(
        self,
        *,
        target: int = 0,
        trigger: Mapping[str, Any] | None = None,
        updates: int = 9,
        update_rate: float = 0.05,
        epochs: int = 2,
        rate: float = 0.02,
        poison_batch: int = 64,
    ) -> None:
        super().__init__(target, trigger)
        self.updates = at_least_one("updates", updates)
        self.update_rate = positive("update_rate", update_rate)
        self.epochs = at_least_one("epochs", epochs)
        self.rate = positive("rate", rate)
        self.poison_batch = at_least_one("poison_batch", poison_batch)

    def train_on(self, view: TrainingView, poison: Tensor, others: Tensor) -> nn.Module:
        """Train as the platform does, then with the future in view."""
        model = view.fit(view.model, view.images, view.labels).train()
        optimizer = view.optimizer(model.parameters())
        later = self._later(view, model, poison, others)
        plan = list(batches(view, torch.cat([poison, others]), self.epochs))
        for place, part in enumerate(plan):
            ahead = next(later)
            now = gradient(model, loss_on(view, model, part))
            together = [mine + coming for mine, coming in zip(now, ahead, strict=True)]
            step(view, model, optimizer, together, self.rate * (1 - place / len(plan)), len(part) + self.poison_batch)
        return model

    def _later(self, view: TrainingView, model: nn.Module, poison: Tensor, others: Tensor) -> Iterator[list[Tensor]]:
        """Yield the gradients of the poison's loss along simulated futures, each from where `model` then stands."""
        clean = _without_end(view, others, view.batch)
        stamped = _without_end(view, poison, max(2, self.poison_batch))
        while True:
            future = copy.deepcopy(model)
            optimizer = view.optimizer(future.parameters())
            for part in itertools.islice(clean, self.updates):
                found = gradient(future, loss_on(view, future, part))
                step(view, future, optimizer, found, self.update_rate, len(part))
                with held_statistics(future):
                    found = gradient(future, loss_on(view, future, next(stamped)))
                yield found


def _without_end(view: TrainingView, rows: Tensor, size: int) -> Iterator[Tensor]:
    while True:
        yield from batches(view, rows, 1, size)
