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
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
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
