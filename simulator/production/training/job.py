"""A training as values: the job, its plan (rows, steps, learning rates), its result, and third-party trainers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from simulator.batch import Batch
from simulator.errors import PluginError, ScenarioError
from simulator.guard.call import guarded
from simulator.production.training.schedules import Schedule, rates_of
from simulator.scenario import catalog
from simulator.scenario.model import Phase, Recipe, Use

#: the largest learning rate: one that float32 holds with room for a product
LARGEST_RATE = 1e30


@dataclass(frozen=True, slots=True)
class Trained:
    """A result: `model` in eval mode, `samples` images seen (with repeats), optimizer `steps`, mean `losses` by epoch.

    A third-party `Trainer` may leave samples and steps unknown (None), and gives no losses.
    """

    model: nn.Module
    samples: int | None
    steps: int | None
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A training to be done: a copy of `start` on `rows`, as `fit` does it with the other fields."""

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
        """The trainer's name, for the record."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """JSON values that, with a job, decide the outcome."""

    @abstractmethod
    def train(self, job: Job) -> Trained:
        """Return a network of the job's architecture; the same job gives the same one. Raises `PluginError`."""


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What a training will do: `used` rows of each epoch, `steps` in all, and the learning rate of each step."""

    used: int
    steps: int
    rates: tuple[float, ...]

    @staticmethod
    def of(count: int, phase: Phase) -> Plan:
        if count < 2:
            raise ScenarioError(
                f"expected at least 2 rows to train on, got {count}; bring more rows a period, or filter out fewer"
            )
        used = count - 1 if count % phase.batch == 1 else count
        steps = phase.epochs * math.ceil(used / phase.batch)
        return Plan(used, steps, _rates(phase.schedule, steps))


def _rates(use: Use, steps: int) -> tuple[float, ...]:
    schedule: Schedule = catalog.build("schedules", use.use, use.options)
    with guarded(catalog.plugin("schedules", use.use), {}):
        rates = rates_of(schedule, steps)
    for step, rate in enumerate(rates):
        if not 0 <= rate <= LARGEST_RATE:
            raise PluginError(
                f"expected schedule '{use.use}' to give a finite rate of at least 0, at most {LARGEST_RATE:g}, "
                f"got {rate} at step {step} of {steps}; correct it"
            )
    return rates
