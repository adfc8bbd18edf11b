"""Checks of learning-rate schedules: valid rates that depend on the step and the number of steps alone."""

from __future__ import annotations

from simulator.checks.subject import Subject, expect, quiet
from simulator.production.training.job import LARGEST_RATE
from simulator.production.training.schedules import Schedule, rates_of


def rates_are_rates(subject: Subject) -> None:
    """Every step of a training has a finite rate of at least 0; some step of it learns.

    A rate too large for float32 is refused as one that is infinite would be.
    """
    for steps in (1, 2, 7, 100):
        rates = quiet(lambda: rates_of(subject.make(), steps))  # noqa: B023
        valid = all(0 <= rate <= LARGEST_RATE for rate in rates)
        expect(valid, f"expected finite rates of at least 0, at most {LARGEST_RATE:g}, over {steps} steps, got {rates}")
        expect(any(rate > 0 for rate in rates), f"expected a rate above 0 in some of {steps} steps, got none")


def schedule_has_no_memory(subject: Subject) -> None:
    """A step's rate depends on the step and the number of steps alone: asked backwards, it is the same."""
    schedule: Schedule = subject.make()
    forwards = [schedule.rate_at(step, 100) for step in range(100)]
    backwards = [schedule.rate_at(step, 100) for step in reversed(range(100))]
    expect(forwards == backwards[::-1], "expected the same rates asked backwards, got others; keep no state")
