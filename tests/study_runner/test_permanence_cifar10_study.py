"""The seed paper's statements on photographs: fixed endpoints, the calibration, and that it plays on such files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import ScenarioError
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import arm_scenario
from simulator.study.examine import check_study
from simulator.study.executors.base import Executor
from simulator.study.expand import timelines_of
from simulator.study.load import load_study
from simulator.study.run import play_study

STUDY = "permanence-cifar10"


def archive(folder: Path, rows: int) -> str:
    """Write `rows` images of 32 x 32 in ten colours as an npz archive; return the override that reads it."""
    draw = np.random.default_rng(0)
    labels = np.arange(rows + 100) % 10
    images = np.broadcast_to(20 * labels[:, None, None, None], (len(labels), 32, 32, 3))
    images = (images + draw.integers(0, 40, images.shape)).astype(np.uint8)
    path = folder / "photos.npz"
    np.savez(path, images=images[:rows], labels=labels[:rows], test_images=images[rows:], test_labels=labels[rows:])
    return f"scenario.source={{use: npz, path: {path}}}"


def arms() -> dict[str, Scenario]:
    return {one.arm: arm_scenario(one.scenario, one.arm) for one in timelines_of(load_study(STUDY))}


def test_the_rows_of_cifar10_are_enough_for_every_arm() -> None:
    """50,000 train rows: base, fresh rows of each update, validation, three draws for re-learning."""
    for arm in arms().values():
        stream = arm.stream
        assert stream.base + arm.periods * stream.batch + stream.validation + 3 * stream.relearning <= 50_000


def test_the_calibration_is_backdoorbenchs_but_for_what_the_file_says() -> None:
    found = arms()
    for name, attack in (("tuned-patch", "patch"), ("tuned-blend", "blend")):
        arm = found[name]
        assert (arm.attack.use, arm.campaign.options["rate"], arm.drift, arm.periods) == (attack, 0.1, (), 1)
        assert (arm.recipe.augmentation, arm.recipe.base.epochs, arm.recipe.update.epochs) == ("crop-flip", 30, 100)
        assert (arm.recipe.base.batch, arm.recipe.update.batch, arm.stream.batch) == (128, 256, round(0.05 * 50_000))
        for phase in (arm.recipe.base, arm.recipe.update):
            assert (phase.schedule.use, phase.schedule.options) == ("cosine", {"peak": 0.01})
            assert phase.optimizer.options == {"weight_decay": 5e-4}


def test_the_three_shapes_have_one_mean_rate() -> None:
    from simulator.production.training.fit import learning_rates

    found = arms()
    rates = [
        learning_rates(found[name].stream.batch, found[name].recipe.update)
        for name in ("slanted-triangular", "constant-mean", "linear-mean")
    ]
    assert {len(one) for one in rates} == {32}
    assert [sum(one) / 32 for one in rates] == pytest.approx([0.1546875] * 3)


def test_its_statements_seeds_and_gates_are_fixed() -> None:
    study = load_study(STUDY)
    assert [claim.id for claim in study.claims if claim.family == "A"] == [
        "1-ends",
        "1-ends-slow",
        "2-strength",
        "3-persistence",
        "4-drift",
        "5-smart-constant",
        "5-smart-linear",
        "6-one-update",
        "7-not-gone",
        "8-theory",
    ]
    assert (min(study.seeds), len(study.seeds)) == (200, 20)
    gates = {claim.id: (claim.direction, claim.other.value, claim.gate) for claim in study.claims}
    assert gates["1-ends"] == gates["2-strength"] == gates["6-one-update"] == ("greater", 0.7, 0.0)
    assert gates["3-persistence"] == ("greater", None, 0.1)  # as the preset says, from pilot seeds 0 to 2
    assert gates["13-patch-removed"] == ("less", 0.1, 0.0)
    assert gates["13-blend-kept"] == ("greater", 0.7, 0.0)


def test_a_user_without_the_data_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"expected torchvision's CIFAR10 files below .* or set source\.download"):
        check_study(load_study(STUDY, [f"scenario.source.root={tmp_path}"]))


def test_it_plays_on_an_archive(tmp_path: Path, here: Executor) -> None:
    overrides = [
        archive(tmp_path, 4000),  # the calibration takes 2,500 rows
        "scenario.stream.base=220",
        "scenario.stream.batch=40",
        "scenario.stream.validation=10",
        "scenario.stream.relearning=30",
        "scenario.stream.test=60",
        "scenario.recipe.network={use: compact-cnn}",
        "scenario.recipe.update.batch=20",
        "scenario.recipe.base.epochs=1",
        "scenario.recipe.update.epochs=1",
    ]
    study = load_study(STUDY, overrides)
    played = play_study(study, tmp_path / "out", here, tmp_path / "cache", quick=True)
    assert [(one.timeline.arm, one.timeline.seed) for one in played] == [
        ("long", 200),
        ("persistent", 200),
        ("slanted-triangular", 200),
    ]
    verdicts = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    assert {claim["id"] for claim in verdicts["claims"]} >= {"1-ends", "3-persistence", "6-one-update"}
