"""Sampling without replacement: counts for shares, the next unused rows, rows of given classes. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from simulator.errors import SourceError


def largest_remainder(shares: Tensor, total: int) -> Tensor:
    """Return int64 counts that sum to `total` in proportion to `shares` (sum 1), by the largest remainder method.

    Of equal remainders the lower index is rounded up.

    >>> largest_remainder(torch.tensor([0.5, 0.25, 0.25]), 5)
    tensor([3, 1, 1])
    """
    quota = (shares.double() * total).round(decimals=9)  # so that 0.1 * 30 is 3, and equal remainders are equal
    counts = quota.floor().long()
    order = (quota - counts).round(decimals=9).argsort(descending=True, stable=True)
    counts[order[: total - int(counts.sum())]] += 1
    return counts


def class_counts(labels: Tensor, classes: int) -> Tensor:
    """Return the rows of each class int64 (classes,)."""
    return torch.bincount(labels, minlength=classes)


def drawn_classes(shares: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` classes, each drawn by `shares` (sum 1), int64."""
    return torch.multinomial(shares.double(), count, replacement=True, generator=generator)


def shuffled(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return `rows` in a drawn order."""
    return rows[torch.randperm(len(rows), generator=generator)]


def take(unused: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the next `count` rows of `unused` and the rest. Raises `SourceError` when there are fewer."""
    if count > len(unused):
        raise SourceError(f"expected {count} unused rows, got {len(unused)}; ask for fewer")
    return unused[:count], unused[count:]


def take_classes(unused: Tensor, labels: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next `counts[c]` rows of each class c of `unused`, in order, and the rest.

    `labels` are those of all rows of the source. Raises `SourceError` naming the first class with too few rows.
    """
    mine = labels[unused]
    chosen = torch.zeros(len(unused), dtype=torch.bool)
    for label, count in enumerate(counts.tolist()):
        found = (mine == label).nonzero().flatten()
        if count > len(found):
            raise SourceError(f"expected {count} unused rows of class {label}, got {len(found)}; ask for fewer")
        chosen[found[:count]] = True
    return unused[chosen], unused[~chosen]


def stratified(rows: Tensor, labels: Tensor, count: int, classes: int, generator: torch.Generator) -> Tensor:
    """Return `count` of `rows`, ascending, each class with its share of them (largest remainder); all if fewer.

    A class whose share rounds to no row gets one all the same, at the expense of the class with the most, as long as
    some class has more than one: a class without a test row cannot be measured.
    """
    if count >= len(rows):
        return rows.sort().values
    sizes = class_counts(labels[rows], classes)
    counts = _one_of_each(largest_remainder(sizes / sizes.sum(), count), sizes)
    return take_classes(shuffled(rows, generator), labels, counts)[0].sort().values


def _one_of_each(counts: Tensor, sizes: Tensor) -> Tensor:
    """Return `counts` with a row for every class of `sizes` that has rows; the sum stays."""
    for label in ((counts == 0) & (sizes > 0)).nonzero().flatten().tolist():
        largest = int(counts.argmax())
        if counts[largest] < 2:
            break
        counts[largest] -= 1
        counts[label] += 1
    return counts
