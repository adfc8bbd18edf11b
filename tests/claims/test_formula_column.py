"""The formula's column for a tiny source, against the arithmetic done by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.scenario.overrides import scenario_of
from simulator.study.formula_column import COLUMNS, formula_beside
from simulator.study.timelines import Timeline

Make = Callable[..., Timeline]
UPDATE = {"epochs": 2, "batch": 10, "optimizer": {"use": "sgd", "momentum": 0.0, "weight_decay": 0.01}}


def formula_column(timeline: Timeline) -> dict[str, Any]:
    """The numbers alone, without the reasons."""
    return {name: value for name, value in formula_beside(timeline).items() if name != "reasons"}


@pytest.fixture(scope="module")
def pixels() -> Any:
    """40 test images of 8 x 8 pixels, uint8, whose lower right corner differs from image to image."""
    return np.random.default_rng(5).integers(0, 200, (40, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, pixels: Any) -> Path:
    """A source of four classes."""
    path = tmp_path_factory.mktemp("source") / "tiny.npz"
    rows = np.random.default_rng(6).integers(0, 255, (400, 8, 8), dtype=np.uint8)
    labels = np.arange(400) % 4
    np.savez(path, images=rows, labels=labels, test_images=pixels, test_labels=np.arange(40) % 4)
    return path


@pytest.fixture(scope="module")
def make(archive: Path) -> Make:
    """The builder of a timeline on it."""

    def build(**keys: Any) -> Timeline:
        values = {
            "periods": 2,
            "source": {"use": "npz", "path": str(archive)},
            "stream": {"base": 100, "batch": 40, "validation": 40, "relearning": 12, "test": 40},
            "attack": {"use": "patch", "size": 1, "target": 0},
            "campaign": {"use": "one-shot", "rate": 0.1},
            "trusted": {"images": 20},
            "recipe": {"update": {**UPDATE, "schedule": {"use": "constant", "rate": 0.05}}},
            **keys,
        }
        return Timeline("tiny", "main", {}, 0, "main", "main-s0", scenario_of(values))

    return build


def test_by_hand(make: Make, pixels: Any) -> None:
    # one pixel: the energy along it is its variance, seen in [-1, 1]; 2 epochs of 40 / 10 steps at 0.05
    energy = float((2 * pixels[:, -1, -1].astype(float) / 255 - 1).var())
    share = (1 - 0.05 * (energy + 0.01)) ** 8
    found = formula_column(make())
    assert list(found) == list(COLUMNS)
    assert found == {
        "update_steps": 8,
        "rate_sum": pytest.approx(0.4),
        "inverse_rate_sum": pytest.approx(2.5),
        "effective_rate_sum": pytest.approx(0.4),
        "trigger_energy": pytest.approx(energy, rel=1e-5),
        "predicted_share": pytest.approx(share, rel=1e-5),
        "predicted_updates": pytest.approx(math.log(0.5) / math.log(share), rel=1e-5),
    }


def test_momentum_carries_the_rates_further(make: Make) -> None:
    optimizer = {"use": "sgd", "momentum": 0.5, "weight_decay": 0.01}
    found = formula_column(make(recipe={"update": {**UPDATE, "optimizer": optimizer}}))
    # 0.01 x the sum over 8 steps of (1 - 0.5^(t+1)) / 0.5
    assert found["rate_sum"] == pytest.approx(0.08)
    assert found["effective_rate_sum"] == pytest.approx(0.02 * (8 - (1 - 0.5**8)))


def test_an_arm_overrides_the_recipe(make: Make) -> None:
    fast = make(arms={"main": {"recipe.update.epochs": 4}})
    assert formula_column(fast)["update_steps"] == 16


def test_a_network_that_does_not_centre_sees_a_quarter_of_the_energy(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uncentred_network.py").write_text(
        "from torch import nn\n"
        "def build(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    theirs = make(recipe={"network": {"use": "uncentred_network:build"}})
    own = formula_column(make())["trigger_energy"]
    assert own is not None
    assert formula_column(theirs)["trigger_energy"] == pytest.approx(own / 4)


@pytest.mark.parametrize(
    ("keys", "undefined", "reason"),
    [
        ({"recipe": {"update": {"optimizer": {"use": "adamw"}}}}, "predicted_share", "no plain gradient descent"),
        ({"recipe": {"start": "scratch"}}, "predicted_updates", "nothing planted is carried over"),
        ({"attack": {"use": "none"}, "campaign": {"use": "none"}}, "trigger_energy", "there is no attack"),
    ],
)
def test_what_it_says_nothing_of(make: Make, keys: dict[str, Any], undefined: str, reason: str) -> None:
    found = formula_beside(make(**keys))
    assert found[undefined] is None
    assert reason in found["reasons"][undefined]
    assert found["rate_sum"] > 0
    assert found.keys() == COLUMNS.keys() | {"reasons"}
    assert set(found["reasons"]) == {name for name in COLUMNS if found[name] is None}


def test_a_trigger_that_is_never_forgotten_has_no_number(make: Make, tmp_path: Path) -> None:
    rows, labels = np.full((400, 8, 8), 100, np.uint8), np.arange(400) % 4
    np.savez(tmp_path / "flat.npz", images=rows, labels=labels, test_images=rows[:40], test_labels=labels[:40])
    recipe = {"update": {**UPDATE, "optimizer": {"use": "sgd", "weight_decay": 0.0}}}
    found = formula_beside(make(source={"use": "npz", "path": str(tmp_path / "flat.npz")}, recipe=recipe))
    assert (found["trigger_energy"], found["predicted_share"]) == (0, 1)
    assert found["predicted_updates"] is None
    assert "for ever" in found["reasons"]["predicted_updates"]
