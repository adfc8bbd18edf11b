"""Clean-label and source-specific attacks in a world: what arrives, what is re-learned, what is refused beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from simulator.errors import PluginError, ScenarioError
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


def test_two_frequencies_come_as_lists_from_a_file(make_data: MakeData, make_scenario: MakeScenario) -> None:
    use = {"use": "simulator.world.attacks.low_frequency:LowFrequency", "frequencies": [[1, 2], [2, 0]]}
    world = build(make_scenario(attack=use), make_data())
    assert (world.stamped(0) != world.test(0).images).any()
