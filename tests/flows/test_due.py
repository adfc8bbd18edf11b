"""When a period of a live run may be played, and the words for it: dates worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.runs.due import LONGEST, Arrivals, Due, due_of, what_is_due
from simulator.production.registry.base import RunHead
from simulator.records import LineageKey
from simulator.scenario.model import Scenario

SINCE = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOURLY = {"every": 3600.0, "since": SINCE.isoformat()}
ANY_TIME = {"every": None, "since": SINCE.isoformat()}


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return SINCE.replace(hour=hour, minute=minute, second=second)


@pytest.mark.parametrize(
    ("reached", "now", "last", "words"),
    [
        pytest.param(0, at(12), 0, "period 1, due 2026-11-22 13:00:00 UTC", id="just opened"),
        pytest.param(0, at(12, 59, 59), 0, "period 1, due 2026-11-22 13:00:00 UTC", id="a second too early"),
        pytest.param(0, at(13), 1, "period 1, due since 2026-11-22 13:00:00 UTC", id="on the second"),
        pytest.param(1, at(13, 30), 1, "period 2, due 2026-11-22 14:00:00 UTC", id="played, the next is to come"),
        pytest.param(1, at(16, 5), 4, "period 2, due since 2026-11-22 14:00:00 UTC", id="after downtime"),
        pytest.param(1, at(23), 6, "period 2, due since 2026-11-22 14:00:00 UTC", id="never beyond the last"),
        pytest.param(3, at(11), 3, "period 4, due 2026-11-22 16:00:00 UTC", id="a clock set back replays nothing"),
        pytest.param(3, at(13), 3, "period 4, due 2026-11-22 16:00:00 UTC", id="a clock set back to a played period"),
    ],
)
def test_a_clock_makes_periods_due(reached: int, now: datetime, last: int, words: str) -> None:
    due = what_is_due(HOURLY, 6, reached, now=now)
    assert (due.period, due.last, due.words) == (reached + 1, last, words)
    assert due.when == SINCE + timedelta(hours=reached + 1)
    assert due.playable == due.called == due.ready == (last > reached)


def test_the_time_of_a_period_is_exact_where_its_seconds_are_no_binary_fraction() -> None:
    live = {"every": 0.1, "since": SINCE.isoformat()}
    for period in range(1, 50):
        moment = SINCE + timedelta(microseconds=100_000 * period)
        assert what_is_due(live, 100, 0, now=moment).last == period
        assert what_is_due(live, 100, 0, now=moment - timedelta(microseconds=1)).last == period - 1


def test_the_longest_run_ends_at_a_date() -> None:
    live = {"every": LONGEST, "since": SINCE.isoformat()}
    due = what_is_due(live, 10_000, 9_999, now=SINCE)
    assert due.when is not None
    assert due.when.year == 2026 + 2738  # 10,000 times 100 days
    assert not due.ready


@pytest.mark.parametrize(
    ("live", "arrivals", "expected"),
    [
        (ANY_TIME, None, Due(4, 6, "period 4, whenever it is advanced")),
        (None, None, Due(4, 6, "period 4, whenever it is resumed")),
        (ANY_TIME, Arrivals("drop", 3), Due(4, 3, "period 4: a file in drop")),
        (ANY_TIME, Arrivals("drop", 5), Due(4, 5, "period 4, whose file has arrived", called=True)),
        (ANY_TIME, Arrivals("drop", 3, 2), Due(4, 3, "period 4: 2 files in drop are to be looked at", called=True)),
        (None, Arrivals("drop", 5), Due(4, 5, "period 4, whose file has arrived")),
        (None, Arrivals("drop", 3), Due(4, 3, "period 4: a file in drop")),
    ],
)
def test_without_a_clock_a_file_or_anybody_makes_a_period_due(
    live: dict[str, Any] | None, arrivals: Arrivals | None, expected: Due
) -> None:
    assert what_is_due(live, 6, 3, now=at(12), arrivals=arrivals) == expected


@pytest.mark.parametrize("live", [None, HOURLY, ANY_TIME])
@pytest.mark.parametrize("arrivals", [None, Arrivals("drop", 6)])
def test_a_complete_run_waits_for_nothing(live: dict[str, Any] | None, arrivals: Arrivals | None) -> None:
    due = what_is_due(live, 6, 6, now=at(23), arrivals=arrivals)
    assert (due.period, due.playable, due.called, due.words) == (None, False, False, "nothing: it is complete")


@pytest.mark.parametrize(("live", "last"), [(HOURLY, 0), (ANY_TIME, 0), (None, 6)])
def test_the_base_training_is_due_at_once(live: dict[str, Any] | None, last: int) -> None:
    due = what_is_due(live, 6, -1, now=at(12), arrivals=Arrivals("drop", 0))
    assert (due.period, due.last, due.playable) == (0, last, True)


def head(scenario: Scenario, live: dict[str, Any] | None) -> RunHead:
    lines = (LineageKey(arm="main"), LineageKey(arm="main", control="paced"))
    return RunHead("r", scenario.model_dump(mode="json"), "s", "d", lines, live)


@pytest.mark.parametrize(
    ("committed", "period"),
    [({}, 0), ({"main": 2}, 0), ({"main": 2, "main.twin": 3}, 2), ({"main": 7, "main.twin": 7}, None)],
)
def test_the_slowest_line_says_which_period_is_next(committed: dict[str, int], period: int | None) -> None:
    assert due_of(head(Scenario(), HOURLY), committed, now=at(12)).period == period


def test_a_drop_folder_that_is_gone_is_said_and_calls_nobody() -> None:
    scenario = Scenario.model_validate({"stream": {"arrivals": {"folder": "gone"}}})
    due = due_of(head(scenario, ANY_TIME), {"main": 1, "main.twin": 1}, now=at(12))
    assert due.words.startswith("period 1: expected stream.arrivals.folder to be a folder, got no such folder at")
    assert not due.ready
