"""The periods table: one row a timeline, line and period; what was done, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simulator.observer.rows import row_of
from simulator.observer.summary import by_line
from simulator.production.registry.base import Entry
from simulator.study.timeline_rows import cell, reading_keys
from simulator.study.timelines import PlayedTimeline

__all__ = ["period_rows"]

_FACTS = ("period", "version", "promoted", "action", "retrained", "poison_rate")
_SIGNAL = ("drift_score", "drift_alarm")


def period_rows(played: Sequence[PlayedTimeline]) -> list[dict[str, Any]]:
    """Return one row a timeline, line and period, in the order given; all rows have the same columns.

    `control` is `none` for the arm itself, `paced` or `free` for its twins. `true_drift.NAME` is the magnitude in the
    drift's own unit, 0 where a timeline has no such drift. Readings are of the version that serves after the period;
    null is undefined, and the record in the ledger says why.
    """
    lines = [line for one in played for line in one.entries.values()]
    drifts = sorted({name for line in lines for entry in line for name in entry.record.arrival.true_drift})
    points = list(dict.fromkeys(key for one in played for key in one.timeline.point))
    keys = reading_keys(lines)
    return [row for one in played for row in _rows(one, points, drifts, keys)]


def _rows(
    one: PlayedTimeline, points: Sequence[str], drifts: Sequence[str], keys: Sequence[str]
) -> Iterator[dict[str, Any]]:
    timeline = one.timeline
    for entry in _in_order(one):
        row = row_of(entry)
        yield {
            "study": timeline.study,
            "setting": timeline.setting,
            "arm": timeline.arm,
            "control": row["control"],
            "seed": timeline.seed,
            **{key: cell(timeline.point.get(key)) for key in points},
            "timeline": timeline.name,
            **{name: row[name] for name in _FACTS},
            **{f"true_drift.{name}": row["true_drift"].get(name, 0.0) for name in drifts},
            **{name: row[name] for name in _SIGNAL},
            **{key: row.get(key) for key in keys},
        }


def _in_order(one: PlayedTimeline) -> Iterator[Entry]:
    """The arm's periods, then its twins'."""
    for controls in by_line(one.entries).values():
        for line in controls.values():
            yield from line
