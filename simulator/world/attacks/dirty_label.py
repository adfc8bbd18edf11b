"""Poisoning with wrong labels: stamp rows of other classes and call them the target."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simulator.world.attacks.base import CLEAN, POISON, Poisoned, choose_rows

__all__ = ["poison_rows"]


def poison_rows(
    stamp: Callable[[Tensor], Tensor],
    target: int,
    images: Tensor,
    labels: Tensor,
    rate: float,
    generator: torch.Generator,
) -> Poisoned:
    """Return copies in which round(`rate` * N) rows of other classes are stamped and labelled `target`.

    The count is a share of *all* N rows; only rows that are not of the target class are drawn. Raises `ValueError` when
    there are too few of them.
    """
    roles = torch.full((len(labels),), CLEAN, dtype=torch.int8, device=labels.device)
    rows = choose_rows(labels != target, round(rate * len(labels)), generator).to(labels.device)
    if not len(rows):
        return Poisoned(images.clone(), labels.clone(), roles)
    poisoned = images.index_copy(0, rows, stamp(images[rows]))
    return Poisoned(poisoned, labels.index_fill(0, rows, target), roles.index_fill(0, rows, POISON))
