"""Options of drifts that are refused, and data that a drift does not fit."""

from typing import Any

import pytest

from simulator.errors import PluginError
from simulator.scenario import catalog
from simulator.world.drift import Hue, LabelPrior


@pytest.mark.parametrize(
    ("use", "options", "sentence"),
    [
        ("rotation", {"at": -1}, "expected at to be at least 0, got -1; raise it"),
        ("rotation", {"every": 0}, "expected every to be at least 1, got 0; raise it"),
        ("brightness", {"amount": float("nan")}, "finite"),
        ("rotation", {"degree": 4}, "did you mean 'degrees'"),
        ("rotation", {"pattern": "slow"}, "'gradual', 'sudden', 'recurring' or 'none'"),
        ("noise", {"std": -0.1}, r"expected std to be at least 0\.0, got -0.1; raise it"),
        ("label-prior", {"share": 1.5}, r"expected share to be at most 1\.0, got 1.5; lower it"),
        ("none", {"at": 1}, "got 'at'"),
        ("rotate", {}, "did you mean 'rotation'"),
    ],
)
def test_a_bad_option_raises(use: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        catalog.build("drifts", use, options)


def test_a_hue_on_grey_images_raises() -> None:
    with pytest.raises(ValueError, match="expected images of 3 channels for a hue, got 1; use brightness or contrast"):
        Hue().check_fits((1, 28, 28), 10)


@pytest.mark.parametrize("favoured", [-1, 10])
def test_a_favoured_class_that_is_not_there_raises(favoured: int) -> None:
    with pytest.raises(ValueError, match=rf"expected favoured to be in \[0, 9\], got {favoured}"):
        LabelPrior(favoured=favoured).check_fits((1, 28, 28), 10)
