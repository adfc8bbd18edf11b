"""The defense of `docs/writing-a-defense.md` is sound, and works over time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulator.checks import check
from tests.timeline.conftest import Opened

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
    """A repair ruins the version of period 1; in period 2 the inspector looks at what serves."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    (tmp_path / "documented_asking.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [result for result in check("defenses", "documented_asking:GoesBack") if not result.passed] == []
    ruins = {"use": "scripted", "surface": "repair", "script": {1: "flag"}, "share": 1.0}
    asks = {"use": "documented_asking:GoesBack", "may": ["roll-back", "purge"]}
    policy = {"use": "scripted", "periods": [1]}
    opened = Opened(periods=2, twins=[], in_process=True, defenses=[ruins, asks], policy=policy)
    opened.play()
    record = opened.records()[2]
    assert [record.version for record in opened.records()] == [0, 1, 0]
    assert [(one.kind, one.granted) for one in record.outcomes[-1].requests] == [("roll-back", True), ("purge", True)]
    assert record.replay is not None
    assert record.replay.purged == [1]
