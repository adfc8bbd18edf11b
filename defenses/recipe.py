"""How the platform would train, for a defense that trains in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train on a window.

    `epochs` passes over its rows, `batch` rows a step, `rates` the learning rate of each step of a training on the
    whole window. `optimizer` makes the scenario's optimizer for parameters, at a learning rate to be set before each
    step (`group["lr"]` of its parameter groups).
    """

    epochs: int
    batch: int
    rates: tuple[float, ...]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

    def batches(self, rows: int, generator: torch.Generator) -> list[Tensor]:
        """Return the rows of each step, int64, in a new order each epoch; a last batch that is not full is left out.

        With fewer rows than a batch, each epoch is one step.

        >>> recipe = Recipe(2, 2, (0.1,) * 4, lambda found: torch.optim.SGD(found, lr=0.1))
        >>> [len(rows) for rows in recipe.batches(5, torch.Generator().manual_seed(0))]
        [2, 2, 2, 2]
        """
        steps = max(1, rows // self.batch)
        orders = (torch.randperm(rows, generator=generator) for _ in range(self.epochs))
        return [part for order in orders for part in order.split(self.batch)[:steps]]

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of `step` of `steps`: the scenario's, stretched where the training is not as long.

        >>> Recipe(1, 2, (0.1, 0.2), lambda found: torch.optim.SGD(found, lr=0.1)).rate(3, 4)
        0.2
        """
        return self.rates[min(len(self.rates) - 1, step * len(self.rates) // steps)]
