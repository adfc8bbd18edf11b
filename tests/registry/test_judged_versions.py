"""Which versions a period speaks about in the registry: candidates, and challengers in and out of their shadow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.production.registry.mlflow.metrics import judged_in, outcomes_of, points, version_tags
from simulator.records import Judgement, Outcome, PeriodRecord, Reading

Record = Callable[..., PeriodRecord]

_READ = {"clean/accuracy": Reading.of(0.8)}


def _judgement(action: str, serving: int, judged: int | None) -> Judgement:
    return Judgement(action=action, why="because", serving=serving, judged=judged)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("judgement", "candidate", "spoken", "accuracy"),
    [
        # accuracy -> (key, version) of the reading of what serves
        (_judgement("promoted", 2, 2), 2, {2}, ("clean/accuracy", 2)),
        (_judgement("held", 1, 2), 2, {2}, ("serving/clean/accuracy", 1)),
        (_judgement("held", 1, 2), None, {2}, ("serving/clean/accuracy", 1)),
        (_judgement("promoted", 2, 2), None, {2}, ("clean/accuracy", 2)),  # out of its shadow: its first own reading
        (_judgement("rejected", 1, 2), None, {2}, ("serving/clean/accuracy", 1)),
        (_judgement("error", 1, 2), 2, {2}, ("serving/clean/accuracy", 1)),
        (_judgement("kept", 1, None), None, set(), ("serving/clean/accuracy", 1)),
    ],
)
def test_readings_stand_under_their_own_name_when_a_version_comes_to_serve(
    record: Record, judgement: Judgement, candidate: int | None, spoken: set[int], accuracy: tuple[str, int]
) -> None:
    found = record(3, version=judgement.serving, candidate=candidate, judgement=judgement, readings=_READ)
    assert judged_in(found) == spoken
    assert accuracy in [(point.key, point.version) for point in points(found, {})]
    assert [point.version for point in points(found, {}) if point.key == "clean/accuracy" and point.version] == (
        [2] if judgement.action == "promoted" else []
    )


def test_what_the_inspectors_say_of_a_challenger_stands_on_it(record: Record) -> None:
    outcomes = [
        Outcome(surface="inspector", name="a", status="passed", reason="clean", subject=subject)
        for subject in ("champion", "challenger")
    ]
    rejected = record(3, version=1, candidate=None, judgement=_judgement("rejected", 1, 2), outcomes=outcomes)
    found = outcomes_of(rejected, champion=1)
    assert {ordinal: [outcome.subject for outcome in theirs] for ordinal, theirs in found.items()} == {
        1: ["champion"],
        2: ["challenger"],
    }
    assert version_tags(rejected, 2) == {"gate": "rejected: because"}
