"""A defense that raises, and one that is refused what it asks for, are told on the terminal at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main

RAISES = """
from typing import final
from defenses.base import Context, Inspector, InspectorResult, RollBack


@final
class Raises(Inspector):
    '''Raises in period 2.'''

    def inspect(self, context: Context) -> InspectorResult:
        if context.period == 2:
            {}["oops"]
        return InspectorResult(False, -0.0, 1.0, requests=(RollBack(0, "they moved"),))
"""
DEFENDED = "arms={broken: {defenses: [{use: 'user_raises:Raises'}]}}"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    return captured.err


def test_what_failed_and_what_was_refused_is_told(
    tiny: Path, stocked: Path, user_file: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    user_file("user_raises.py", RAISES)
    keys = ("--set", DEFENDED, "--set", "gate={use: none}")
    bare = ("--no-prefect", "--processes", "0", "--set", "in_process=true")
    run = told(capsys, "run", str(tiny), *keys, *bare, "--out", "mine")
    warnings = [line for line in run.splitlines() if line.startswith("warning: ") and "user_raises" in line]
    (failed, refused) = warnings
    assert failed == "warning: 1 of 3 calls of user_raises:Raises failed: KeyError: 'oops' (user_raises.py, line 12)"
    assert refused == (
        "warning: user_raises:Raises asked for a roll-back 2 times, all refused: "
        "the scenario grants it nothing; add may: [roll-back]"
    )
    as_json = told(capsys, "resume", "mine", "--no-prefect", "--processes", "0", "--display", "json")
    assert [line for line in as_json.splitlines() if line.startswith("warning: ")] == warnings
    for form in ("table", "json"):
        again = told(capsys, "report", "mine", "--format", form)
        assert [line for line in again.splitlines() if line.startswith("warning: ")] == warnings
    assert "score 0 beside a threshold of 1" in Path("mine/report.html").read_text("utf-8")
