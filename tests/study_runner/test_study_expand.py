"""From a study to its timelines, compared with what was written out by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from simulator.errors import ScenarioError
from simulator.scenario.overrides import arm_scenario
from simulator.study.expand import setting_name, timelines_of
from simulator.study.model import Study
from simulator.study.timelines import Timeline

MakeStudy = Callable[..., Study]


def test_arms_by_seeds(tiny_study: MakeStudy) -> None:
    found = [(one.name, one.setting, one.arm, one.seed, dict(one.point)) for one in timelines_of(tiny_study())]
    assert found == [
        ("slow-s0", "slow", "slow", 0, {}),
        ("slow-s1", "slow", "slow", 1, {}),
        ("fast-s0", "fast", "fast", 0, {}),
        ("fast-s1", "fast", "fast", 1, {}),
    ]


def test_each_scenario_has_its_arm_its_seed_and_its_point(tiny_study: MakeStudy) -> None:
    study = tiny_study(set={"stream.batch": 30}, grid={"periods": [1, 2], "attack.size": [2, 3]}, seeds=[5])
    timelines = timelines_of(study)
    assert [(one.name, one.setting) for one in timelines] == [
        ("slow-p0-s5", "slow periods=1 attack.size=2"),
        ("slow-p1-s5", "slow periods=1 attack.size=3"),
        ("slow-p2-s5", "slow periods=2 attack.size=2"),
        ("slow-p3-s5", "slow periods=2 attack.size=3"),
        ("fast-p0-s5", "fast periods=1 attack.size=2"),
        ("fast-p1-s5", "fast periods=1 attack.size=3"),
        ("fast-p2-s5", "fast periods=2 attack.size=2"),
        ("fast-p3-s5", "fast periods=2 attack.size=3"),
    ]
    last = timelines[-1].scenario
    assert (list(last.arms), last.seed, last.periods, last.stream.batch) == (["fast"], 5, 2, 30)
    assert arm_scenario(last, "fast").attack.options["size"] == 3
    assert arm_scenario(last, "fast").recipe.update.schedule.options["rate"] == 0.05


def test_an_arm_lies_over_the_grid_and_both_settings_are_kept(tiny_study: MakeStudy) -> None:
    """An arm that fixes what the grid varies is the same scenario at each point."""
    study = tiny_study(grid={"recipe.update.schedule.rate": [0.01, 0.02]}, seeds=[0])
    rates = {
        one.name: arm_scenario(one.scenario, one.arm).recipe.update.schedule.options["rate"]
        for one in timelines_of(study)
    }
    assert rates == {"slow-p0-s0": 0.01, "slow-p1-s0": 0.02, "fast-p0-s0": 0.05, "fast-p1-s0": 0.05}


def test_a_grid_that_nobody_could_play_is_refused_before_it_is_made(tiny_study: MakeStudy) -> None:
    sides = {f"attack.side{number}": list(range(100)) for number in range(20)}  # 100**20 points
    with pytest.raises(ScenarioError, match="expected at most 10000 timelines, got 4" + "0" * 40):
        timelines_of(tiny_study(grid=sides))
    with pytest.raises(ScenarioError, match=r"got 10001 \(1 grid points, 10001 seeds of arms\); shorten the grid"):
        timelines_of(tiny_study(seeds=[0], arm_seeds={"fast": list(range(10_000))}))


def test_arm_seeds_and_quick(tiny_study: MakeStudy) -> None:
    study = tiny_study(seeds=[0, 1, 2], arm_seeds={"fast": [1]}, quick={"seeds": [1, 2], "settings": ["slow"]})
    assert [one.name for one in timelines_of(study)] == ["slow-s0", "slow-s1", "slow-s2", "fast-s1"]
    assert [one.name for one in timelines_of(study, quick=True)] == ["slow-s1", "slow-s2"]
    both = tiny_study(seeds=[0, 1, 2], arm_seeds={"fast": [1]}, quick={"seeds": [1, 2]})
    assert [one.name for one in timelines_of(both, quick=True)] == ["slow-s1", "slow-s2", "fast-s1"]


def test_names_are_unique_and_safe_where_arms_look_like_points(tiny_study: MakeStudy) -> None:
    arms = {"a": {}, "a-p1": {}, "a-s1": {}, "a-p1-s1": {}}
    study = tiny_study({"arms": arms}, grid={"periods": [1, 2]}, seeds=[1, 11])
    names = [one.name for one in timelines_of(study)]
    assert len(set(names)) == len(names) == 16
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) for name in names)


def test_values_in_the_names_of_settings() -> None:
    point: dict[str, Any] = {"a": "text", "b": 0.1, "c": {"use": "x", "k": 1}, "d": None, "e": [1, 2], "f": True}
    assert setting_name("main", point) == 'main a=text b=0.1 c={"use":"x","k":1} d=null e=[1,2] f=true'


def test_a_timeline_travels_as_values(tiny_study: MakeStudy) -> None:
    for one in timelines_of(tiny_study(grid={"attack.size": [1, 2]})):
        assert Timeline.of(one.values()) == one


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"grid": {"seed": [1, 2]}},
            "expected grid to hold other keys .* got 'seed': the study's `seeds` give it",
        ),
        (
            {"grid": {"arms.slow.periods": [1]}},
            "expected grid to hold other keys .* got 'arms': every arm is a setting",
        ),
        ({"grid": {"name": ["a"]}}, "expected grid to hold other keys .* got 'name'"),
        ({"set": {"seed": 3}}, "expected set to hold other keys of the scenario, got 'seed'"),
        ({"grid": {"periods": [1, 2, 1]}}, "expected the values of grid.periods to differ, got 1 twice; remove one"),
        ({"grid": {"periods": [1, "x"]}}, "expected periods to be a whole number, got 'x'"),
        ({"set": {"streem.batch": 3}}, "expected a key the scenario knows, got 'streem'; did you mean 'stream'"),
    ],
)
def test_what_cannot_be_expanded_is_refused(tiny_study: MakeStudy, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        timelines_of(tiny_study(**keys))


def test_quick_of_a_study_that_names_none_is_refused(tiny_study: MakeStudy) -> None:
    with pytest.raises(ScenarioError, match="expected study 'tiny' to name its quick subset, got none; add `quick`"):
        timelines_of(tiny_study(), quick=True)
