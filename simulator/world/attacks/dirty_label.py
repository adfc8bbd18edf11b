"""Poisoning with wrong labels: stamp rows of other classes and call them the target."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simulator.world.attacks.base import POISON, Poisoned, choose_rows
from simulator.world.attacks.changed import changed, untouched

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
    rows = choose_rows(labels != target, round(rate * len(labels)), generator)
    return changed(untouched(images, labels), rows, stamp, POISON, target)
