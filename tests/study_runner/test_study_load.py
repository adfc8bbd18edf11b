"""Studies as a user writes them: names, files, overrides, and the mistakes that are told of."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.errors import ScenarioError
from simulator.study.load import load_study, studies, study_of
from simulator.study.model import Study

Save = Callable[..., str]


@pytest.fixture
def save(tmp_path: Path, tiny_values: dict[str, Any]) -> Save:
    """Write the tiny study with keys replaced, and return its path."""

    def write(**keys: Any) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(tiny_values | keys, sort_keys=False))
        return str(path)

    return write


def scenario(study: Study) -> dict[str, Any]:
    assert isinstance(study.scenario, dict)
    return study.scenario


def test_every_study_that_ships_loads_under_its_own_name() -> None:
    assert "rates" in studies()
    assert [load_study(name).name for name in studies()] == studies()


def test_the_scenario_is_given_by_all_its_keys_whichever_way_it_was_named(save: Save, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "mine.yaml").write_text("{name: mine, periods: 3}")
    assert scenario(load_study(save(scenario="digits")))["source"] == {"use": "digits", "test_share": 0.4}
    assert scenario(load_study(save(scenario="below/mine.yaml")))["periods"] == 3
    inline = scenario(load_study(save()))
    assert (inline["periods"], inline["threads"]) == (2, 1)  # the second by default


def test_overrides_reach_every_part(save: Save) -> None:
    study = load_study(
        save(),
        [
            "seeds=[7, 8, 9]",
            "set.stream.batch=30",
            "set.recipe.update.epochs=2",
            "grid.attack.size=[1, 2]",
            "scenario.periods=1",
            "arm_seeds.fast=[7]",
        ],
    )
    assert study.seeds == (7, 8, 9)
    assert study.set == {"stream.batch": 30, "recipe.update.epochs": 2}
    assert study.grid == {"attack.size": (1, 2)}
    assert scenario(study)["periods"] == 1
    assert scenario(study)["stream"]["base"] == 120
    assert study.arm_seeds == {"fast": (7,)}


def test_an_override_may_choose_another_scenario_and_change_it(save: Save) -> None:
    study = load_study(save(), ["scenario=digits", "scenario.periods=2"])
    assert (scenario(study)["periods"], scenario(study)["trusted"]["images"]) == (2, 20)


def test_workers_and_notes_are_no_part_of_the_digest_but_the_scenario_is(tiny_values: dict[str, Any]) -> None:
    study = study_of(tiny_values)
    assert study_of(tiny_values | {"workers": 3}).digest() == study.digest()
    longer = tiny_values["scenario"] | {"periods": 3}
    assert study_of(tiny_values | {"scenario": longer}).digest() != study.digest()


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"sedes": [1]}, "the study: expected a key the study knows, got 'sedes'; did you mean 'seeds'"),
        ({"seeds": []}, "expected seeds to be at least 1 long"),
        ({"seeds": ["1"]}, "expected seeds.0 to be a whole number, got '1'"),
        ({"seeds": [-1]}, "expected seeds.0 to be at least 0, got -1"),
        ({"name": "My Study"}, "expected name to be lower-case letters"),
        ({"alpha": 1.5}, "expected alpha to be below 1.0, got 1.5; lower it"),
        ({"grid": {"stream.batch": 30}}, "expected grid.stream.batch to be a list, got 30"),
        ({"scenario": "quickstrat"}, "scenario: expected a preset's name or a .yaml file, got 'quickstrat'; did you"),
        ({"scenario": "missing.yaml"}, "scenario: expected a scenario in .*missing.yaml, got no such file"),
        ({"scenario": {"periodes": 3}}, "scenario: the scenario: expected a key .* got 'periodes'; did you mean"),
        ({"scenario": 3}, "expected scenario to be text or a mapping, got 3"),
        (
            {"claims": [{"id": "1", "sentense": "x"}]},
            "claims.0: expected a key claims.0 knows, got 'sentense'; did you mean 'sentence'",
        ),
        (
            {
                "claims": [
                    {
                        "id": "1",
                        "sentence": "x",
                        "endpoint": {"measure": "exposure"},
                        "one": {"setting": "slow", "value": 1.0},
                        "other": {"setting": "fast"},
                        "direction": "greater",
                    }
                ]
            },
            "claims.0.one: expected exactly one of setting, value and correlation, got setting and value",
        ),
        (
            {
                "claims": [
                    {
                        "id": "1",
                        "sentence": "x",
                        "endpoint": {"measure": "survival"},
                        "one": {"setting": "slow"},
                        "other": {"setting": "fast"},
                        "direction": "greater",
                    }
                ]
            },
            "claims.0.endpoint: expected a horizon for 'survival'",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(save: Save, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        load_study(save(**keys))


CLAIM = {
    "id": "1",
    "sentence": "x",
    "endpoint": {"measure": "survival", "horizon": 2.0},
    "one": {"setting": "slow"},
    "other": {"setting": "fast"},
    "direction": "greater",
}


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**30, math.inf, math.nan])
@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("seeds.1", lambda number: {"seeds": [0, number]}),
        ("arm_seeds.fast.0", lambda number: {"arm_seeds": {"fast": [number]}}),
        ("quick.seeds.0", lambda number: {"quick": {"seeds": [number]}}),
        ("workers", lambda number: {"workers": number}),
        ("alpha", lambda number: {"alpha": number}),
        ("over", lambda number: {"claims": [CLAIM | {"endpoint": {"measure": "a/b", "over": number}}]}),
        ("over", lambda number: {"claims": [CLAIM | {"one": {"setting": "slow", "over": number}}]}),
    ],
)
def test_a_number_that_no_store_can_hold_is_refused_for_every_key(
    tiny_values: dict[str, Any], key: str, keys: Callable[[float], dict[str, Any]], number: float
) -> None:
    with pytest.raises(ScenarioError, match=key.replace(".", r"\.")) as said:
        study_of(tiny_values | keys(number))
    assert len(str(said.value).splitlines()) == 1
    assert len(str(said.value)) < 400


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    "keys",
    [
        lambda number: {"gate": number},
        lambda number: {"endpoint": {"measure": "survival", "horizon": number}},
        lambda number: {"other": {"value": number}},
        lambda number: {"start": {"attack_success": number}},
        lambda number: {"start": {"dose": number}},
    ],
)
def test_a_claim_takes_finite_numbers_only(save: Save, keys: Callable[[float], dict[str, Any]], number: float) -> None:
    with pytest.raises(ScenarioError) as said:
        load_study(save(claims=[CLAIM | keys(number)]))
    assert len(str(said.value).splitlines()) == 1


def test_more_workers_than_any_machine_has_are_refused(save: Save) -> None:
    assert load_study(save(workers=1024)).workers == 1024
    with pytest.raises(ScenarioError, match="workers to be at most 1024, got 1025"):
        load_study(save(workers=1025))


def test_all_mistakes_are_told_at_once(save: Save) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_study(save(seeds=[], alpha=2, scenario={"periods": 0}))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("rattes", [], "expected a preset's name or a .yaml file, got 'rattes'; did you mean 'rates'"),
        ("no/such.yaml", [], "expected a study in no/such.yaml, got no such file; check the path"),
        ("rates", ["seeds"], "expected --set to be KEY=VALUE, got 'seeds'"),
        ("rates", ["seeds=[1"], "--set seeds: expected YAML"),
        ("rates", ["grids.x=[1]"], "the study: expected a key the study knows, got 'grids'; did you mean 'grid'"),
    ],
)
def test_a_study_that_is_not_there_or_a_bad_override(name: str, overrides: list[str], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        load_study(name, overrides)


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(ScenarioError, match=r"expected .*list.yaml to hold the keys of a study, got \[1, 2\]"):
        load_study(str(tmp_path / "list.yaml"))
