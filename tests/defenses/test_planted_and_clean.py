"""Every defense on the small example of `ebbdoor check`: a backdoor is found by the methods that claim to find it, and
little is lost where there is none, whatever the seed.

The example: an update of `compact-cnn` on 400 rows, of which 40 are poison, as are 40 of the 83 of its class; 200
trusted images, two earlier updates. A method that does not find this backdoor is excused by words that stand
elsewhere, by numbers of its own, or by a figure and its cause; `test_excuses.py` checks them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from defenses.base import DoesNotApply
from simulator.checks.example import TARGET, example
from simulator.checks.subject import Subject
from simulator.checks.trial import Trial
from simulator.scenario import catalog
from tests.defenses.excuses import EXCUSED, RECALL
from tests.defenses.retold import ours

#: of clean rows, beside poison or without: as many as one class of ten has, since classes are judged as a whole
FEW = 0.1
#: attack success that is left, beside that of the model without: a method that does its work at least halves it
HALF = 0.5
#: accuracy that a repair costs: the 0.04 that its `drop` allows, as measured on 60 held-out images, and two standard
#: errors of a share of 0.95 of so many (0.056)
POINTS = 0.1
#: the generators that the defense is handed
SEEDS = (0, 1, 2)
#: drops a fixed share of every class, 6 of 400 rows each; of these ten classes 15 % in all, as its docstring says
FROM_EVERY_CLASS = "spectral-signatures"


def finding(surface: str) -> list[str]:
    """Return the methods of a surface that are to find the backdoor."""
    return [name for name in ours(surface) if name not in EXCUSED]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name in ours("filter") if name != FROM_EVERY_CLASS])
def test_a_filter_drops_few_clean_rows(name: str, seed: int) -> None:
    clean = ~example().poison
    assert float(_dropped(name, "planted", seed)[clean].float().mean()) <= FEW
    assert float(_dropped(name, "clean", seed).float().mean()) <= FEW


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", finding("filter"))
def test_a_filter_drops_the_poison(name: str, seed: int) -> None:
    assert float(_dropped(name, "planted", seed)[example().poison].float().mean()) >= RECALL


@pytest.mark.parametrize("name", ours("inspector"))
def test_an_inspector_passes_a_clean_model(name: str) -> None:
    assert not _trial(name, "clean").of_candidate().flagged


@pytest.mark.parametrize("name", finding("inspector"))
def test_an_inspector_flags_a_planted_model_and_names_the_target(name: str) -> None:
    result = _trial(name, "planted").of_candidate()
    assert result.flagged
    assert result.evidence["suspect"] == TARGET


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ours("screen"))
def test_a_screen_refuses_few_clean_images(name: str, seed: int) -> None:
    """The rate of one threshold is a Beta variable: at most the upper end of its 95 % interval, give or take two
    standard errors of a share of so many images. A screen that answers refuses none."""
    try:
        result = _trial(name, "planted", seed).of_images(example().test.images)
    except DoesNotApply:
        return
    highest = result.evidence["false_positive_interval"][1] if result.answers is None else 0.0
    error = 2 * (highest * (1 - highest) / len(example().test)) ** 0.5
    assert float(result.flagged.float().mean()) <= highest + error


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", finding("screen"))
def test_a_screen_stops_the_attack(name: str, seed: int) -> None:
    result, model = _trial(name, "planted", seed).of_images(example().stamped), example().models["planted"]
    own = model(example().stamped).argmax(1)
    answers = own if result.answers is None else torch.where(result.answers >= 0, result.answers, own)
    left = float(((answers == TARGET) & ~result.flagged).float().mean())
    assert left <= HALF * example().attack_success(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ours("repair"))
def test_a_repair_costs_little_and_lowers_attack_success(name: str) -> None:
    found = example()
    for kind, model in found.models.items():
        repaired = _trial(name, kind).of_candidate().model
        assert found.accuracy(repaired) >= found.accuracy(model) - POINTS
        if kind == "planted" and name in finding("repair"):
            assert found.attack_success(repaired) <= HALF * found.attack_success(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ours("training"))
def test_a_training_costs_little(name: str) -> None:
    found = example()
    trained = _trial(name, "clean").trained().model
    assert found.accuracy(trained) >= found.accuracy(found.models["clean"]) - POINTS


@cache
def _dropped(name: str, kind: str, seed: int) -> torch.Tensor:
    return ~_trial(name, kind, seed).of_window()[-1].keep


def _trial(name: str, kind: str, seed: int = 0) -> Any:
    return Trial(Subject("defenses", name, catalog.resolve("defenses", name)), example(), kind, seed)
