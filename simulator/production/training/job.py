"""One training to be done, and who may do it in place of the platform."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import nn

from simulator.batch import Batch
from simulator.production.training.result import Trained
from simulator.scenario.model import Phase, Recipe

__all__ = ["Job", "Trainer"]


@dataclass(frozen=True, slots=True)
class Job:
    """A copy of `start` is to be trained on `rows`, as `fit` would with the other fields; `start` is left alone."""

    start: nn.Module
    rows: Batch
    phase: Phase
    recipe: Recipe
    seed: int
    update: bool


class Trainer(ABC):
    """Trains in place of the platform's own training."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Who that is, for the record."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """JSON values that, with a job, decide the outcome."""

    @abstractmethod
    def train(self, job: Job) -> Trained:
        """Return a network of the job's architecture; the same job gives the same one. Raises `PluginError`."""
