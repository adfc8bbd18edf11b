"""What must not go unseen at the end of a run, from hand-made periods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.observer.export import export_of
from simulator.observer.report.defense_notes import defense_notes
from simulator.production.registry.base import Entry
from simulator.records import Asked, Outcome

MakeEntry = Callable[..., Entry]
OOPS = "raised KeyError: 'oops' (raises.py, line 8)"
NO_MAY = "the scenario grants it nothing; add may: [roll-back]"


def look(status: str = "passed", reason: str = "looked", *requests: Asked, name: str = "mine") -> Outcome:
    values: dict[str, Any] = {"surface": "inspector", "name": name, "status": status, "reason": reason}
    return Outcome(**values, requests=list(requests))


def back(why: str, *, granted: bool = False) -> Asked:
    return Asked(kind="roll-back", reason="they moved", to=0, granted=granted, why=why)


def notes(entry: MakeEntry, *outcomes: Outcome) -> list[str]:
    return defense_notes(
        export_of({}, {"main": [entry(0), *(entry(1 + p, outcomes=[o]) for p, o in enumerate(outcomes))]})
    )


def test_without_faults_nothing_is_said(entry: MakeEntry) -> None:
    granted = back("ordinal 0 serves from now on", granted=True)
    assert notes(entry, look(), look("flagged"), look("skipped", "too few"), look("passed", "near", granted)) == []


def test_failed_calls_are_counted_with_the_line_that_raised(entry: MakeEntry) -> None:
    assert notes(entry, look(), look("failed", OOPS), look(), look()) == [
        "1 of 4 calls of mine failed: KeyError: 'oops' (raises.py, line 8)"
    ]
    assert notes(entry, look("failed", OOPS), look(name="other")) == [
        "1 of 1 call of mine failed: KeyError: 'oops' (raises.py, line 8)"
    ]
    late = look("timeout", "did not finish within 2 seconds; its process was ended")
    assert notes(entry, look("failed", OOPS), late, look("failed", OOPS)) == [
        "3 of 3 calls of mine failed or reached a limit: KeyError: 'oops' (raises.py, line 8) "
        "(and 1 other reason, in the report)"
    ]


def test_a_refused_request_is_told_with_the_recorded_reason(entry: MakeEntry) -> None:
    assert notes(entry, *[look("passed", "near", back(NO_MAY))] * 3) == [
        f"mine asked for a roll-back 3 times, all refused: {NO_MAY}"
    ]
    asked = back("ordinal 0 serves from now on", granted=True), back("ordinal 0 serves already")
    hold = Asked(kind="retrain", reason="to forget", why="no period is left to retrain in")
    assert notes(entry, look("passed", "near", *asked, hold)) == [
        "mine asked for a roll-back 2 times, 1 refused: version 1 (ordinal 0) serves already; "
        "for a retraining once, refused: no period is left to retrain in"
    ]


def test_arms_are_named_where_there_are_several_and_a_twin_where_only_it_failed(entry: MakeEntry) -> None:
    lines = {
        "a": [entry(0, arm="a", outcomes=[look("failed", OOPS)])],
        "a.twin": [entry(0, arm="a", control="paced", outcomes=[look("failed", OOPS)])],
        "b": [entry(0, arm="b", outcomes=[look()])],
        "b.twin": [entry(0, arm="b", control="paced", outcomes=[look("failed", "it left no rows")])],
    }
    assert defense_notes(export_of({}, lines)) == [
        "arm a: 1 of 1 call of mine failed: KeyError: 'oops' (raises.py, line 8)",
        "arm b: 1 of 1 call of mine in the paced twin failed: it left no rows",
    ]
