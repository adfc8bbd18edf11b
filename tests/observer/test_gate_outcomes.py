"""What was held, what could not be judged and what was done from outside, in the rows, the plot and the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.observer.evidence import Evidence
from simulator.observer.export import export_of
from simulator.observer.report.html import report
from simulator.observer.report.strips import kinds
from simulator.observer.rows import row_of
from simulator.observer.survival import survival
from simulator.production.registry.base import Entry
from simulator.records import Action, Judgement

MakeEntry = Callable[..., Entry]


def _changed(entry: Entry, **changes: Any) -> Entry:
    record = entry.record.model_copy(update=changes)
    return Entry(record, record.digest(), entry.metadata)


def _line(entry: MakeEntry) -> list[Entry]:
    """Version 1 is held in period 1, promoted in period 2, and rolled back from outside after it; 2 is not judged."""
    held = Judgement(action="held", why="in shadow", serving=0, judged=1, numbers={"agreement": 0.75})
    error = Judgement(action="error", why="the rules <b>are</b> gone", serving=0, judged=2)
    back = Action(run="run-1", arm="main", period=2, number=0, kind="roll back", to=0, reason="slow")
    return [
        entry(0),
        _changed(entry(1, version=0, candidate=1, action="held"), judgement=held, challenger=1),
        entry(2, version=1, candidate=None, net=0.2),
        _changed(entry(3, version=0, candidate=2, net=0.2), judgement=error, actions=[back]),
    ]


def test_a_row_carries_the_judgement_its_numbers_and_what_was_done_from_outside(entry: MakeEntry) -> None:
    rows = [row_of(one) for one in _line(entry)]
    assert [(row["action"], row["judged"], row["challenger"]) for row in rows[1::2]] == [
        ("held", 1, 1),
        ("error", 2, None),
    ]
    assert rows[1]["action_numbers"] == {"agreement": 0.75}
    assert rows[3]["reasons"]["challenger"] == "no version is in shadow"
    assert [row["from_outside"] for row in rows[:3]] == [[], [], []]
    assert rows[3]["from_outside"] == [{"kind": "roll back", "to": 0, "reason": "slow", "numbers": {}}]


def test_the_plot_marks_them(entry: MakeEntry) -> None:
    assert kinds([row_of(one) for one in _line(entry)]) == ["promoted", "held", "error", "from outside"]


def test_the_page_says_them_as_text(entry: MakeEntry) -> None:
    page = report(export_of({"name": "hand-made", "seed": 3}, {"main": _line(entry)}))
    assert "<li>main, period 1: held – in shadow</li>" in page
    assert "<li>main, before period 3: roll back to version 1 from outside – slow</li>" in page
    assert "<li>main, period 3: error – the rules &lt;b&gt;are&lt;/b&gt; gone</li>" in page


def test_an_update_is_the_promotion_out_of_the_shadow(entry: MakeEntry) -> None:
    # alive in periods 0 and 1 (version 0), below from period 2 on (version 1, then version 0 again)
    life = survival(Evidence.of(_line(entry)).served(), 0.5)
    assert (life.erased, life.updates, life.periods) == (2, 1, 2)
