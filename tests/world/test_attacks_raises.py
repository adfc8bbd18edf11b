"""Options of attacks that are refused, and data that an attack does not fit."""

from typing import Any

import pytest
import torch

from simulator.errors import PluginError
from simulator.scenario import catalog
from simulator.world.attacks.adaptive_blend import AdaptiveBlend
from simulator.world.attacks.base import Attack
from simulator.world.attacks.gradient_aligned import GradientAligned
from simulator.world.attacks.label_consistent import LabelConsistent
from simulator.world.attacks.low_frequency import LowFrequency
from simulator.world.attacks.sig import Sig
from simulator.world.attacks.tact import TaCT
from simulator.world.attacks.wanet import WaNet


@pytest.mark.parametrize(
    ("use", "options", "sentence"),
    [
        ("patch", {"size": 0}, "expected size to be at least 1, got 0; raise it"),
        ("patch", {"margin": -1}, "expected margin to be at least 0, got -1; raise it"),
        ("patch", {"value": 1.5}, r"expected value to be at most 1\.0, got 1.5; lower it"),
        ("patch", {"pattern": "black"}, "'white', 'checkerboard' or 'noise'"),
        ("patch", {"place": "centre"}, "place"),
        ("patch", {"place": [1, 2, 3]}, "place"),
        ("patch", {"corner": "top-left"}, "got 'corner'"),
        ("blend", {"alpha": 0.0}, r"expected alpha to be above 0\.0, got 0.0; raise it"),
        ("blend", {"alpha": 1.1}, r"expected alpha to be at most 1\.0, got 1.1; lower it"),
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


@pytest.mark.parametrize(
    ("attack", "options", "sentence"),
    [
        (Sig, {"delta": 0.0}, r"expected delta to be above 0\.0, got 0.0; raise it"),
        (Sig, {"delta": 40.0}, r"expected delta to be at most 1\.0, got 40.0; lower it"),
        (Sig, {"frequency": 0}, "expected frequency to be at least 1, got 0; raise it"),
        (LowFrequency, {"amplitude": 1.5}, r"expected amplitude to be at most 1\.0, got 1.5; lower it"),
        (LowFrequency, {"frequencies": ()}, r"expected frequencies to be pairs of half-cycles, not both 0, got \[\]"),
        (LowFrequency, {"frequencies": ((1, 2), (0, 0))}, r"not both 0, got \[\[1, 2\], \[0, 0\]\]"),
        (LowFrequency, {"frequencies": ((-1, 2),)}, r"got \[\[-1, 2\]\]"),
        (WaNet, {"grid": 1}, "expected grid to be at least 2, got 1; raise it"),
        (WaNet, {"strength": 0.0}, r"expected strength to be above 0\.0, got 0.0; raise it"),
        (WaNet, {"cover_ratio": -1.0}, r"expected cover_ratio to be at least 0\.0, got -1.0; raise it"),
        (WaNet, {"strength": float("nan")}, "expected strength to be a finite number, got NaN; write one"),
        (TaCT, {"sources": ()}, "expected sources and covers to name at least one class, got none"),
        (TaCT, {"covers": ()}, "expected sources and covers to name at least one class, got none"),
        (TaCT, {"cover_ratio": -0.5}, r"expected cover_ratio to be at least 0\.0, got -0.5; raise it"),
        (TaCT, {"size": 0}, "expected size to be at least 1, got 0; raise it"),
        (AdaptiveBlend, {"train_alpha": 0.0}, r"expected train_alpha to be above 0\.0, got 0.0; raise it"),
        (AdaptiveBlend, {"test_alpha": 2.0}, r"expected test_alpha to be at most 1\.0, got 2.0; lower it"),
        (AdaptiveBlend, {"pieces": 12}, "expected pieces to be a square number, got 12"),
        (AdaptiveBlend, {"shown": 17}, r"expected shown to be in \[1, 16\] pieces, got 17"),
        (AdaptiveBlend, {"shown": 0}, "expected shown to be at least 1, got 0; raise it"),
        (
            AdaptiveBlend,
            {"cover_ratio": float("inf")},
            "expected cover_ratio to be a finite number, got Infinity",
        ),
        (LabelConsistent, {"eps": 51.0}, r"expected eps to be at most 1\.0, got 51.0; lower it"),
        (LabelConsistent, {"eps": -0.1}, r"expected eps to be at least 0\.0, got -0.1; raise it"),
        (LabelConsistent, {"steps": 0}, "expected steps to be at least 1, got 0; raise it"),
        (LabelConsistent, {"corners": ()}, r"expected corners to name each corner once, got \[\]"),
        (LabelConsistent, {"corners": ("top-left", "top-left")}, "expected corners to name each corner once"),
        (LabelConsistent, {"size": 0}, "expected size to be at least 1, got 0; raise it"),
        (LabelConsistent, {"surrogate_rows": 1}, "expected surrogate_rows to be at least 2, got 1; raise it"),
        (GradientAligned, {"surrogate_epochs": 0}, "expected surrogate_epochs to be at least 1, got 0; raise it"),
        (GradientAligned, {"steps": 0}, "expected steps to be at least 1, got 0; raise it"),
        (GradientAligned, {"step": 0.0}, r"expected step to be above 0\.0, got 0.0; raise it"),
        (GradientAligned, {"surrogate_rate": 1.0}, r"expected surrogate_rate to be below 1\.0, got 1.0; lower it"),
        (GradientAligned, {"size": 0}, "expected size to be at least 1, got 0; raise it"),
    ],
)
def test_an_option_out_of_range_raises(attack: type[Attack], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        attack(**options)


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (Sig(frequency=4), "expected a wave that images of 8 columns show, got 4 cycles, which vanish in every column"),
        (LowFrequency(frequencies=((8, 0),)), r"expected frequencies below 8 and 8 half-cycles.*got \[\[8, 0\]\]"),
        (WaNet(grid=9), "expected a field no finer than images of 8 x 8 pixels, got 9 vectors a side"),
        (AdaptiveBlend(pieces=81), "expected pieces of at least a pixel in images of 8 x 8 pixels, got 81 pieces"),
        (TaCT(size=9), "expected the patch to lie inside images of 8 x 8 pixels"),
        (LabelConsistent(size=9), "expected the patch to lie inside images of 8 x 8 pixels, got size 9"),
        (LabelConsistent(target=4), r"expected target to be in \[0, 3\], got 4"),
        (
            GradientAligned(size=5, margin=4),
            "expected the patch to lie inside images of 8 x 8 pixels, got size 5 at row -1",
        ),
        (GradientAligned(target=-1), r"expected target to be in \[0, 3\], got -1; choose a class"),
        (TaCT(sources=(4,)), r"expected sources to be classes in \[0, 3\] other than target 0, got \[4\]"),
        (TaCT(target=1), r"expected sources to be classes in \[0, 3\] other than target 1, got \[1\]"),
        (TaCT(covers=(1,)), r"expected covers to be classes in \[0, 3\] other than target and sources, got \[1\]"),
        (TaCT(covers=(7,)), r"other than target and sources, got \[7\]; choose others"),
        (TaCT(sources=(1, 2, 3)), "other than target and sources, got none left; choose others"),
        *((attack(target=4), r"expected target to be in \[0, 3\], got 4") for attack in (Sig, LowFrequency, WaNet)),
    ],
)
def test_a_trigger_or_class_that_does_not_fit_raises(attack: Attack, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        attack.check_fits((1, 8, 8), 4)


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (WaNet(), "expected at least 8 other rows that can be covers, got 6; lower the rate"),
        (TaCT(cover_ratio=2.5), "expected at least 10 other rows that can be covers, got 4; lower the rate"),
        (TaCT(sources=(3,)), "expected at least 4 rows that can be poisoned, got 2; lower the rate"),
        (AdaptiveBlend(cover_ratio=2), "expected at least 8 other rows that can be covers, got 6; lower the rate"),
        (LabelConsistent(), "at least 4 rows of target class 0 among 10 for a clean-label rate of 0.4, got 2; lower"),
        (Sig(), "expected at least 4 rows of target class 0 among 10 for a clean-label rate of 0.4, got 2"),
    ],
)
def test_too_few_rows_of_a_kind_raise(attack: Attack, sentence: str) -> None:
    labels = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 3, 3])
    with pytest.raises(ValueError, match=sentence):
        attack.poison(torch.zeros(10, 1, 8, 8), labels, 0.4, torch.Generator())
