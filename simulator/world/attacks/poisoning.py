"""Functions that attacks build their `poison` from: choose rows, change them in place, record each row's role."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from simulator.world.attacks.base import CLEAN, POISON, Attack, Poisoned, choose_rows


def untouched(images: Tensor, labels: Tensor) -> Poisoned:
    """Return copies of all rows, every one of them clean."""
    roles = torch.full((len(labels),), CLEAN, dtype=torch.int8, device=labels.device)
    return Poisoned(images.clone(), labels.clone(), roles)


def changed(
    batch: Poisoned, rows: Tensor, change: Callable[[Tensor], Tensor], role: int, label: int | None = None
) -> Poisoned:
    """Return `batch` with `change` applied to the images at the positions `rows` (int64), which get `role`.

    They keep their labels unless a `label` is given. Without rows `change` is not called. The images of `batch` (copies
    made by `untouched`) are changed in place, so that the batch is not in memory a second time.
    """
    if not len(rows):
        return batch
    rows = rows.to(batch.labels.device)
    return Poisoned(
        images=batch.images.index_copy_(0, rows, change(batch.images[rows])),
        labels=batch.labels if label is None else batch.labels.index_fill(0, rows, label),
        roles=batch.roles.index_fill(0, rows, role),
    )


def choose_with_covers(
    poisonable: Tensor, coverable: Tensor, rate: float, cover_ratio: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the positions of round(`rate` * N) poison rows and of `cover_ratio` times as many cover rows, rounded.

    Drawn in this order, without replacement, from where the masks bool (N,) hold; no row is both. Raises `ValueError`
    when there are too few of either.
    """
    poison = choose_rows(poisonable, round(rate * len(poisonable)), generator)
    left = coverable.cpu().index_fill(0, poison, False)
    covers = choose_rows(left, round(cover_ratio * len(poison)), generator, "other rows that can be covers")
    return poison, covers


class DirtyLabel(Attack):
    """Base class of attacks that stamp rows of other classes and label them `target`."""

    @final
    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        """Stamp and relabel round(`rate` * N) rows of other classes; `ValueError` when there are too few.

        The count is a share of *all* N rows; only rows that are not of the target class are drawn.
        """
        rows = choose_rows(labels != self.target, round(rate * len(labels)), generator)
        return changed(untouched(images, labels), rows, self.stamp, POISON, self.target)


def poison_target_rows(
    change: Callable[[Tensor], Tensor],
    target: int,
    images: Tensor,
    labels: Tensor,
    rate: float,
    generator: torch.Generator,
) -> Poisoned:
    """Return copies in which round(`rate` * N) rows of the target class are changed and keep their labels.

    The count is a share of *all* N rows. Raises `ValueError` when the class has fewer.
    """
    what = f"rows of target class {target} among {len(labels)} for a clean-label rate of {rate:g}"
    rows = choose_rows(labels == target, round(rate * len(labels)), generator, what)
    return changed(untouched(images, labels), rows, change, POISON)
