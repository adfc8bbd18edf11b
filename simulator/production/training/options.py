"""Checks of plug-in options, in the project's one sentence form."""

from __future__ import annotations

import math

__all__ = ["at_least", "fraction", "not_negative", "positive"]


def positive(name: str, value: float) -> None:
    """Raise `ValueError` unless `value` is finite and above 0."""
    _require(math.isfinite(value) and value > 0, name, "a finite number above 0", value)


def not_negative(name: str, value: float) -> None:
    """Raise `ValueError` unless `value` is finite and at least 0."""
    _require(math.isfinite(value) and value >= 0, name, "a finite number of at least 0", value)


def fraction(name: str, value: float) -> None:
    """Raise `ValueError` unless `value` lies strictly between 0 and 1."""
    _require(0 < value < 1, name, "above 0 and below 1", value)


def at_least(name: str, value: float, least: float) -> None:
    """Raise `ValueError` unless `value` is finite and at least `least`."""
    _require(math.isfinite(value) and value >= least, name, f"a finite number of at least {least}", value)


def _require(holds: bool, name: str, what: str, value: float) -> None:
    if not holds:
        raise ValueError(f"expected {name} to be {what}, got {value}; correct it")
