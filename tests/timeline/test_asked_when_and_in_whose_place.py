"""Defenses that train in the platform's place or answer in the model's, and in which periods a defense is asked."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.errors import ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.records import PeriodRecord
from simulator.scenario.model import Scenario

from .conftest import SMALL, Opened

KEYS: dict[str, Any] = {
    "periods": 3,
    "in_process": True,
    "recipe": {"base": {"epochs": 3, "batch": 32, "schedule": {"use": "one-cycle", "peak": 0.1}},
               "update": {"epochs": 2, "batch": 32}},
    "probes": [{"use": "attack-success"}],
}  # fmt: skip


def scripted(surface: str, **keys: Any) -> dict[str, Any]:
    return {"use": "scripted", "surface": surface, **keys}


def records(*defenses: dict[str, Any], line: str = "main", **keys: Any) -> list[PeriodRecord]:
    opened = Opened(**KEYS | {"defenses": list(defenses)} | keys)
    opened.play()
    return opened.records(line)


def looked(found: list[PeriodRecord]) -> list[list[str]]:
    """The subjects of the outcomes, by period."""
    return [[outcome.subject for outcome in record.outcomes] for record in found]


# -- training ----------------------------------------------------------------------------------------------------------


def test_a_training_defense_trains_base_and_updates_and_the_record_says_so() -> None:
    found = records(scripted("training", script={2: "flag", 3: "raise"}), twins=[])
    outcomes = [record.outcomes[0] for record in found]
    assert {(outcome.surface, outcome.subject) for outcome in outcomes} == {("training", "candidate")}
    assert [outcome.status for outcome in outcomes] == ["changed", "changed", "passed", "failed"]
    assert [record.training.get("trainer") for record in found] == ["scripted", "scripted", "scripted", None]
    # 300 rows in 9 whole batches of 32 an epoch, then 60 in one: forward passes of the model are counted
    assert [record.training["samples"] for record in found][:3] == [3 * 9 * 32, 2 * 32, 0]
    assert found[2].weights == found[1].weights  # it left the champion as it was
    assert found[3].training["samples"] == 2 * 60  # so the platform trained itself
    assert found[3].weights != found[2].weights


def test_trained_by_the_recipe_it_learns_as_much_as_by_the_platform() -> None:
    theirs, ours = (records(*one, twins=[])[3] for one in ([scripted("training")], []))
    accuracies = [record.readings["clean/accuracy"].value for record in (theirs, ours)]
    assert min(accuracies) > 0.5  # type: ignore[type-var]
    assert abs(accuracies[0] - accuracies[1]) < 0.15  # type: ignore[operator]


def test_a_training_that_is_late_leaves_it_to_the_platform_and_the_candidate_may_be_rejected() -> None:
    """Its passes are limited to fewer than an epoch takes."""
    late = {"defense_passes": 10, "on_timeout": "closed", "twins": [], "periods": 1}
    record = records(scripted("training"), **late)[1]
    assert record.outcomes[0].status == "timeout"
    assert "trainer" not in record.training
    assert (record.judgement.action, record.judgement.why) == ("rejected", "not defended: scripted timed out")


def test_with_a_checkpoint_as_base_no_defense_trains_it(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    opened = Opened(**KEYS | {"periods": 0 + 1, "twins": []})
    opened.play()
    key = opened.head.lineages[0]
    save_file(opened.registry.weights(key, 0), tmp_path / "base.safetensors")
    keys = {"base": {"from": str(tmp_path / "base.safetensors")}, "twins": [], "periods": 1, "attack": {"use": "none"},
            "campaign": {"use": "none"}}  # fmt: skip
    found = records(scripted("training"), **keys)
    assert found[0].outcomes == []
    assert [record.training.get("trainer") for record in found] == [None, "scripted"]


def test_an_attacker_who_trains_is_not_replaced() -> None:
    keys = {"attack": {"use": "flat-minimum", "target": 0}, "campaign": {"use": "one-shot", "rate": 0.2}, "periods": 1}
    found = records(scripted("training"), twins=[], **keys)
    assert [record.training.get("trainer") for record in found] == ["flat-minimum", "scripted"]
    assert [len(record.outcomes) for record in found] == [0, 1]


# -- answers -----------------------------------------------------------------------------------------------------------


def test_answers_of_a_screen_count_as_what_is_served() -> None:
    """One class is answered to every image: a tenth of the clean images are of it, and attack success is whole or 0."""
    for answer, success in ((0, 1.0), (1, 0.0)):
        record = records(scripted("screen", otherwise="flag", share=1.0, answer=answer), twins=[], periods=1)[1]
        assert record.readings["backdoor/screened_attack_success"].value == success
        assert record.readings["clean/screened_accuracy"].value == pytest.approx(0.1, abs=0.05)
        assert record.readings["clean/refused_share"].value == 0.0
        assert record.readings["clean/accuracy"].value > 0.5  # type: ignore[operator]
        (outcome,) = record.outcomes
        assert (outcome.status, outcome.evidence["answered"]) == ("changed", outcome.evidence["rows"])


def test_the_first_screen_that_answers_is_heard_and_a_refusal_goes_before() -> None:
    first, second = (scripted("screen", otherwise="flag", share=1.0, answer=answer) for answer in (0, 1))
    record = records(first, second, twins=[], periods=1)[1]
    assert record.readings["backdoor/screened_attack_success"].value == 1.0
    refusing = scripted("screen", otherwise="flag", share=1.0)
    assert records(first, refusing, twins=[], periods=1)[1].readings["backdoor/screened_attack_success"].value == 0.0


# -- when --------------------------------------------------------------------------------------------------------------


def test_a_defense_is_asked_every_k_th_period_or_on_alarm() -> None:
    monitor = {"use": "scripted", "alarms": [2]}
    defenses = (scripted("inspector", when={"every": 2}), scripted("inspector", when="on-alarm"), scripted("filter"))
    found = records(*defenses, monitor=monitor, twins=[])
    names = [[outcome.name for outcome in record.outcomes] for record in found]
    assert names == [
        ["scripted-3", "scripted"], ["scripted-3"], ["scripted-3", "scripted", "scripted-2"], ["scripted-3"],
    ]  # fmt: skip


def test_at_promotion_an_inspector_looks_only_at_what_would_be_promoted() -> None:
    late = scripted("inspector", when="at-promotion", script={3: "flag"})
    early = scripted("inspector", script={1: "flag"})
    found = records(early, late, gate={"use": "accuracy", "tolerance": 1.0})
    said = [[(one.name, one.subject, one.status) for one in record.outcomes] for record in found]
    assert said == [
        [("scripted", "candidate", "passed"), ("scripted-2", "candidate", "passed")],
        [("scripted", "candidate", "flagged"), ("scripted", "champion", "flagged")],
        [("scripted", "candidate", "passed"), ("scripted-2", "candidate", "passed")],
        [("scripted", "candidate", "passed"), ("scripted-2", "candidate", "flagged"),
         ("scripted", "champion", "passed")],
    ]  # fmt: skip
    assert [record.version for record in found] == [0, 0, 2, 2]
    assert found[3].judgement.why == "flagged by scripted-2"


def test_at_promotion_a_challenger_is_looked_at_when_its_shadow_is_over() -> None:
    late = scripted("inspector", when="at-promotion", script={2: "flag"})
    found = records(late, shadow={"periods": 1}, twins=[])
    assert looked(found) == [["candidate"], [], ["challenger"], []]
    assert [record.judgement.action for record in found] == ["promoted", "held", "rejected", "held"]


def test_a_scenario_that_says_neither_is_stored_as_it_always_was() -> None:
    plain = Scenario.model_validate(SMALL | {"defenses": [{"use": "strip", "overlays": 4}]})
    said = Scenario.model_validate(
        SMALL | {"defenses": [{"use": "strip", "overlays": 4, "when": "every-period", "may": []}]}
    )
    assert plain.tree["defenses"] == said.tree["defenses"] == [{"use": "strip", "overlays": 4}]
    assert plain.digest() == said.digest()
    other = Scenario.model_validate(SMALL | {"defenses": [{"use": "strip", "overlays": 4, "may": ["hold"]}]})
    assert other.digest() != plain.digest()
    assert other.defenses[0].options == {"overlays": 4}


@pytest.mark.parametrize(("defenses", "message"), [
    ([scripted("training"), scripted("training")], "one defense to train in the platform's place, got scripted"),
    ([scripted("filter", when="at-promotion")], "when to be at-promotion of an inspector only, got a filter"),
    ([scripted("screen", may=["hold"])], "no defenses.0.may of a screen, which may not ask, got hold"),
])  # fmt: skip
def test_what_has_no_meaning_is_refused_beforehand(defenses: list[dict[str, Any]], message: str) -> None:
    scenario = Scenario.model_validate(SMALL | {"in_process": True, "defenses": defenses})
    with pytest.raises(ScenarioError, match=message):
        check_scenario(scenario)
