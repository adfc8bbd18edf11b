"""Which labelled images the defender has in a period: those that have arrived, renewed as long as the scenario says."""

from __future__ import annotations

from simulator.scenario.model import Scenario

__all__ = ["brings_trusted", "trusted_period"]


def trusted_period(scenario: Scenario, period: int) -> int:
    """Return the period that the defender's images of `period` are from.

    Labels arrive `stream.label_delay` periods late, those of period 0 at once; and until `trusted.from` has come, the
    defender has the newest ones, as with `latest`.
    """
    arrived = max(0, period - scenario.stream.label_delay)
    renewed = scenario.trusted.from_
    return arrived if renewed == "latest" else min(arrived, renewed)


def brings_trusted(scenario: Scenario, period: int) -> bool:
    """Return whether rows that arrive in `period` are set apart for the defender, whenever their labels arrive."""
    return scenario.trusted.from_ == "latest" or period <= scenario.trusted.from_
