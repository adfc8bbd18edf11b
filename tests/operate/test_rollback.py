"""Rolling back by hand, over a real SQLite MLflow."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import pytest

from flows.cli import main
from flows.operate.rollback import rollback
from flows.runs.folder import run_folder_of
from simulator.errors import ScenarioError
from simulator.loop.run import open_run
from simulator.records import LineageKey
from simulator.scenario.load import load_scenario
from simulator.system.holder import Holder

MAIN, TWIN = LineageKey(arm="main"), LineageKey(arm="main", control="paced")


def said(code: int, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """Call the command, which must exit with `code`; return what it printed."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert (exited.value.code or 0) == code
    out, err = capsys.readouterr()
    return out, err


def test_the_version_before_serves_again_and_the_ledger_says_why(kept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert kept.aliases("whole") == {"champion": 1, "previous": 0}
    out, _ = said(0, capsys, "rollback", "whole", "--reason", "too many errors", "--format", "json")
    for line in (MAIN, TWIN):
        assert kept.aliases("whole", line)["champion"] == 0
        assert kept.aliases("whole", line)["previous"] == 1
    left = kept.client.get_model_version_by_alias("ebbdoor.whole.main", "previous")
    assert "too many errors" in left.tags["rolled_back"]

    _, ledger = kept.stores()
    ledger.head("whole")
    (action,) = ledger.actions("main")
    printed = json.loads(out)
    assert (action.to, action.period) == (0, 1)
    assert (printed["to"], printed["left"], printed["period"]) == (1, 2, 1)  # as MLflow numbers them
    assert kept.client.get_model_version_by_alias("ebbdoor.whole.main", "champion").version == printed["to"]
    assert printed["who"]
    assert printed["when"].endswith("+00:00")
    records = [entry.record for entry in ledger.entries(MAIN)]
    assert action.numbers["taken/clean/accuracy"] == records[0].readings["clean/accuracy"].value
    assert action.numbers["left/clean/accuracy"] == records[1].readings["clean/accuracy"].value
    assert (action.numbers["left/version"], action.numbers["taken/version"]) == (2, 1)  # as MLflow has them
    assert all(math.isfinite(value) for value in action.numbers.values())
    assert ledger.holder("whole") is None


def test_rolled_back_twice_a_run_is_where_it_was(kept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(0, capsys, "rollback", "whole", "--to", "1", "--reason", "try")
    assert "version 1 serves now, version 2 was left after period 1" in out
    for arguments in ([], ["--to", "2"]):
        _, err = said(2, capsys, "rollback", "whole", "--reason", "no better", *arguments)
        assert "--even-if-rolled-back" in err
    assert kept.aliases("whole") == {"champion": 0, "previous": 1}
    forward = ["--to", "2", "--even-if-rolled-back"]
    said(0, capsys, "rollback", "whole", "--reason", "no better", *forward)
    assert kept.aliases("whole") == {"champion": 1, "previous": 0}


def test_a_move_by_hand_to_the_version_asked_for_is_what_the_order_carries_out(
    kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.client.set_registered_model_alias("ebbdoor.whole.main", "champion", "1")
    out, _ = said(0, capsys, "rollback", "whole", "--to", "1", "--reason", "too many errors")
    assert "version 1 serves now, version 2 was left" in out
    _, ledger = kept.stores()
    ledger.head("whole")
    assert [(action.to, action.reason) for action in ledger.actions("main")] == [(0, "too many errors")]
    for line in (MAIN, TWIN):
        assert kept.aliases("whole", line) == {"champion": 0, "previous": 1}


def test_a_move_by_hand_that_is_adopted_first_is_said(kept: Any, caplog: pytest.LogCaptureFixture) -> None:
    kept.client.set_registered_model_alias("ebbdoor.whole.main", "champion", "1")
    place = run_folder_of("whole", None, kept.workspace)
    with caplog.at_level(logging.WARNING, "ebbdoor.stores"):
        rollback(place, "main", 2, "the other one", even_if_rolled_back=True)
    assert "moved by hand in MLflow from version 2 to 1; adopted as a roll-back" in caplog.text
    assert kept.aliases("whole")["champion"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("nowhere", "--reason", "x"), 2, "got 'nowhere'"),
        (("whole", "--reason", " "), 2, "expected a reason"),
        (("whole", "--reason", "x", "--to", "7"), 2, "has served, got 7; choose from 1"),
        (("whole", "--reason", "x", "--to", "2"), 2, "got 2; choose from 1"),
        (("whole", "--reason", "x", "--arm", "slow"), 2, "expected --arm to name one of main, got 'slow'"),
        (("part", "--reason", "x"), 2, "nothing to roll back to"),
        (("whole",), 2, "--reason"),
        (("whole", "--reason", "x", "--to", "0"), 2, "--to"),
    ],
)
def test_what_cannot_be_rolled_back_is_refused_in_words(
    kept: Any, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    before = kept.aliases("whole")
    _, err = said(code, capsys, "rollback", *arguments)
    assert sentence in err
    assert "Traceback" not in err
    assert kept.aliases("whole") == before
    assert not any("lock" in name for name in kept.models())


def test_with_several_arms_one_must_be_named(kept: Any) -> None:
    registry, ledger = kept.stores()
    scenario = load_scenario(str(kept.workspace.parent / "tiny.yaml"), ["arms={slow: {}, fast: {}}"])
    open_run(scenario, registry, ledger, "two")
    with pytest.raises(ScenarioError, match="--arm to name one of slow, fast, got none"):
        rollback(run_folder_of("two", None, kept.workspace), None, None, "x")


def test_a_run_that_is_held_is_refused(kept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    kept.hold("whole", Holder.current())
    _, err = said(4, capsys, "rollback", "whole", "--reason", "x")
    assert "expected run 'whole' to be free" in err
    assert kept.aliases("whole") == {"champion": 1, "previous": 0}
