"""Attacks that cannot be."""

from typing import Any

import pytest
import torch

from simulator import catalog
from simulator.errors import PluginError
from simulator.world.attacks.base import Attack


@pytest.mark.parametrize(
    ("use", "options", "sentence"),
    [
        ("patch", {"size": 0}, "expected size >= 1 and margin >= 0, got 0 and 0"),
        ("patch", {"margin": -1}, "expected size >= 1 and margin >= 0, got 3 and -1"),
        ("patch", {"value": 1.5}, r"expected value to be a brightness in \[0, 1\], got 1.5"),
        ("patch", {"pattern": "black"}, "'white', 'checkerboard' or 'noise'"),
        ("patch", {"place": "centre"}, "place"),
        ("patch", {"place": [1, 2, 3]}, "place"),
        ("patch", {"corner": "top-left"}, "got 'corner'"),
        ("blend", {"alpha": 0.0}, r"expected alpha to be in \(0, 1\], got 0.0"),
        ("blend", {"alpha": 1.1}, r"expected alpha to be in \(0, 1\], got 1.1"),
        ("none", {"target": 1}, "got 'target'"),
        ("blended", {}, "did you mean 'blend'"),
    ],
)
def test_a_bad_option_raises(use: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        catalog.build("attacks", use, options)


@pytest.mark.parametrize("use", ["patch", "blend"])
@pytest.mark.parametrize("target", [-1, 10])
def test_a_target_out_of_range_raises(use: str, target: int) -> None:
    attack: Attack = catalog.build("attacks", use, {"target": target})
    with pytest.raises(ValueError, match=rf"expected target to be in \[0, 9\], got {target}; choose a class"):
        attack.check_fits((1, 28, 28), 10)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"size": 8, "margin": 1}, "size 8 at row -1, column -1"),
        ({"size": 9, "margin": 0}, "size 9 at row -1, column -1"),
        ({"size": 3, "margin": 6, "place": "top-left"}, "size 3 at row 6, column 6"),
        ({"place": [6, 0]}, "size 3 at row 6, column 0"),
        ({"place": [0, -1]}, "size 3 at row 0, column -1"),
    ],
)
def test_a_patch_that_does_not_fit_raises(options: dict[str, Any], where: str) -> None:
    attack: Attack = catalog.build("attacks", "patch", options)
    with pytest.raises(ValueError, match=f"to lie inside images of 8 x 8 pixels, got {where}; make it smaller"):
        attack.check_fits((1, 8, 8), 10)


def test_a_patch_that_just_fits_does_not_raise() -> None:
    catalog.build("attacks", "patch", {"size": 7}).check_fits((1, 8, 8), 10)
    catalog.build("attacks", "patch", {"size": 8, "margin": 0}).check_fits((1, 8, 8), 10)


@pytest.mark.parametrize("use", ["patch", "blend"])
def test_too_few_rows_of_other_classes_raise(use: str) -> None:
    attack: Attack = catalog.build("attacks", use)
    labels = torch.tensor([0, 0, 0, 1])
    with pytest.raises(ValueError, match="expected at least 2 rows that can be poisoned, got 1; lower the rate"):
        attack.poison(torch.zeros(4, 1, 8, 8), labels, 0.5, torch.Generator())
