"""Calibration from end to end: clean lineages of handwritten digits, with stores in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from simulator.calibration.calibrate import Calibrated, Request, calibrate
from simulator.calibration.lineage import APART, clean_scenario
from simulator.calibration.told import option_of_run, sentences, snippet, values
from simulator.errors import PluginError, ScenarioError
from simulator.loop.run import open_run, play
from simulator.production.defending.examine import examined
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario.load import load_scenario
from simulator.scenario.model import DefenseUse, Scenario
from simulator.scenario.overrides import scenario_of

SMALL: dict[str, Any] = {
    "name": "small",
    "periods": 4,
    "device": "cpu",
    "in_process": True,
    "source": {"use": "digits"},
    "stream": {"base": 200, "batch": 60, "validation": 40, "relearning": 10, "test": 60},
    "attack": {"use": "patch", "target": 0, "size": 2},
    "campaign": {"use": "persistent", "rate": 0.2},
    "recipe": {
        "network": {"use": "compact-cnn"},
        "base": {"epochs": 2, "batch": 32, "schedule": {"use": "one-cycle", "peak": 0.1}},
        "update": {"epochs": 1, "batch": 32},
    },
    "trusted": {"images": 60},
}


@pytest.fixture(autouse=True)
def _judges_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def small(**keys: Any) -> Scenario:
    return scenario_of(SMALL | keys)


def calibrated(defense: str, rate: float = 0.2, seeds: int | None = 1, **keys: Any) -> Calibrated:
    return calibrate(Request(defense, small(**keys), rate, lineages=seeds), processes=0)


def played(found: Calibrated, **keys: Any) -> list[Any]:
    """The outcomes of the defense at work on the same clean lineage, in its own place."""
    clean = {"attack": {"use": "none"}, "campaign": {"use": "none"}, "probes": [], "seed": APART}
    scenario = small(defenses=[found.use], **clean, **keys)
    registry, ledger = MemoryRegistry(), MemoryLedger()
    entries = play(open_run(scenario, registry, ledger, "run"), scenario, registry, ledger, processes=0)
    return [outcome for entry in entries["main"] for outcome in entry.record.outcomes]


def test_an_inspector_flags_at_its_threshold_as_many_clean_versions_as_was_said() -> None:
    """Five versions at a rate of 0.2: one of six places, so none; at 0.4 two of six, so one."""
    strict, loose = calibrated("judges:Norm"), calibrated("judges:Norm", 0.4)
    norms = sorted(look.scores[0] for look in strict.looks)
    assert [look.flagged for look in strict.looks] == [1] * 5
    assert norms[-1] < strict.value < 1.02 * norms[-1]
    assert norms[-2] < loose.value < norms[-1]
    assert (sum(strict.control.lost), sum(loose.control.lost)) == (0, 1)
    assert strict.use == {"use": "judges:Norm", "longest": strict.value}
    assert (strict.before, strict.lost_before, strict.unit) == (0.001, 1.0, "updates")
    at_work = [one.status for one in played(strict)]
    assert at_work == ["passed"] * 5


def test_a_filter_drops_at_its_threshold_no_more_clean_rows_than_was_said() -> None:
    found = calibrated("judges:Dark", 0.3)
    outcomes = played(found)
    shares = [one.evidence["dropped"] / one.evidence["rows"] for one in outcomes]
    # five windows at a rate of 0.3 may lose 0.3 * 6 - 1 = 0.8 in all, and one row less would be wasted
    assert 0.8 - 1 / 60 <= sum(shares) <= 0.8
    assert shares == pytest.approx(list(found.control.lost))
    assert (found.flags, found.unit, found.lost_before) == ("below", "rows", 1.0)


def test_a_screen_is_asked_about_the_rows_that_arrived_since_its_version_was_trained() -> None:
    found = calibrated("strip", 0.25, periods=4, trusted={"images": 80})
    assert [sorted(lineage.looks) for lineage in found.lineages] == [[1, 2, 3, 4]]  # in period 0 nothing serves
    assert {look.rows for look in found.looks} == {60}
    assert found.unit == "images"
    assert 0 <= sum(found.control.lost) <= 0.25 * 5 - 1
    assert found.use["use"] == "strip"


def test_a_screen_is_asked_beside_a_filter_that_looks_twice() -> None:
    """At the second look, with the candidate's features, there is no traffic: what was noted at the first stands."""
    again = {"use": "scripted", "surface": "filter", "again": True}
    found = calibrated("strip", 0.3, periods=3, defenses=[again, {"use": "strip"}])
    assert [sorted(lineage.looks) for lineage in found.lineages] == [[1, 2, 3]]
    assert {look.rows for look in found.looks} == {60}


def test_a_p_value_is_set_below_those_of_clean_updates() -> None:
    found = calibrated("drift-or-poison", 0.2)
    p_values = [-look.scores[0] for look in found.looks]
    assert 0 < found.value < min(p_values)
    assert found.flags == "below"


def test_the_clean_scenario_has_no_attack_and_the_defense_stands_where_it_stood() -> None:
    arm = small(
        defenses=[{"use": "fine-tuning"}, {"use": "strip", "overlays": 4, "when": {"every": 2}}, {"use": "none"}]
    )
    asked = arm.defenses[1]
    clean = clean_scenario(arm, asked, examined(asked, in_process=True), seed=7)
    assert (clean.attack.use, clean.campaign.use, clean.probes, clean.seed) == ("none", "none", (), 7)
    assert [one.use.rpartition(":")[2] for one in clean.defenses] == ["fine-tuning", "observing", "none"]
    assert clean.defenses[1].options["defense"] == {"use": "strip", "overlays": 4}
    assert clean.defenses[1].when == "every-period"
    assert (clean.recipe, clean.stream, clean.drift, clean.gate) == (arm.recipe, arm.stream, arm.drift, arm.gate)


def test_lineages_are_played_until_there_are_enough_updates() -> None:
    said: list[str] = []
    found = calibrate(Request("judges:Norm", small(periods=1), 0.2), said.append, processes=0)
    assert [one.seed for one in found.lineages] == [APART, APART + 1]  # 2 updates each, and 4 are needed
    assert said == [f"seed {APART + place}: 2 clean updates looked at" for place in (0, 1)]


def test_options_and_grants_of_the_scenario_are_kept_and_what_is_printed_loads() -> None:
    entry = {"use": "judges:Norm", "longest": 1.0, "when": {"every": 2}, "may": ["hold"]}
    found = calibrated("judges:Norm", defenses=[entry])
    assert found.use == entry | {"longest": found.value}
    assert found.before == 1.0
    read = yaml.safe_load(snippet(found))
    assert read == {"defenses": [found.use]}
    assert DefenseUse.model_validate(read["defenses"][0]).may == ("hold",)
    key = option_of_run(found).removeprefix("--set ").strip("'")
    assert load_scenario("quickstart", [key]).tree["defenses"] == [found.use]
    assert all(line.startswith("#") for line in snippet(found).splitlines()[:-2])
    assert values(found)["value"] == found.value
    assert sentences(found)[1] == "of these it flags 0 % of the updates, before 100 %"


@pytest.mark.slow
def test_a_strangers_defense_is_not_imported_by_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).with_name("judges.py").read_text("utf-8")
    (tmp_path / "elsewhere_judges.py").write_text(source, "utf-8")
    monkeypatch.chdir(tmp_path)
    found = calibrated("elsewhere_judges:Norm", 0.5, periods=1, in_process=False)
    assert len(found.looks) == 2
    assert "elsewhere_judges" not in sys.modules


@pytest.mark.parametrize(
    ("defense", "keys", "sentence"),
    [
        ("stripp", {}, r"expected a known defense, or module:Name, got 'stripp'; did you mean 'strip'"),
        ("none", {}, r"threshold that clean updates can set, got 'none': it has no threshold;"),
        ("clp", {}, r"got 'clp': a repair judges nothing, so it raises no false alarm"),
        ("spectre", {}, r"got 'spectre': its thresholds are those of its paper, or the share that it drops"),
        ("judges:NeverApplies", {}, r"to judge some clean update, got none: skipped: the moon is wrong \(5 times\)"),
        ("judges:SeveralRules", {}, r"got none: failed: expected the verdict to follow from 'worst' and the option"),
    ],
)
def test_a_defense_that_cannot_be_calibrated_is_refused_with_the_reason(
    defense: str, keys: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PluginError, match=sentence):
        calibrated(defense, **keys)


def test_a_value_that_the_option_refuses_is_told() -> None:
    sentence = (
        r"expected a value of limit at which 'judges:Bounded' flags few enough clean updates, got 2\.01, which it"
    )
    with pytest.raises(PluginError, match=sentence):
        calibrated("judges:Bounded")


def test_too_few_updates_are_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.Optimizer, "__init__", None)  # a training would raise TypeError
    sentence = r"expected 19 clean updates, .* got at most 10, which promise 0\.0909; play 9 more"
    with pytest.raises(ScenarioError, match=sentence):
        calibrated("judges:Norm", 0.05, 2)


def test_too_few_looks_are_refused_with_what_was_not_judged() -> None:
    with pytest.raises(ScenarioError, match=r"expected 5 clean updates, .* got 4") as refused:
        calibrated("strip", 1 / 6, trusted={"images": 80})
    assert refused.value.__notes__ == ["It judged no others: skipped: no version serves yet (once)"]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 7.0, float("nan")])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ScenarioError, match=r"expected --rate to be above 0 and below 1"):
        calibrated("judges:Norm", rate)


def test_an_arm_is_named_where_there_are_several() -> None:
    scenario = small(arms={"slow": {}, "fast": {"recipe.update.epochs": 2}})
    with pytest.raises(ScenarioError, match=r"has several arms, got none; give one of slow, fast"):
        calibrate(Request("judges:Norm", scenario, 0.2))
    with pytest.raises(ScenarioError, match=r"expected --arm to be an arm of 'small', got 'fats'; did you mean 'fast'"):
        calibrate(Request("judges:Norm", scenario, 0.2, arm="fats"))
