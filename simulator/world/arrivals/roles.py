"""Who gets which rows of an arriving file."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simulator.scenario.model import Scenario
from simulator.seeds import generator
from simulator.world.allot import stratified
from simulator.world.arrivals.needs import rows_needed

__all__ = ["Split", "split_rows"]


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
