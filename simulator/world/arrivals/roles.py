"""Who gets which rows of an arriving file.

How many rows an arriving file must bring, and what for.

Which labelled images the defender has in a period: those that have arrived, renewed as long as the scenario says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from simulator.scenario.model import Scenario
from simulator.seeds import generator
from simulator.world.sampling import stratified

__all__ = ["LEAST_TEST_ROWS", "Roles", "Split", "brings_trusted", "rows_needed", "split_rows", "trusted_period"]


def trusted_period(scenario: Scenario, period: int) -> int:
    """Return the period that the defender's images of `period` are from.

    Labels arrive `stream.label_delay` periods late, those of period 0 at once; and until `trusted.from` has come, the
    defender has the newest ones, as with `latest`.
    """
    arrived = max(0, period - scenario.stream.label_delay)
    renewed = scenario.trusted.from_
    return arrived if renewed == "latest" else min(arrived, renewed)


def brings_trusted(scenario: Scenario, period: int) -> bool:
    """Return whether rows that arrive in `period` are set apart for the defender, whenever their labels arrive."""
    return scenario.trusted.from_ == "latest" or period <= scenario.trusted.from_


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


@dataclass(frozen=True, slots=True)
class Split:
    """Positions int64 in a file, by role: disjoint, together at most all."""

    batch: Tensor
    trusted: Tensor
    test: Tensor


def split_rows(scenario: Scenario, period: int, labels: Tensor, classes: int) -> Split:
    """Return the roles of a file's rows, drawn by the seed and the period; `labels` int64 (N,) are the file's.

    All rows that are neither trained on nor the defender's are test rows; at most `stream.test` of them are read, each
    class with its share.
    """
    needed = rows_needed([scenario], period)
    order = torch.randperm(len(labels), generator=generator(scenario.seed, "stream", "file", period))
    batch, trusted, rest = order.split([needed.batch, needed.trusted, len(order) - needed.batch - needed.trusted])
    draw = generator(scenario.seed, "stream", "file", period, "test")
    return Split(batch, trusted, stratified(rest, labels, scenario.stream.test, classes, draw))
