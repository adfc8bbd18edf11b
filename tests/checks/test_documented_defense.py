"""The defense of `docs/writing-a-defense.md` is sound, and works over time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from simulator.checks import check
from simulator.preflight.scenario import check_scenario
from simulator.scenario.overrides import scenario_of
from tests.timeline.conftest import Opened, play_in_memory

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-defense.md"


def test_the_documented_defense_passes_the_checks_and_remembers_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    (tmp_path / "documented_defense.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    results = check("defenses", "documented_defense:MovesTooFar")
    assert [result for result in results if not result.passed] == []
    defense = {"use": "documented_defense:MovesTooFar"}
    opened = Opened(periods=2, twins=[], in_process=True, defenses=[defense], campaign={"use": "none"})
    opened.play()
    statuses = [record.outcomes[0].status for record in opened.records()]
    assert statuses == ["skipped", "passed", "passed"]
    moves = opened.records()[2].state["platform"]["defense_states"][defense["use"]]["values"]["moves"]
    assert [outcome.evidence["score"] for record in opened.records()[1:] for outcome in record.outcomes] == moves


def test_the_documented_threshold_is_what_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[2]
    (tmp_path / "documented_threshold.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    results = {result.name: result for result in check("defenses", "documented_threshold:TooDark")}
    assert [result for result in results.values() if not result.passed] == []
    assert results["the-threshold-it-names-decides"].message.startswith("Set between two of its scores")


def test_the_documented_request_brings_back_what_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the scenario beside it, as the page says: a version is spoilt in period 1, and looked at in period 2."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    (tmp_path / "my_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [result for result in check("defenses", "my_module:GoesBack") if not result.passed] == []
    keys = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0])
    scenario = scenario_of(keys | {"in_process": True, "twins": []})
    check_scenario(scenario, data=True)
    records = [entry.record for entry in play_in_memory(scenario)["main"]]
    assert [record.version for record in records] == [0, 1, 0, 0]
    outcome = records[2].outcomes[-1]
    assert (outcome.subject, outcome.status) == ("champion", "flagged")
    assert [(one.kind, one.granted) for one in outcome.requests] == [("roll-back", True), ("purge", True)]
    assert records[2].replay is not None
    assert records[2].replay.purged == [1]


def test_an_inspector_of_the_champion_is_not_asked_where_every_candidate_is_promoted() -> None:
    opened = Opened(periods=2, twins=[], in_process=True, defenses=[{"use": "scripted", "surface": "inspector"}])
    opened.play()
    assert [one.subject for record in opened.records() for one in record.outcomes] == ["candidate"] * 3
