"""What a training will do, known before it begins: rows, steps, learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from simulator import catalog
from simulator.errors import PluginError, ScenarioError
from simulator.production.training.schedules import Schedule
from simulator.scenario.model import Phase, Use

__all__ = ["Plan"]


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """`used` rows of each epoch, `steps` of the whole training, and the learning rate of each step."""

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
    rates = tuple(float(schedule.rate_at(step, steps)) for step in range(steps))
    for step, rate in enumerate(rates):
        if not (math.isfinite(rate) and rate >= 0):
            raise PluginError(
                f"expected schedule '{use.use}' to give a finite rate of at least 0, "
                f"got {rate} at step {step} of {steps}; correct it"
            )
    return rates
