"""Alarms against the true drift, by hand."""

from __future__ import annotations

from collections.abc import Callable

from simulator.observer.alarms import Alarms, Watched, judge_alarms
from simulator.observer.export import export_of
from simulator.observer.report.columns import drift_text
from simulator.observer.report.html import report
from simulator.production.registry.base import Entry
from simulator.study.rows import outcome_of


def watch(drift: str, alarms: str) -> list[Watched]:
    """One character a period: `x` drifted or alarmed, `.` not."""
    return [
        Watched(i, alarm == "x", {"rotation": 5.0 if moved == "x" else 0.0, "noise": 0.0})
        for i, (moved, alarm) in enumerate(zip(drift, alarms, strict=True))
    ]


def test_delay_counts_from_the_first_drifted_period() -> None:
    assert judge_alarms(watch("..xxxx", "....xx")) == Alarms(2, 1, 0, 0, 1)
    assert judge_alarms(watch("..xxxx", "..x...")).delay == 0


def test_alarms_without_drift_are_false() -> None:
    assert judge_alarms(watch(".....", ".x.xx")) == Alarms(None, 0, 0, 3, 4)
    assert judge_alarms(watch("..x..", ".x..x")) == Alarms(None, 1, 1, 2, 3)


def test_the_reference_period_is_left_out() -> None:
    assert judge_alarms(watch("x..", "xxx")) == Alarms(None, 0, 0, 2, 2)
    assert judge_alarms([]) == Alarms(None, 0, 0, 0, 0)


def test_a_recurring_drift_has_several_episodes() -> None:
    assert judge_alarms(watch(".xx.xx.", "..x....")) == Alarms(1, 2, 1, 0, 2)


def test_a_negative_magnitude_is_drift() -> None:
    assert Watched(1, False, {"brightness": -0.2}).drifted
    assert not Watched(1, False, {}).drifted


def test_the_drift_of_batches_that_arrive_as_files_is_not_known(entry: Callable[..., Entry]) -> None:
    line = [_from_a_file(entry(period, alarm=period == 1)) for period in range(3)]
    run = export_of({"name": "drop"}, {"main": line}, {"run": "r"})
    part = run.summary["arms"]["main"]
    why = "the data arrived as files, whose true drift is not known"
    for key in ("alarm_delay", "false_alarms", "drift_episodes", "missed_episodes", "undrifted_periods"):
        assert (part[key], part["reasons"][key]) == (None, why)
    assert [drift_text(row) for row in run.rows] == ["unknown"] * 3
    assert "a false alarm<" not in report(run)
    columns, reasons = outcome_of(run, "main", [])
    assert (columns["alarms"], columns["false_alarms"], columns["undrifted_periods"]) == (1, None, None)
    assert reasons["false_alarms"] == why
    assert reasons["free_alarms"] == "no free twin was played"


def _from_a_file(entry: Entry) -> Entry:
    arrival = entry.record.arrival.model_copy(update={"file": "3" * 64})
    record = entry.record.model_copy(update={"arrival": arrival})
    return Entry(record, record.digest(), entry.metadata)
