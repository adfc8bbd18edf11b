"""A rules file that an operator loses, breaks and repairs while a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.production.rules import RulesGate

from .conftest import Opened, digests

WHOLE = "- {number: candidate_accuracy, at_least: 0}\n- {number: agreement, at_least: 0}\n...\n"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "promotion.yaml"
    file.write_text(WHOLE, encoding="utf-8")
    return file


def _play(rules: Path, contents: tuple[str | None, ...], periods: int) -> Opened:
    """Play a period a process; before each the file gets new contents (None: it is removed)."""
    opened = Opened(periods=periods, shadow={"periods": 1}, gate={"use": "rules", "file": str(rules)})
    for period, content in enumerate(contents):
        rules.unlink(missing_ok=True)
        if content is not None:
            rules.write_text(content, encoding="utf-8")
        opened.play(until=period)
    return opened


def test_without_whole_rules_the_champion_stays(rules: Path) -> None:
    run = _play(rules, (WHOLE, None, WHOLE, WHOLE[:-4], WHOLE, None), 5)
    records = run.records()
    actions = ["promoted", "error", "held", "error", "held", "error"]
    assert [record.judgement.action for record in records] == actions
    assert [record.version for record in records] == [0, 0, 0, 0, 0, 0]
    assert [record.challenger for record in records] == [None, None, 2, None, 3, None]
    assert "got no such file" in records[1].judgement.why
    assert "torn file" in records[3].judgement.why
    assert [record.judgement.action for record in run.records("main.twin")] == actions


def test_whole_rules_promote_out_of_the_shadow_and_fresh_processes_change_nothing(rules: Path) -> None:
    run = _play(rules, (WHOLE,) * 3, 2)
    assert [record.judgement.action for record in run.records()] == ["promoted", "held", "promoted"]
    assert "agreement" in run.records()[2].judgement.why
    once = Opened(periods=2, shadow={"periods": 1}, gate={"use": "rules", "file": str(rules)})
    once.play()
    assert digests(once.play()) == digests(run.play())


@pytest.mark.parametrize("shadow", [0, 1], ids=["a candidate", "a challenger"])
def test_a_rule_on_inspectors_is_judged_by_those_that_looked(rules: Path, shadow: int) -> None:
    rules.write_text("- {inspectors: passed}\n...\n", encoding="utf-8")
    judged = [period * (1 + shadow) for period in (1, 2, 3)]  # with a shadow of one period, every second
    script = dict(zip(judged, ("flag", "raise", "keep"), strict=True))
    inspector = {"use": "scripted", "surface": "inspector", "script": script}
    gate = {"use": "rules", "file": str(rules)}
    run = Opened(
        periods=judged[-1], twins=[], gate=gate, defenses=[inspector], in_process=True, shadow={"periods": shadow}
    )
    run.play()
    found = [run.records()[period].judgement for period in judged]
    assert [judgement.action for judgement in found] == ["rejected", "rejected", "promoted"]
    assert [judgement.why.partition(": ")[2] for judgement in found] == [
        "flagged by scripted",
        "not inspected: scripted failed",
        "passed by scripted",
    ]


def test_a_gate_that_raises_leaves_the_champion_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    inspector = {"use": "scripted", "surface": "inspector", "script": {}}
    run = Opened(periods=1, gate={"use": "peculiar_plugins:Undecided"}, defenses=[inspector], in_process=True)
    run.play()
    first, second = run.records()
    assert (first.judgement.action, first.version) == ("promoted", 0)
    assert first.judgement.why.startswith("the first version serves whatever the verdict: expected the gate to judge")
    assert (second.judgement.action, second.version, second.candidate) == ("error", 0, 1)
    assert "it raised KeyError: 'rules'" in second.judgement.why
    assert [outcome.subject for outcome in second.outcomes] == ["candidate", "champion"]
    assert run.records("main.twin")[1].judgement.action == "error"


def test_the_file_is_not_read_when_the_gate_is_made(tmp_path: Path) -> None:
    assert RulesGate(file=str(tmp_path / "gone.yaml")).file.endswith("gone.yaml")


@pytest.mark.parametrize(("on_timeout", "action"), [("reject", "rejected"), ("pass", "promoted")])
def test_a_timeout_is_judged_as_the_scenario_says(on_timeout: str, action: str) -> None:
    inspector = {"use": "neural-cleanse"}
    keys = {"on_timeout": on_timeout, "defense_passes": 1, "in_process": True, "twins": []}
    run = Opened(periods=1, gate={"use": "accuracy", "tolerance": 1.0}, defenses=[inspector], **keys)
    run.play()
    second = run.records()[1]
    assert [outcome.status for outcome in second.outcomes] == ["timeout"] * len(second.outcomes)
    assert second.outcomes[0].reason == "used more passes than defense_passes allows (1)"
    assert second.judgement.action == action
    assert ("neural-cleanse timed out" in second.judgement.why) == (action == "rejected")
