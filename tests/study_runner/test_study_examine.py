"""A study's mistakes, told all at once before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.errors import ScenarioError
from simulator.study.examine import check_study
from simulator.study.load import load_study, studies
from simulator.study.model import Study
from simulator.world.sources import digits

MakeStudy = Callable[..., Study]


def claim(one: dict[str, Any], other: dict[str, Any], measure: str = "survival", **endpoint: Any) -> dict[str, Any]:
    horizon = {"horizon": 2.0} if measure == "survival" else {}
    return {
        "id": "1",
        "sentence": "one outlives the other",
        "endpoint": {"measure": measure, **horizon, **endpoint},
        "one": one,
        "other": other,
        "direction": "greater",
    }


def ranks(*settings: str, of: str = "predicted_updates") -> dict[str, Any]:
    return {"correlation": {"of": of, "with": "survival_updates_0.5", "settings": list(settings)}}


SLOW, FAST = {"setting": "slow"}, {"setting": "fast"}


def test_a_good_study_passes(tiny_study: MakeStudy) -> None:
    check_study(tiny_study(claims=[claim(SLOW, FAST)], quick={"seeds": [0]}))


@pytest.mark.parametrize("name", studies())
def test_every_study_that_ships_can_be_played(name: str) -> None:
    check_study(load_study(name), data=False)


def test_data_are_loaded_once_for_all_settings(tiny_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    load, loaded = digits.Digits.load, []

    def counted(source: digits.Digits) -> Any:
        loaded.append(source)
        return load(source)

    monkeypatch.setattr(digits.Digits, "load", counted)
    check_study(tiny_study(grid={"attack.size": [1, 2], "recipe.update.epochs": [1, 2]}))
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"claims": [claim({"setting": "slwo"}, FAST)]}, "expected a setting .* got 'slwo'; did you mean 'slow'"),
        ({"claims": [claim(SLOW, FAST, horizon=3.0)]}, "expected horizon to be from 0 to the 2 periods .* got 3"),
        (
            {"claims": [claim(SLOW, FAST, measure="clean/accuracy", over=4)]},
            "claim '1': expected over to be from 0 to the 2 periods of 'slow', got 4",
        ),
        (
            {"claims": [claim(SLOW, FAST)], "arm_seeds": {"fast": [1, 2]}},
            "claim '1': expected 'fast' to have the seeds of 'slow', .* got 1, 2 beside 0, 1; give both the same",
        ),
        (
            {"claims": [claim(ranks("slow", "fast", "slaw"), {"value": 0.0}, measure="rank_correlation")]},
            "claim '1': expected a setting of the study, got 'slaw'; did you mean 'slow'",
        ),
        (
            {"claims": [claim(SLOW, FAST) | {"beside": [{"one": SLOW, "other": {"setting": "main"}}]}]},
            "claim '1', beside.0: expected a setting of the study, got 'main'; it has fast, slow",
        ),
        (
            {"claims": [claim(SLOW | {"over": 3}, FAST, measure="clean/accuracy")]},
            "claim '1': expected over to be from 0 to the 2 periods of 'slow', got 3",
        ),
        (
            {"claims": [claim(SLOW, FAST, measure="clean/acuracy")]},
            "claim '1': expected a reading that 'slow' measures, got 'clean/acuracy'; did you mean 'clean/accuracy'",
        ),
        (
            {"claims": [claim(SLOW, FAST, measure="backdoor/relearned_net_attack_success")]},
            "claim '1': expected a reading that 'slow' measures, got 'backdoor/relearned_net_attack_success'; ",
        ),
        (
            {"claims": [claim(SLOW, FAST | {"measure": "mean_clean_acuracy"}, measure="mean_clean_accuracy")]},
            "that 'fast' measures, got 'mean_clean_acuracy'; did you mean 'mean_clean_accuracy'",
        ),
        (
            {"claims": [claim(SLOW, FAST, measure="alarms")]},
            "claim '1': expected a column of the timelines table that 'slow' measures, got 'alarms'",
        ),
        (
            {"claims": [claim(SLOW, FAST) | {"start": {"dose": 0.1}}]},
            "claim '1': expected a reading that 'slow' measures, got 'backdoor/trigger_ed50'",
        ),
        (
            {"claims": [claim(SLOW, FAST)], "set": {"twins": []}},
            "claim '1': expected a reading that 'slow' measures, got 'backdoor/net_attack_success'",
        ),
        (
            {"grid": {"attack.size": [1, 2, 3]}, "claims": [claim(
                ranks(*(f"slow attack.size={size}" for size in (1, 2, 3)), of="predicted_update"),
                {"value": 0.0}, measure="rank_correlation",
            )]},
            "that 'slow attack.size=1' measures, got 'predicted_update'; did you mean 'predicted_updates'",
        ),
        (
            {"grid": {"attack.size": [1, 2, 3]}, "claims": [claim(
                ranks(*(f"slow attack.size={size}" for size in (1, 2, 3)), of="clean/accuracy"),
                {"value": 0.0}, measure="rank_correlation",
            )]},
            "expected a column of the timelines table that 'slow attack.size=1' measures, got 'clean/accuracy'",
        ),
        (
            {"arm_seeds": {"fast": [3]}, "quick": {"seeds": [0], "settings": ["fast"]}},
            "expected quick to leave some timeline, got none; name a seed that its settings have",
        ),
        ({"arm_seeds": {"fats": [1]}}, "arm_seeds: expected an arm of the study, got 'fats'; did you mean 'fast'"),
        ({"seeds": [1, 1]}, "expected seeds to differ, got 1 twice; remove one"),
        ({"quick": {"seeds": [9]}}, "expected quick.seeds to be among the study's seeds, got 9"),
        (
            {"quick": {"seeds": [0], "settings": ["fasst"]}},
            "quick.settings: expected a setting of the study, got 'fasst'; did you mean 'fast'",
        ),
        ({"grid": {"attack.size": [2, 9]}}, "setting 'slow attack.size=9' and 1 others: .*9"),
        ({"set": {"attack.sise": 2}}, "attack 'patch': expected an option it knows, got 'sise'|sise"),
        ({"set": {"stream.batch": 3000}}, "expected the stream to need at most"),
        ({"set": {"stream.arrivals": {"folder": "drop"}}}, "expected a study's scenario without stream.arrivals"),
    ],
)  # fmt: skip
def test_a_mistake_is_told(tiny_study: MakeStudy, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        check_study(tiny_study(**keys))


def test_an_arm_of_the_scenario_that_cannot_be(tiny_study: MakeStudy) -> None:
    arms = {"good": {}, "bad": {"attack": {"use": "patch", "target": 11}}, "worse": {"recipe.update.batch": 500}}
    with pytest.raises(ScenarioError) as caught:
        check_study(tiny_study({"arms": arms}, seeds=[1, 1]))
    assert "expected seeds to differ" in str(caught.value)
    assert "setting 'worse': expected recipe.update.batch to be at most stream.batch" in str(caught.value)
    with pytest.raises(ScenarioError, match=r"setting 'bad': .*11"):
        check_study(tiny_study({"arms": {"good": arms["good"], "bad": arms["bad"]}}))


NET, EXPOSURE = "backdoor/net_attack_success", "exposure"


@pytest.mark.parametrize(
    ("one", "other", "endpoint", "direction", "gate", "sentence"),
    [
        (
            SLOW,
            {"value": 2},
            {"measure": "survival", "horizon": 2},
            "less",
            0,
            "'survival', which here is never above 0",
        ),
        (SLOW, {"value": 0}, {"measure": "survival", "horizon": 2}, "greater", 0, "never below 0"),
        (SLOW, FAST, {"measure": "survival", "horizon": 2}, "less", 2, "never above 2"),
        (SLOW, {"value": 1}, {"measure": "erased", "horizon": 1}, "less", 0, "'erased', which here is never above 1"),
        (SLOW, {"value": 1}, {"measure": "clean/accuracy"}, "less", 0, "never above 0"),
        (SLOW, {"value": 0}, {"measure": "alarms"}, "greater", 0, "never below 0"),
        (SLOW, SLOW, {"measure": NET}, "greater", 0, "never below 0"),
        (
            {"setting": "slow", "measure": "survival_updates_0.5"},
            {"setting": "slow", "measure": "survival_periods_0.5"},
            {"measure": "updates"},
            "less",
            0,
            "never above 0",
        ),
        (
            SLOW,
            {"value": 0.5},
            {"measure": NET, "over": "erased", "given": "erased"},
            "less",
            0,
            "never above 0",
        ),
        (SLOW, FAST, {"measure": NET}, "within", 2, "never further than 2 from 0, for gates of .2; narrow them"),
    ],
)
def test_an_endpoint_that_can_only_fall_on_one_side_is_refused(
    tiny_study: MakeStudy,
    one: dict[str, Any],
    other: dict[str, Any],
    endpoint: dict[str, Any],
    direction: str,
    gate: float,
    sentence: str,
) -> None:
    keys = {"id": "1", "sentence": "-", "endpoint": endpoint, "one": one, "other": other, "direction": direction}
    monitored = {"monitor": {"use": "mmd"}} if endpoint["measure"] == "alarms" else {}
    with pytest.raises(ScenarioError, match=sentence):
        check_study(tiny_study(claims=[{**keys, "gate": gate}], set=monitored), data=False)


@pytest.mark.parametrize("direction", ["greater", "less"])
def test_a_share_and_a_difference_can_fall_on_either_side(tiny_study: MakeStudy, direction: str) -> None:
    share = {**claim(SLOW, {"value": 0.7}, "erased", horizon=1), "direction": direction}
    difference = {**claim(SLOW, FAST, NET), "id": "2", "direction": direction}
    check_study(tiny_study(claims=[share, difference]), data=False)


def test_that_a_backdoor_is_erased_is_seen_one_update_later(tiny_study: MakeStudy) -> None:
    with pytest.raises(ScenarioError, match="expected horizon to be from 0 to the 2 periods of 'slow', got 3"):
        check_study(tiny_study(claims=[claim(SLOW, {"value": 0.7}, "erased", horizon=2)]), data=False)


def test_an_arm_may_have_periods_of_its_own(tiny_study: MakeStudy) -> None:
    check_study(tiny_study(arm_periods={"slow": 3}), data=False)
    with pytest.raises(ScenarioError, match="arm_periods: expected an arm of the study, got 'slower'"):
        check_study(tiny_study(arm_periods={"slower": 3}), data=False)
