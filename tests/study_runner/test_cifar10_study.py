"""BackdoorBench's recipe as a study: its budget and bands, and that it plays on a folder of torchvision's layout."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import arm_scenario
from simulator.study.examine import check_study
from simulator.study.executors.base import Executor
from simulator.study.expand import timelines_of
from simulator.study.load import load_study
from simulator.study.run import play_study
from simulator.study.statistics.paired_tests import pairs_needed

STUDY = "cifar10-resnet18"
#: rows of a file: five of them, and one for testing
ROWS = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write files of torchvision's layout; each class has a colour of its own."""
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    draw = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        labels = np.arange(ROWS) % 10
        bright = np.repeat(20 * labels[:, None] + draw.integers(0, 40, (ROWS, 3)), 1024, axis=1)
        table = {"data": bright.astype(np.uint8), "labels": labels.tolist()}
        (batches / name).write_bytes(pickle.dumps(table, protocol=2))
    return tmp_path


def short(folder: Path) -> list[str]:
    """Overrides for the rows that there are, and a network and passes for a moment."""
    return [
        f"scenario.source.root={folder}",
        "scenario.device=cpu",
        "scenario.stream.base=220",
        "scenario.stream.batch=40",
        "scenario.stream.validation=10",
        "scenario.stream.relearning=5",
        "scenario.recipe.base.epochs=1",
        "scenario.recipe.update.epochs=1",
        "scenario.recipe.update.batch=20",
    ]


def arms() -> dict[str, Scenario]:
    return {one.arm: arm_scenario(one.scenario, one.arm) for one in timelines_of(load_study(STUDY))}


def test_it_is_backdoorbenchs_recipe() -> None:
    """100 epochs of SGD at 0.01, a cosine, 128 rows a step, crops and flips; the repair on 5 %, 256 rows a step."""
    found = arms()
    assert list(found) == ["patch", "blend", "low-frequency", "wanet", "sig"]
    for name, arm in found.items():
        recipe, stream = arm.recipe, arm.stream
        assert recipe.network.use == "resnet18"
        assert (recipe.augmentation, recipe.precision, recipe.start) == ("crop-flip", "float32", "champion")
        assert (recipe.base.batch, recipe.update.batch, stream.batch) == (128, 256, round(0.05 * 50000))
        for phase in (recipe.base, recipe.update):
            assert phase.epochs == 100
            assert phase.optimizer.options == {"momentum": 0.9, "weight_decay": 5e-4}
            assert (phase.schedule.use, phase.schedule.options) == ("cosine", {"peak": 0.01})
        assert arm.campaign.options["rate"] == (0.05 if name == "sig" else 0.1)
        assert stream.base + stream.batch + stream.validation + 3 * stream.relearning == 50000
        assert (arm.periods, arm.drift, arm.defenses, arm.gate.use) == (1, (), (), "none")


def test_its_gates_are_the_acceptance_bands_and_its_seeds_suffice() -> None:
    """Patch: at least 90 before, at most 10 after; blend: at least 80 after; at most 3 points of accuracy lost."""
    study = load_study(STUDY)
    gates = {claim.id: (claim.endpoint.over, claim.direction, claim.other.value, claim.gate) for claim in study.claims}
    assert gates == {
        "patch-planted": (0, "greater", 0.9, 0.0),
        "patch-removed": ("last", "less", 0.1, 0.0),
        "blend-kept": ("last", "greater", 0.8, 0.0),
        "patch-accuracy": ("last", "greater", None, -0.03),
        "blend-accuracy": ("last", "greater", None, -0.03),
    }
    assert min(study.seeds) >= 100
    assert len(study.seeds) == pairs_needed(study.alpha, len(study.claims))


def test_its_own_network_fits_the_files(folder: Path) -> None:
    check_scenario(timelines_of(load_study(STUDY, short(folder)))[0].scenario, data=True)


def test_a_folder_without_the_files_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"expected torchvision's CIFAR10 files below .* or set source\.download"):
        check_study(load_study(STUDY, [f"scenario.source.root={tmp_path}"]))


def test_too_few_images_are_refused_before_any_training(folder: Path) -> None:
    with pytest.raises(ScenarioError, match=r"expected period 0 to fit the 300 train rows .* got 47500"):
        check_study(load_study(STUDY, [f"scenario.source.root={folder}", "scenario.device=cpu"]))


def test_it_plays_on_the_files(folder: Path, here: Executor) -> None:
    study = load_study(STUDY, [*short(folder), "scenario.recipe.network.use=standard-cnn"])
    played = play_study(study, folder / "out", here, folder / "cache", quick=True)
    assert [(one.timeline.arm, one.timeline.seed) for one in played] == [("patch", 100), ("blend", 100)]
    for one in played:
        line = one.entries[one.timeline.arm]
        assert [entry.record.arrival.poisoned for entry in line] == [22, 0]
        assert [entry.record.judgement.serving for entry in line] == [0, 1]
    verdicts = json.loads((folder / "out" / "verdicts.json").read_text())
    assert json.dumps(verdicts).count("patch-removed") >= 1
