"""The time left of a run, by a clock that the test moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.displays.base import Commits
from flows.displays.pace import Measured, Pace
from flows.runs.paces import earlier, kind_of, remember
from simulator.scenario.model import Scenario

#: 10 s to start, 4 lineages of 6 s and then 3 s an update, two at a time, 2 s for the report
KNOWN = Measured(10.0, 6.0, 3.0, 2.0, lineages=4, parallel=2.0)


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_with_an_earlier_run_the_time_left_is_told_from_the_first_second(clock: Clock) -> None:
    pace = Pace(KNOWN, 5, clock)
    assert pace.left() == 54.0  # 10 + 4 * (6 + 5 * 3) / 2 + 2
    clock.at += 4
    assert pace.left() == 50.0
    clock.at += 26  # a start that takes longer than before adds to it, and the time left stands
    assert pace.left() == 44.0
    pace.start(4)
    clock.at += 5
    assert pace.left() == 39.0


def test_without_one_it_is_not_known_before_an_update_is_committed(clock: Clock) -> None:
    pace = Pace(now=clock)
    assert pace.left() is None
    clock.at += 7
    pace.start(1)
    clock.at += 6
    pace.commit(0, 6.0, (0, 3))
    assert pace.left() is None
    assert pace.elapsed == 13.0
    clock.at += 2
    pace.commit(1, 2.0, (0, 2))
    assert pace.left() == 4.0


def test_between_commits_it_falls_and_a_late_period_lets_it_rise_again(clock: Clock) -> None:
    pace = Pace(now=clock)
    pace.start(1)
    clock.at += 6
    pace.commit(0, 6.0, (0, 3))
    clock.at += 2
    pace.commit(1, 2.0, (0, 2))
    clock.at += 1.5
    assert pace.left() == 2.5
    clock.at += 8.5  # ten seconds for a period of two: 8 s of work took 18 s, so the last one takes 4.5 s
    assert pace.left() == pytest.approx(4.5)


def test_lineages_that_are_played_at_a_time_share_the_time(clock: Clock) -> None:
    pace = Pace(now=clock)
    pace.start(2)
    clock.at += 4
    pace.commit(0, 4.0, (1, 4))
    pace.commit(0, 4.0, (0, 4))
    clock.at += 2
    pace.commit(1, 2.0, (0, 3))
    pace.commit(1, 2.0, (0, 2))
    assert pace.left() == 2.0  # 12 s of work in 6 s: two at a time; 4 s are left


def test_what_a_run_took_is_what_the_next_one_is_told(clock: Clock, tmp_path: Path) -> None:
    pace = Pace(now=clock)
    clock.at += 10
    pace.start(1)
    clock.at += 6
    pace.commit(0, 6.0, (0, 1))
    clock.at += 4
    pace.commit(1, 3.0, (0, 0))
    pace.finish()
    assert pace.left() is None
    clock.at += 2
    measured = pace.measured()
    assert measured == Measured(10.0, 6.0, 3.0, 2.0, 1, 0.9)
    scenario = Scenario(name="mine", seed=1, periods=3)
    kind = kind_of(scenario, bare=True, processes=None)
    remember(tmp_path, kind, measured)
    longer = Scenario(name="mine", seed=2, periods=9)
    assert earlier(tmp_path, kind_of(longer, bare=True, processes=None)) == measured
    assert earlier(tmp_path, kind_of(longer, bare=False, processes=None)) is None
    assert earlier(tmp_path, kind_of(Scenario(name="mine", twins=()), bare=True, processes=None)) is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"k": 3}', '{"k": {"startup": 1}}', "\x00"],
    ids=["empty", "list", "number", "short", "binary"],
)
def test_notes_that_cannot_be_read_are_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / ".paces.json").write_text(text)
    assert earlier(tmp_path, "k") is None
    remember(tmp_path, "k", KNOWN)
    assert earlier(tmp_path, "k") == KNOWN


def test_a_run_too_short_to_tell_is_not_remembered(clock: Clock, tmp_path: Path) -> None:
    remember(tmp_path, "k", Pace(now=clock).measured())
    assert list(tmp_path.iterdir()) == []


def test_bases_and_updates_that_are_left_are_counted_apart() -> None:
    commits = Commits(["a", "b"])
    assert commits.todo(4) == (2, 6)
    commits.add("a", 0)
    assert commits.todo(4) == (1, 6)
    commits.add("a", 1)
    commits.add("b", 0)
    assert commits.todo(4) == (0, 5)
