"""Where the harness kills: nothing that a run does is left out, and a seed says it all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
STAGES = ("ingest", "train", "gate", "register", "probe", "commit")
WRITES = ("create_experiment", "create_run", "set_tag period.%04d", "log_text periods/%04d.json")


@pytest.fixture
def marks() -> list[Any]:
    """What a run of two lines and three periods leaves: a stage takes a second, a write none."""
    from kill_trace import Mark

    found: list[Any] = []
    passed: Counter[str] = Counter()

    def passes(what: str, begin: float, end: float) -> None:
        nth = passed[what]
        passed[what] += 1
        found.extend((Mark(what, nth, "before", begin), Mark(what, nth, "after", end)))

    for period in range(3):
        for line in ("main", "main.twin"):
            for stage in STAGES:
                passes(f"{stage} of {line}, period {period}", len(found), len(found) + 1.0)
            for write in WRITES:
                passes(write % period if "%" in write else write, len(found), len(found))
    return found


def test_every_stage_of_every_line_and_every_kind_of_write_has_a_point(marks: list[Any]) -> None:
    from kill_points import choose

    points = choose(marks, 60, seed=0)
    assert [point.number for point in points] == list(range(1, 61))
    before = {point.trigger.what.partition(",")[0] for point in points if point.kind == "stage"}
    assert before == {f"{stage} of {line}" for stage in STAGES for line in ("main", "main.twin")}
    after = {point.trigger.what.rstrip("012345.json") for point in points if point.kind == "store"}
    assert {"create_experiment", "create_ru", "set_tag period", "log_text periods/"} == after
    assert {point.execution for point in points} == {"alone", "workers", "server", "flow"}
    known = {(mark.what, mark.nth, mark.edge) for mark in marks}
    assert {(point.trigger.what, point.trigger.nth, point.trigger.edge) for point in points} <= known


def test_moments_lie_within_their_stage(marks: list[Any]) -> None:
    from kill_points import choose

    delays = [point.trigger.delay for point in choose(marks, 60, seed=3) if point.kind == "moment"]
    assert len(delays) == 60 - 2 * len(STAGES) - 4 - len(WRITES)  # register and commit also have an end of their own
    assert all(delay is not None and 0 < delay <= 1 for delay in delays)
    assert len(set(delays)) == len(delays)


def test_few_points_are_of_every_kind(marks: list[Any]) -> None:
    from kill_points import choose

    counts = Counter(point.kind for point in choose(marks, 10, seed=0))
    assert counts == {"stage": 5, "store": 4, "moment": 1}


def test_the_shared_server_is_not_asked_twice_for_its_experiment(marks: list[Any]) -> None:
    from kill_points import choose

    points = [point for seed in range(20) for point in choose(marks, 60, seed)]
    made = [point.execution for point in points if point.trigger.what == "create_experiment"]
    assert len(made) == 20
    assert "server" not in made


def test_a_seed_says_it_all(marks: list[Any]) -> None:
    from kill_points import choose

    assert choose(marks, 20, seed=5) == choose(marks, 20, seed=5)
    assert choose(marks, 20, seed=5) != choose(marks, 20, seed=6)


def test_a_tracer_strikes_at_its_trigger_and_nowhere_else(tmp_path: Path) -> None:
    from kill_trace import Tracer, Trigger, read_marks

    struck: list[int] = []
    path = tmp_path / "marks.jsonl"
    trigger = Trigger("train of main.twin, period 1", 1, "after")
    tracer = Tracer(path, trigger, lambda: struck.append(len(read_marks(path))))
    train = tracer.wrap("train", lambda arm, control, period, **arguments: {"period": period})
    for period in (0, 1, 1, 1):
        assert train("main", "paced", period, first=True) == {"period": period}
    assert struck == [6]  # the second time in period 1, with the mark already written
    assert [mark.nth for mark in read_marks(path) if "period 1" in mark.what] == [0, 0, 1, 1, 2, 2]
