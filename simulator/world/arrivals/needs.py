"""How many rows an arriving file must bring, and what for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulator.scenario.model import Scenario
from simulator.world.labelled import brings_trusted

__all__ = ["LEAST_TEST_ROWS", "Roles", "rows_needed"]

#: fewer test rows than these say nothing: one row more or less moves a share by 2 points
LEAST_TEST_ROWS = 50


@dataclass(frozen=True, slots=True)
class Roles:
    """Rows that a file must bring: to train on, for the defender, and at least this many to test on."""

    batch: int
    trusted: int
    test: int = LEAST_TEST_ROWS

    @property
    def total(self) -> int:
        """All of them."""
        return self.batch + self.trusted + self.test

    def __str__(self) -> str:
        return f"{self.batch} to train on, {self.trusted} for the defender, {self.test} to test on"


def rows_needed(arms: Iterable[Scenario], period: int) -> Roles:
    """Return what the file of `period` must bring for the neediest of a run's `arms`."""
    needs = [Roles(arm.stream.batch, arm.trusted.images if brings_trusted(arm, period) else 0) for arm in arms]
    return max(needs, key=lambda roles: roles.total)
