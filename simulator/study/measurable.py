"""What can be asked of a setting's timelines, known before they are played: readings, and columns that hold numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simulator import catalog
from simulator.observer.derive import NET
from simulator.observer.measures import MEASURES
from simulator.observer.observer import ALWAYS
from simulator.observer.survival import THRESHOLDS
from simulator.scenario.model import Scenario
from simulator.study import formula_column
from simulator.study.outcome import ALARMS, INITIAL, LIVES, PLAIN

__all__ = ["columns_of", "readings_of"]

_KEYS = {item.reading: item.key for item in MEASURES if item.reading is not None}


def readings_of(scenario: Scenario) -> frozenset[str]:
    """Return the names of the readings that the probes of `scenario`, an arm's own, give its versions."""
    probes = (catalog.build("probes", use.use, use.options) for use in (*ALWAYS, *scenario.probes))
    given = {name for probe in probes for name in probe.gives}
    net = {name for name, raw in NET.items() if raw in given and "paced" in scenario.twins}
    return frozenset(given | net)


def columns_of(scenario: Scenario, point: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the columns of the timelines table that can hold a number for `scenario` at `point`.

    Those that are null in all of its timelines are left out: nothing measures them.
    """
    return frozenset(_columns(scenario, point))


def _columns(scenario: Scenario, point: Mapping[str, Any]) -> Iterator[str]:
    yield from PLAIN
    yield from (f"{name}_{threshold}" for name in LIVES for threshold in THRESHOLDS)
    yield from ("seconds", *formula_column.COLUMNS)
    yield from (key for key, value in point.items() if isinstance(value, int | float))
    watched = ("undrifted_periods",) if scenario.monitor.use == "none" else ALARMS
    yield from watched
    yield from (f"free_{name}" for name in watched if "free" in scenario.twins)
    keys = {_KEYS.get(name, name) for name in readings_of(scenario)}
    yield from (f"final_{key}" for key in keys)
    yield from (f"initial_{key}" for key in INITIAL if key in keys)
