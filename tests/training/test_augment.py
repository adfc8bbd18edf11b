"""Augmentation against slow loops."""

from __future__ import annotations

import pytest
import torch

from simulator.production.training.augment import crop, draw, flip, margin

CPU = torch.device("cpu")


def test_crop_equals_a_loop_over_padded_images():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(25, 3, 16, 8, generator=generator)
    shifts = torch.tensor([(down, right) for down in (-2, -1, 0, 1, 2) for right in (-1, 0, 1, 0, -1)])
    padded = torch.zeros(25, 3, 20, 10)
    padded[:, :, 2:18, 1:9] = images
    expected = torch.stack([padded[i, :, 2 - d : 18 - d, 1 - r : 9 - r] for i, (d, r) in enumerate(shifts.tolist())])
    assert torch.equal(crop(images, shifts), expected)


def test_crop_moves_down_and_right_and_fills_with_zero():
    image = torch.ones(1, 1, 8, 8)
    moved = crop(image, torch.tensor([[1, -1]]))[0, 0]
    assert moved[0].tolist() == [0.0] * 8
    assert moved[1].tolist() == [1.0] * 7 + [0.0]


def test_flip_mirrors_only_the_chosen_rows():
    images = torch.tensor([[[[1.0, 2.0, 3.0]]], [[[4.0, 5.0, 6.0]]]])
    assert flip(images, torch.tensor([True, False])).flatten().tolist() == [3, 2, 1, 4, 5, 6]


@pytest.mark.parametrize(("size", "expected"), [(8, 1), (28, 4), (32, 4), (64, 8), (224, 28)])
def test_margin_is_four_pixels_at_32(size, expected):
    assert margin(size) == expected


def test_plan_reaches_every_shift_and_flips_half():
    plan = draw("crop-flip", 20000, (8, 32), torch.Generator().manual_seed(0), CPU)
    assert sorted(plan.shifts[:, 0].unique().tolist()) == [-1, 0, 1]
    assert sorted(plan.shifts[:, 1].unique().tolist()) == list(range(-4, 5))
    # Five standard errors of a share of 0.5 among 20,000.
    assert plan.flips.float().mean().item() == pytest.approx(0.5, abs=5 * (0.25 / 20000) ** 0.5)


def test_plan_belongs_to_rows_not_to_batches():
    images = torch.rand(6, 1, 8, 8)
    plan = draw("crop-flip", 6, (8, 8), torch.Generator().manual_seed(3), CPU)
    rows = torch.tensor([4, 1])
    assert torch.equal(plan.apply(images[rows], rows), plan.apply(images, torch.arange(6))[rows])


@pytest.mark.parametrize(("kind", "shifts", "flips"), [("none", 0, 0), ("crop", 1, 0), ("flip", 0, 1)])
def test_each_kind_draws_its_own(kind, shifts, flips):
    plan = draw(kind, 5, (8, 8), torch.Generator().manual_seed(0), CPU)
    assert (plan.shifts is not None, plan.flips is not None) == (bool(shifts), bool(flips))
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(plan.apply(images, torch.arange(5)), images) == (kind == "none")
