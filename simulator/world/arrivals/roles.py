"""How the rows of a period are split: to train on, for the defender (trusted rows), and to test on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from simulator.scenario.model import Scenario
from simulator.seeds import generator
from simulator.world.sampling import stratified


def trusted_period(scenario: Scenario, period: int) -> int:
    """Return the period that the defender's labelled images in `period` are from, at most `period`.

    Labels arrive `stream.label_delay` periods late, those of period 0 at once. The images are replaced by newer ones in
    every period (`trusted.from: latest`), or up to the period `trusted.from`.
    """
    arrived = max(0, period - scenario.stream.label_delay)
    last = scenario.trusted.from_
    return arrived if last == "latest" else min(arrived, last)


def brings_trusted(scenario: Scenario, period: int) -> bool:
    """Return whether some rows of `period` are reserved for the defender, even if their labels arrive later."""
    return scenario.trusted.from_ == "latest" or period <= scenario.trusted.from_


#: fewer test rows are refused: with 50, one row changes a measured share by 2 points
LEAST_TEST_ROWS = 50


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Numbers of rows that a file must have: to train on, for the defender, and, at least, to test on."""

    batch: int
    trusted: int
    test: int = LEAST_TEST_ROWS

    @property
    def total(self) -> int:
        """The rows that the file must have in all."""
        return self.batch + self.trusted + self.test

    def __str__(self) -> str:
        return f"{self.batch} to train on, {self.trusted} for the defender, {self.test} to test on"


def rows_needed(arms: Iterable[Scenario], period: int) -> RowCounts:
    """Return the rows that the file of `period` must have: the largest need of a run's `arms`."""
    needs = [RowCounts(arm.stream.batch, arm.trusted.images if brings_trusted(arm, period) else 0) for arm in arms]
    return max(needs, key=lambda roles: roles.total)


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint positions int64 in a file, by role."""

    batch: Tensor
    trusted: Tensor
    test: Tensor


def split_rows(scenario: Scenario, period: int, labels: Tensor, classes: int) -> Split:
    """Return a random split of a file's rows, seeded by scenario and period; `labels` int64 (N,) are the file's.

    Rows that are neither trained on nor the defender's are test rows: at most `stream.test` of them, stratified by
    class.
    """
    needed = rows_needed([scenario], period)
    order = torch.randperm(len(labels), generator=generator(scenario.seed, "stream", "file", period))
    batch, trusted, rest = order.split([needed.batch, needed.trusted, len(order) - needed.batch - needed.trusted])
    draw = generator(scenario.seed, "stream", "file", period, "test")
    return Split(batch, trusted, stratified(rest, labels, scenario.stream.test, classes, draw))
