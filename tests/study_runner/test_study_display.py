"""What a person reads while a study is played."""

from __future__ import annotations

import io

import pytest

from flows.displays.base import about
from flows.displays.study import StudyMode, line_of, study_display
from simulator.study.progress import StudyEvent, time_left


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (14 * 60 + 20, "14 min"), (2 * 3600 + 5 * 60, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_lines_of_a_log() -> None:
    assert line_of(StudyEvent("study-started", 40, 3)) == "computed 0 of 40 timelines, found 3"
    assert line_of(StudyEvent("timeline-started", 40, 3, timeline="main-s0")) == ""
    ended = StudyEvent("timeline-finished", 40, 3, 12, 0, 14 * 60.0, "main-s0")
    assert line_of(ended) == "computed 12 of 40 (3 found), about 14 min left"
    failed = StudyEvent("timeline-failed", 40, 3, 12, 1, None, "main-s1", "expected x, got y; do z")
    assert line_of(failed) == "main-s1 failed: expected x, got y; do z\ncomputed 12 of 40 (3 found)"
    assert line_of(StudyEvent("study-finished", 40, 3, 36, 1)) == "computed 36 of 40 timelines, found 3, failed 1"


def test_time_left_is_in_proportion() -> None:
    assert time_left(10.0, 0, 37) is None
    assert time_left(60.0, 12, 40) == pytest.approx(140.0)
    assert time_left(60.0, 40, 40) == 0


@pytest.mark.parametrize("mode", [StudyMode.live, StudyMode.plain, None])
def test_a_display_ends_with_the_counts(mode: StudyMode | None) -> None:
    stream = io.StringIO()
    with study_display(mode, "tiny", stream) as display:
        display(StudyEvent("study-started", 2, 0))
        for name in ("main-s0", "main-s1"):
            display(StudyEvent("timeline-started", 2, 0, timeline=name))
        display(StudyEvent("timeline-finished", 2, 0, 1, 0, 5.0, "main-s0"))
        display(StudyEvent("timeline-failed", 2, 0, 1, 1, 0.0, "main-s1", "expected [x], got y; do z"))
        display(StudyEvent("study-finished", 2, 0, 1, 1, 0.0))
    assert "main-s1 failed: expected [x], got y; do z" in stream.getvalue()
    assert "computed 1 of 2 timelines, found 0, failed 1" in stream.getvalue()


def test_nothing_is_shown_on_request() -> None:
    stream = io.StringIO()
    with study_display(StudyMode.none, "tiny", stream) as display:
        display(StudyEvent("study-finished", 2, 2))
    assert stream.getvalue() == ""
