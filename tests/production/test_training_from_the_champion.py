"""Methods that update a champion, called by `Defenders` as in a run: they must know the one that they are handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from simulator.batch import Batch
from simulator.production.defending.driver import Defenders
from simulator.production.defending.facts import facts_of
from simulator.production.defending.history import VERSION, HistoryFacts, VersionFacts, as_blob
from simulator.production.defending.recipe import RecipeFacts
from simulator.production.defending.runner import Limits
from simulator.production.training.networks import network_of
from simulator.records import Outcome
from simulator.scenario.model import DefenseUse, Phase
from simulator.tensors import ModelVersion

ARCHITECTURE: dict[str, Any] = {"network": {"use": "compact-cnn"}, "channels": 1, "size": [8, 8], "classes": 4}
Past = Callable[..., tuple[HistoryFacts, dict[str, Tensor]]]


def _rows(count: int) -> Batch:
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(count) % 4, torch.arange(count))


def _past(*, at_hand: bool) -> Past:
    """Version 0, of other weights than the network that is handed over, serves."""
    version = VersionFacts(ordinal=0, parent=None, period=0, served=(0,), trusted_accuracy=0.5, outcomes=())
    blob = {f"{VERSION}0": as_blob(network_of(ARCHITECTURE, seed=7).state_dict())} if at_hand else {}
    return lambda *asked: (HistoryFacts(versions=(version,), champion=0), blob)


@contextmanager
def _defenders(use: str, past: Past | None) -> Iterator[Defenders]:
    made = Defenders(
        [DefenseUse(use=use)],
        architecture=ARCHITECTURE,
        device=torch.device("cpu"),
        limits=Limits(100.0),
        in_process=True,
        threads=1,
        seed=0,
        past=past,
    )
    with closing(made):
        yield made


def _trained(use: str, about: Any, past: Past | None = None) -> tuple[ModelVersion | None, Outcome]:
    rows, recipe = _rows(40), RecipeFacts.of(Phase(epochs=1, batch=20), 40)
    with _defenders(use, past) as defenders:
        defenders.begin(1, alarm=True)
        start = ModelVersion(network_of(ARCHITECTURE, seed=0))
        trained, outcomes = defenders.train(start, rows, rows, recipe, period=1, about=about)
    return trained, outcomes[0]


#: method -> what its evidence says where it trains plainly
PLAIN = {
    "lwf": {"distilled": False},
    "ewc": {"rows": 0},
    "schedule-sweep": {"chosen": "recipe", "planted": None, "tried": {}},
}


@pytest.mark.parametrize("use", PLAIN)
def test_a_champion_that_is_handed_over_is_updated_as_the_method_says(use: str) -> None:
    _, outcome = _trained(use, "champion")
    assert outcome.status == "changed"
    assert not outcome.evidence.items() >= PLAIN[use].items()


@pytest.mark.parametrize("use", PLAIN)
def test_before_there_is_a_champion_they_train_plainly(use: str) -> None:
    assert _trained(use, "candidate")[1].evidence.items() >= PLAIN[use].items()


@pytest.mark.parametrize("use", ["lwf", "ewc"])
def test_from_scratch_the_champion_comes_from_the_history(use: str) -> None:
    assert facts_of(use, {}).versions_back == 1
    trained, outcome = _trained(use, "candidate", _past(at_hand=True))
    own, _ = _trained(use, "champion")
    assert outcome.status == "changed"
    assert not outcome.evidence.items() >= PLAIN[use].items()
    assert trained is not None and own is not None  # noqa: PT018
    assert any(not torch.equal(value, own.weights[name]) for name, value in trained.weights.items())


@pytest.mark.parametrize("use", ["lwf", "ewc"])
def test_from_scratch_without_the_champions_weights_they_say_why_they_do_not_apply(use: str) -> None:
    _, outcome = _trained(use, "candidate", _past(at_hand=False))
    assert outcome.status == "skipped"
    assert outcome.reason == "the champion, version 0, is not at hand, and training does not start from it"


def test_from_scratch_no_schedule_is_swept_since_nothing_is_to_be_forgotten() -> None:
    _, outcome = _trained("schedule-sweep", "candidate", _past(at_hand=True))
    assert outcome.evidence.items() >= PLAIN["schedule-sweep"].items()
