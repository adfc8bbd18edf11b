"""Alarms against the true drift, by hand."""

from __future__ import annotations

from simulator.observer.alarms import Alarms, Watched, judge_alarms


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
