"""What the defenses of a timeline did, counted from hand-written periods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from simulator.study.defended_columns import COLUMNS, FREE, defended, why_undefended
from simulator.study.defended_settings import defended_texts
from simulator.study.rows import timeline_rows
from simulator.study.timelines import PlayedTimeline

Row = dict[str, Any]


def outcome(surface: str, status: str, dropped: int | None = None, samples: int = 0, granted: int = 0) -> Row:
    evidence = {} if dropped is None else {"dropped": dropped}
    requests = [{"granted": number < granted} for number in range(2)]
    return {
        "surface": surface,
        "status": status,
        "evidence": evidence,
        "cost": {"samples": samples},
        "requests": requests,
    }


def period(number: int, *outcomes: Row, poison: float = 0.0, seconds: Mapping[str, float] | None = None) -> Row:
    return {"period": number, "outcomes": list(outcomes), "poison_rate": poison, "defense_seconds": dict(seconds or {})}


def test_alarms_delay_and_what_it_took_by_hand() -> None:
    arm = [
        period(0, outcome("filter", "changed", 3, samples=10)),  # before the poison: an alarm, but no detection
        period(1, outcome("filter", "passed", 0), outcome("repair", "changed", samples=50), poison=0.05),
        period(2, outcome("screen", "flagged"), poison=0.05, seconds={"one": 1.5}),
        period(3, outcome("inspector", "flagged", granted=1), outcome("filter", "failed"), seconds={"one": 0.25}),
        period(4, outcome("filter", "flagged", 4), outcome("inspector", "timeout")),
    ]
    free = [
        period(0, outcome("filter", "changed", 9)),  # the base is no update
        period(1, outcome("filter", "changed", 2)),
        period(2, outcome("inspector", "flagged", granted=2)),
        period(3, outcome("filter", "passed", 0)),
    ]
    assert defended(arm, free) == {
        "defense_alarms": 3,
        "detection_delay": 2,
        "rows_dropped": 7,
        "requests_granted": 1,
        "defense_failures": 2,
        "defense_samples": 60,
        "defense_seconds": 1.75,
        "free_defense_alarms": 2,
        "free_rows_dropped": 2,
        "free_requests_granted": 2,
        "free_updates": 3,
    }


def test_what_there_is_not_has_its_reason() -> None:
    bare = [period(0), period(1, poison=0.1)]
    values = defended(bare, [])
    assert set(values.values()) == {None}
    why = why_undefended(values, bare, [])
    assert {why[name] for name in COLUMNS} == {"there is no defense"}
    assert {why[f"free_{name}"] for name in FREE} == {"no free twin was played"}

    repaired = [period(0, outcome("repair", "changed"), poison=0.1)]
    values = defended(repaired, repaired)
    why = why_undefended(values, repaired, repaired)
    assert (values["defense_alarms"], why["defense_alarms"]) == (None, "no defense filters or inspects")
    assert why["rows_dropped"] == "no defense filters"

    for poison, reason in ((0.1, "no alarm since it was poisoned"), (0.0, "no period was poisoned")):
        silent = [period(0, outcome("inspector", "passed"), poison=poison)]
        assert why_undefended(defended(silent, []), silent, [])["detection_delay"] == reason


def test_every_timeline_has_the_columns(played: Callable[..., PlayedTimeline]) -> None:
    row = timeline_rows([played([0.9, 0.4])])[0]
    names = [*COLUMNS, *(f"free_{name}" for name in FREE)]
    assert [row[name] for name in names] == [None] * len(names)
    assert set(names) <= set(json.loads(row["reasons"]))


def setting(name: str, **columns: Any) -> Row:
    unsaid = [*COLUMNS, *(f"free_{one}" for one in FREE)]
    return {"setting": name, "exposure": 2.0, "mean_clean_accuracy": 0.8, **dict.fromkeys(unsaid), **columns}


def test_the_table_of_settings_by_hand() -> None:
    watched = {"requests_granted": 1, "defense_failures": 0, "free_updates": 8}
    rows = [
        setting("bare"),
        setting("bare", exposure=3.0),
        setting("watched", defense_alarms=1, detection_delay=2, free_defense_alarms=1, **watched),
        setting("watched", defense_alarms=0, free_defense_alarms=0, **watched),
    ]
    bare, seen = defended_texts(rows)
    assert bare == {
        "setting": "bare",
        "exposure": "2.50 (2 to 3)",
        "clean accuracy, mean": "80.0% (80.0% to 80.0%)",
        "poison seen": "–",
        "after periods": "–",
        "false alarms per 100 clean updates": "–",
        "requests granted": "–",
        "failures": "–",
    }
    assert seen == {
        "setting": "watched",
        "exposure": "2 (2 to 2)",
        "clean accuracy, mean": "80.0% (80.0% to 80.0%)",
        "poison seen": "1 of 2",
        "after periods": "2 (1 of 2 seeds)",
        "false alarms per 100 clean updates": "6.2 (1 of 16)",
        "requests granted": "2",
        "failures": "0",
    }


def test_a_study_without_defenses_has_no_such_table() -> None:
    assert defended_texts([setting("bare")]) == []
