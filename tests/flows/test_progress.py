from __future__ import annotations

from flows.displays.base import Commits


def test_a_run_from_its_beginning_counts_each_lines_share() -> None:
    commits = Commits(["a", "a.twin"])
    assert [commits.add("a.twin", 0), commits.add("a", 0), commits.add("a", 1), commits.add("a.twin", 1)] == [
        0.5,
        1,
        1.5,
        2,
    ]


def test_six_lines_come_to_a_whole_number() -> None:
    commits = Commits(list("abcdef"))
    assert [commits.add(line, period) for period in range(3) for line in "abcdef"][-1] == 3


def test_a_run_that_goes_on_begins_where_it_stopped() -> None:
    commits = Commits(["a", "b"])
    assert commits.add("a", 4) == 4.5
    assert commits.add("b", 4) == 5
