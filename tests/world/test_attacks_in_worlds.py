"""Clean-label and source-specific attacks in a world: what arrives, what is re-learned, what is refused beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from simulator.errors import PluginError, ScenarioError, SourceError
from simulator.scenario.model import Scenario
from simulator.world.sources.base import SourceData
from simulator.world.world import World

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]
SIG = {"use": "simulator.world.attacks.sig:Sig", "target": 1, "frequency": 3}
TACT = {"use": "simulator.world.attacks.tact:TaCT", "target": 1, "sources": [3], "size": 2}


def build(scenario: Scenario, data: SourceData) -> World:
    return World.build(scenario, data, attacked=True, device="cpu")


def test_a_clean_label_batch_arrives_with_true_labels(make_data: MakeData, make_scenario: MakeScenario) -> None:
    scenario = make_scenario(attack=SIG, campaign={"use": "one-shot", "rate": 0.1})
    world, twin = build(scenario, make_data()), World.build(scenario, make_data(), attacked=False, device="cpu")
    (batch, arrival, roles), (clean, _, _) = world.arrive(0, {}), twin.arrive(0, {})
    assert torch.equal(batch.labels, clean.labels)
    assert (batch.labels[roles > 0] == 1).all()
    assert (arrival.poisoned, arrival.covers) == (6, 0)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"campaign": {"use": "one-shot", "rate": 0.5}},
            r"campaign 'one-shot' at rate 0.5 in period 0: expected at least 30 rows of target class 1 among 60 for a "
            r"clean-label rate of 0.5, got \d+; lower the rate",
        ),
        (
            {"campaign": {"use": "persistent", "rate": 0.9}},
            r"at rate 0.9 in period \d: expected at least \d+ rows of target class 1",
        ),
    ],
)
def test_a_clean_label_rate_above_the_class_share_is_refused_before_a_run(
    make_data: MakeData, make_scenario: MakeScenario, keys: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        build(make_scenario(attack=SIG, **keys), make_data())


def test_only_rows_of_the_sources_are_relearned(make_data: MakeData, make_scenario: MakeScenario) -> None:
    scenario = make_scenario(
        attack=TACT, campaign={"use": "one-shot", "rate": 0.1}, stream={"relearning": 40, "base": 60, "batch": 20}
    )
    world = build(scenario, make_data())
    assert world.sources == (3,)
    plain = world.relearning(1, 0, 0, False)
    for unrelated in (False, True):
        poisoned = world.relearning(1, 0, 4, unrelated)
        changed = poisoned.labels != plain.labels
        assert plain.labels[changed].tolist() == [3] * 4
        assert poisoned.labels[changed].tolist() == [1] * 4
    with pytest.raises(ScenarioError, match="rows that are of a source class; poison fewer"):
        world.relearning(1, 0, 30, False)


def test_covers_arrive_and_are_counted(make_data: MakeData, make_scenario: MakeScenario) -> None:
    world = build(make_scenario(attack=TACT, campaign={"use": "persistent", "rate": 0.1}), make_data())
    assert [(a.poisoned, a.covers) for a in (world.arrive(period, {})[1] for period in (0, 1))] == [(6, 6), (3, 3)]


def test_sources_that_the_data_do_not_have_are_refused_before_a_run(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    with pytest.raises(PluginError, match=r"TaCT': expected sources to be classes in \[0, 3\] other than target 1"):
        build(make_scenario(attack={**TACT, "sources": [4]}), make_data())


@pytest.mark.parametrize(
    ("attack", "part", "role", "label"),
    [
        ({**SIG, "target": 2}, "train", "target", 2),
        ({"use": "patch", "target": 2}, "train", "target", 2),
        ({**TACT, "sources": [2]}, "train", "source", 2),
        ({**TACT, "covers": [2]}, "train", "cover", 2),
        ({**TACT, "sources": [3, 0]}, "test", "source", 0),
    ],
)
def test_a_class_that_the_data_have_no_rows_of_is_refused_before_a_run(
    make_data: MakeData, make_scenario: MakeScenario, attack: dict[str, Any], part: str, role: str, label: int
) -> None:
    data = make_data()
    train, test = np.where(data.labels == 2, 1, data.labels), np.where(data.test_labels == 0, 1, data.test_labels)
    lacking = replace(data, labels=train, test_labels=test)
    there = "0, 1, 3" if part == "train" else "1, 2, 3"
    sentence = f"expected {part} rows of its {role} class {label} in small, got none; choose one of .*of: {there}$"
    scenario = make_scenario(attack=attack, campaign={"use": "one-shot", "rate": 0.1})
    with pytest.raises(SourceError, match=sentence):
        build(scenario, lacking)


def test_the_period_with_fewest_rows_of_the_target_is_found_before_a_run(make_data: MakeData) -> None:
    """Rows arrive in order; of 30 rows of period 2, of 0 to 3, three are of class 1, and of every other period more."""
    data = make_data(rows=320, timed=True)
    stream = {"base": 60, "batch": 30, "validation": 20, "relearning": 12, "test": 40}
    labels = data.labels.copy()
    fourth = np.arange(320)
    inside = (fourth >= 166) & (fourth < 206) & (labels == 1)
    labels[np.flatnonzero(inside)[3:]] = 0
    lacking = replace(data, labels=labels)
    keys = {"periods": 3, "stream": stream, "trusted": {"images": 10}, "attack": SIG}
    sentence = r"campaign 'persistent' at rate 0.15 in period 2: expected at least 4 rows of target class 1 among 30"
    with pytest.raises(ScenarioError, match=sentence):
        build(Scenario.model_validate({**keys, "campaign": {"use": "persistent", "rate": 0.15}}), lacking)
    build(Scenario.model_validate({**keys, "campaign": {"use": "scripted", "rates": {1: 0.15, 3: 0.15}}}), lacking)


def test_two_frequencies_come_as_lists_from_a_file(make_data: MakeData, make_scenario: MakeScenario) -> None:
    use = {"use": "simulator.world.attacks.low_frequency:LowFrequency", "frequencies": [[1, 2], [2, 0]]}
    world = build(make_scenario(attack=use), make_data())
    assert (world.stamped(0) != world.test(0).images).any()
