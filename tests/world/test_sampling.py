"""Sampling of rows, on hand-worked numbers."""

import pytest
import torch

from simulator.errors import SourceError
from simulator.world.sampling import largest_remainder, stratified, take, take_classes


@pytest.mark.parametrize(
    ("shares", "total", "counts"),
    [
        # the textbook example of Hamilton's method: populations 47, 16, 15.8, 12, 6.1, 3.1 for 10 seats
        ([0.47, 0.16, 0.158, 0.12, 0.061, 0.031], 10, [5, 2, 1, 1, 1, 0]),
        ([0.25, 0.25, 0.25, 0.25], 6, [2, 2, 1, 1]),
        ([0.1, 0.2, 0.7], 30, [3, 6, 21]),  # 0.1 * 30 is not 3 in floating point
        ([1.0, 0.0], 7, [7, 0]),
        ([0.5, 0.5], 0, [0, 0]),
    ],
)
def test_largest_remainder(shares: list[float], total: int, counts: list[int]) -> None:
    assert largest_remainder(torch.tensor(shares, dtype=torch.float64), total).tolist() == counts


def test_take_hands_out_in_order() -> None:
    rows, rest = take(torch.tensor([5, 3, 9, 1]), 3)
    assert (rows.tolist(), rest.tolist()) == ([5, 3, 9], [1])


def test_take_classes_hands_out_the_next_rows_of_each_class() -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 2])
    rows, rest = take_classes(torch.tensor([6, 4, 5, 0, 2, 1]), labels, torch.tensor([2, 1, 0]))
    assert (rows.tolist(), rest.tolist()) == ([4, 5, 0], [6, 2, 1])


def test_stratified_keeps_the_mix() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    rows = stratified(torch.arange(100), labels, 20, 3, torch.Generator().manual_seed(0))
    assert torch.bincount(labels[rows]).tolist() == [12, 6, 2]
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert stratified(torch.tensor([7, 3]), labels, 5, 3, torch.Generator()).tolist() == [3, 7]


def test_a_rare_class_gets_a_row_of_a_sample_at_the_expense_of_the_largest() -> None:
    labels = torch.tensor([0] * 600 + [1] * 398 + [2] * 2)  # of 100 rows 60, 39.8 and 0.2
    rows = stratified(torch.arange(1000), labels, 100, 3, torch.Generator().manual_seed(0))
    assert torch.bincount(labels[rows]).tolist() == [59, 40, 1]
    few = stratified(torch.arange(1000), labels, 2, 3, torch.Generator())
    assert torch.bincount(labels[few], minlength=3).tolist() == [1, 1, 0]  # two rows cannot hold three classes


def test_too_few_rows_raise() -> None:
    with pytest.raises(SourceError, match="expected 3 unused rows, got 2"):
        take(torch.arange(2), 3)
    with pytest.raises(SourceError, match="expected 2 unused rows of class 1, got 1"):
        take_classes(torch.arange(3), torch.tensor([0, 1, 0]), torch.tensor([1, 2]))
