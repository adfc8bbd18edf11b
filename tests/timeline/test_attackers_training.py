"""Attackers that control training: when they are let in, what they are shown, and what is taken from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import PluginError
from simulator.observer.summary import summarise
from simulator.scenario import catalog

from .conftest import Opened, Stop, dies_after, digests, play_in_memory

Views = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)  # whence a scenario names a user's own file


@pytest.fixture
def views(_here: None) -> Views:
    """What the attackers of this process have been shown since the test began."""
    seen: list[dict[str, Any]] = catalog.resolve("attacks", "training_attackers:Marking").views
    seen.clear()
    return lambda: seen


def opened(mark: str = "bias", rates: dict[int, float] | None = None, **keys: Any) -> Opened:
    campaign = {"use": "scripted", "rates": {1: 0.1} if rates is None else rates}
    attack = {"use": "training_attackers:Marking", "mark": mark}
    return Opened(**{"attack": attack, "campaign": campaign, "periods": 2, **keys})


def biases(run: Opened, line: str, ordinal: int) -> set[float]:
    key = next(key for key in run.head.lineages if key.name == line)
    return set(run.registry.weights(key, ordinal)["classifier.bias"].tolist())


def test_the_attacker_trains_in_the_periods_that_are_poisoned_and_in_no_twin(views: Views) -> None:
    run = opened(twins=["paced", "free"])
    run.play()
    assert [len(biases(run, "main", ordinal)) for ordinal in (0, 1, 2)] == [10, 1, 10]
    assert biases(run, "main", 1) == {6.0}  # a tenth of 60 rows
    assert all(len(biases(run, f"main.{twin}", 1)) == 10 for twin in ("twin", "free-twin"))
    assert [record.training.get("trainer") for record in run.records()] == [None, "training_attackers:Marking", None]
    assert len(views()) == 1


def test_the_attacker_is_shown_the_rows_with_their_roles(views: Views) -> None:
    opened(rates={0: 0.1, 1: 0.1}).play()
    base, update = views()
    assert (base["rows"], base["poisoned"], base["relabelled"], base["update"]) == (300, 30, 30, False)
    assert (update["rows"], update["poisoned"], update["relabelled"], update["update"]) == (60, 6, 6, True)
    assert (base["steps"], update["steps"]) == (3 * 10, 2)  # epochs of rows / 32, rounded up
    assert not base["training"]
    assert base["draw"] != update["draw"]
    assert base["global"] != update["global"]


def test_rows_whose_labels_are_late_bring_the_attacker_with_them(views: Views) -> None:
    stream = {"base": 300, "batch": 60, "validation": 60, "relearning": 20, "test": 100, "label_delay": 1}
    run = opened(stream=stream, periods=3)
    run.play()
    trained = ["trainer" in record.training for record in run.records()]
    assert trained == [False, False, True, False]
    assert views()[0]["poisoned"] == 6


def test_replayed_poison_alone_does_not_bring_the_attacker(views: Views) -> None:
    recipe = opened().scenario.recipe.model_dump(mode="json") | {"replay": {"share": 1.0}}
    opened(rates={0: 0.1}, recipe=recipe).play()
    assert [view["rows"] for view in views()] == [300]


def test_filters_still_filter_what_the_attacker_is_shown(views: Views) -> None:
    run = opened(oracle=True)
    run.play()
    assert (views()[0]["rows"], views()[0]["poisoned"]) == (54, 0)
    assert biases(run, "main", 1) == {0.0}


def test_train_again_asks_the_attacker_again(views: Views) -> None:
    run = opened(rates={0: 0.1}, oracle=True, periods=1)
    run.play()
    assert [(view["rows"], view["poisoned"]) for view in views()] == [(300, 30), (270, 0)]
    assert run.records()[0].training["rows"] == 270


def test_a_run_that_dies_goes_on_with_the_same_records(views: Views) -> None:
    whole, killed = opened(rates={1: 0.1, 2: 0.2}), opened(rates={1: 0.1, 2: 0.2})
    whole.play()
    with pytest.raises(Stop):
        killed.play(wrap=dies_after("train", 2, "none"))
    killed.play()
    assert killed.records() == whole.records()
    assert views()[-1] == views()[1]


def test_workers_give_the_same_records_as_this_process(views: Views) -> None:
    scenario = opened(rates={0: 0.1, 1: 0.1}).scenario
    assert digests(play_in_memory(scenario, processes=1)) == digests(play_in_memory(scenario))


def test_arms_with_and_without_such_an_attacker_stand_side_by_side(views: Views) -> None:
    arms: dict[str, Any] = {"trained": {}, "poisoned": {"attack": {"use": "patch", "target": 0, "size": 2}}}
    run = opened(arms=arms)
    run.play()
    assert ["trainer" in run.records(arm)[1].training for arm in arms] == [True, False]
    assert biases(run, "trained.twin", 1) == biases(run, "poisoned.twin", 1)
    assert len(views()) == 1


def test_what_the_attacker_did_is_counted_where_it_tells(views: Views) -> None:
    told, silent = opened(), opened("silent")
    told.play()
    silent.play()
    training = [run.records()[1].training for run in (told, silent)]
    assert [(one["rows"], one["samples"], one["steps"], one["losses"]) for one in training] == [
        (60, 60, 2, []),
        (60, None, None, []),
    ]
    assert summarise({key: silent.ledger.entries(key) for key in silent.head.lineages})


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        ("mode", r"to return a network in eval mode, got one in training mode; call eval\(\) on it"),
        ("architecture", r"to return the network it trained, a StandardCnn, got Sequential; train view.model"),
        ("shape", r"Marking': expected weight 'classifier.weight' to have shape \(10, 32\), got \(10, 3\)"),
        ("value-error", r"Marking', while it trains: expected more poison, got 6 rows; raise the rate"),
    ],
)
def test_a_result_that_cannot_serve_is_refused(mark: str, sentence: str) -> None:
    run = opened(mark)
    with pytest.raises(PluginError, match=sentence):
        run.play()
    assert len(run.records()) == 1


def test_an_attacker_whose_training_diverges_ends_its_arm() -> None:
    run = opened("nan")
    run.play()
    assert len(run.records()) == 1
    told = r"attack 'training_attackers:Marking': expected weight '.*' to be finite, got NaN or infinity"
    assert re.search(told, run.ledger.ends()[0].why)


def test_an_attack_that_says_it_trains_and_does_not_is_told_so() -> None:
    run = opened(attack={"use": "training_attackers:Untrained"})
    with pytest.raises(PluginError, match="expected Untrained to have a method train, as its threat model is controls"):
        run.play()
