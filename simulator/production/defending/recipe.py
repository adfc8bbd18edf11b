"""How the platform would train, on its way to a defense that trains in its place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from defenses.base import Recipe
from simulator.production.training.fit import learning_rates, optimizer_of
from simulator.scenario.model import Phase, Use


class RecipeFacts(BaseModel):
    """A `Recipe` as values: its `optimizer` is the plug-in's name with its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    epochs: int
    batch: int
    rates: tuple[float, ...]
    optimizer: dict[str, Any]

    @staticmethod
    def of(phase: Phase, rows: int) -> RecipeFacts:
        """Return how the platform trains by `phase` on so many rows."""
        rates = learning_rates(rows, phase)
        return RecipeFacts(
            epochs=phase.epochs, batch=phase.batch, rates=rates, optimizer=phase.optimizer.model_dump(mode="json")
        )


def recipe_of(facts: RecipeFacts) -> Recipe:
    """Return the recipe as a defense sees it."""
    use = Use.model_validate(facts.optimizer)

    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return optimizer_of(use, list(parameters))

    return Recipe(facts.epochs, facts.batch, facts.rates, optimizer)
