"""Means and spreads over the draws of the re-learning pool."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from simulator.records import Reading

__all__ = ["mean", "spread"]


def mean(readings: Sequence[Reading]) -> Reading:
    """Return the mean; undefined with the first reason where a draw is undefined."""
    values = [reading.value for reading in readings if reading.value is not None]
    return _first_undefined(readings) if len(values) < len(readings) else Reading.of(fmean(values))


def spread(readings: Sequence[Reading]) -> Reading:
    """Return the sample standard deviation; undefined where a draw is undefined, and for a single draw."""
    values = [reading.value for reading in readings if reading.value is not None]
    if len(values) < len(readings):
        return _first_undefined(readings)
    return Reading.of(stdev(values)) if len(values) > 1 else Reading.undefined("one draw has no spread")


def _first_undefined(readings: Sequence[Reading]) -> Reading:
    return next(reading for reading in readings if reading.value is None)
