"""The order in which the platform hands over rows says nothing, so that a verdict must not depend on it.

What is said of the same row is compared. Where nothing is drawn by a row's number, the only difference can be rounding:
sums are taken in another order. Where it is (a method draws trusted images by their number, or trains on rows in a
random order), another order is another draw, and verdicts agree as those of two seeds do.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulator.checks.example import example
from simulator.scenario import catalog
from tests.defenses.retold import REDRAWN, agreement, incoming_of, ours, said, shuffled, trusted_in, usual, window_in

#: rounding may move a row over a threshold that lies between two nearly equal scores: some rows in a hundred
ROUNDING = 0.99
#: filters and screens that draw trusted images by lot: their threshold is another quantile of other images. One of 100
#: calibrating images at 5 % refuses 1.6 to 9.9 % of clean ones (Beta(5, 96), 95 %), so that two differ on a twelfth of
#: them; and of stamped ones on a third, where a method knows them. Half of the images are stamped, a tenth of the rows
LOTS = {"strip": 0.8, "strip-filter": 0.9, "scale-up": 0.9, "ted": 0.8}


@pytest.mark.parametrize("name", ours("filter"))
def test_a_filter_judges_rows_and_not_their_places(name: str) -> None:
    order = shuffled(len(example().poison))
    after = said(name, window_in(order, example()))
    assert agreement(_taken(usual(name), order), after) >= ROUNDING


@pytest.mark.parametrize("name", ours("screen"))
def test_a_screen_judges_images_and_not_their_places(name: str) -> None:
    images = incoming_of(example())
    order = shuffled(len(images))
    after = said(name, example(), incoming=images[order])
    assert agreement(_taken(usual(name), order), after) >= ROUNDING


@pytest.mark.parametrize("name", ours("filter", "screen"))
def test_trusted_images_serve_in_any_order(name: str) -> None:
    order = shuffled(len(example().trusted))
    found = agreement(usual(name), said(name, trusted_in(order, example())))
    assert found >= LOTS.get(name, ROUNDING)


@pytest.mark.parametrize("name", ours("filter", "screen"))
def test_trusted_images_serve_when_sorted_by_class(name: str) -> None:
    order = example().trusted.labels.argsort(stable=True)
    found = agreement(usual(name), said(name, trusted_in(order, example())))
    assert found >= LOTS.get(name, ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("name", ours("inspector"))
def test_an_inspector_says_the_same_of_a_clean_model(name: str) -> None:
    order = shuffled(len(example().trusted))
    other = window_in(shuffled(len(example().poison)), trusted_in(order, example()))
    assert agreement(usual(name, "clean"), said(name, other, "clean")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ours("training", "repair"))
def test_a_model_made_from_rows_in_another_order_answers_alike(name: str) -> None:
    order = shuffled(len(example().trusted))
    other = window_in(shuffled(len(example().poison)), trusted_in(order, example()))
    assert agreement(usual(name), said(name, other)) >= REDRAWN[catalog.build("defenses", name).surface]


def _taken(words: Tensor | None, order: Tensor) -> Tensor | None:
    return None if words is None else torch.as_tensor(words[order])
