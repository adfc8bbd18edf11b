"""The lowest strip of the time line: what was decided, as marks in rows that say in words what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from simulator.observer.report.palette import palette

__all__ = ["draw", "kinds"]

Row = Mapping[str, Any]

#: row -> (marker, colour role), from top to bottom
_MARKS = {
    "poisoned": ("X", "poison"),
    "alarm": ("^", "drift"),
    "defense flagged": ("D", "ink"),
    "defense failed": ("x", "ink"),
    "promoted": ("o", "clean"),
    "held": ("d", "clean"),
    "kept": ("_", "twin"),
    "rejected": ("s", "attack"),
    "error": ("x", "attack"),
    "rolled back": ("<", "attack"),
    "from outside": ("<", "ink"),
}


def kinds(rows: Sequence[Row]) -> list[str]:
    """Return the kinds of actions that occur in `rows`, from top to bottom; at least one."""
    found = {kind for row in rows for kind in _kinds_of(row)}
    return [kind for kind in _MARKS if kind in found]


def draw(axis: Axes, rows: Sequence[Row], shown: Sequence[str]) -> None:
    """Mark what happened in each period, one row of marks for each kind in `shown`."""
    for place, kind in enumerate(reversed(shown)):
        marker, colour = _MARKS[kind]
        periods = [row["period"] for row in rows if kind in _kinds_of(row)]
        axis.plot(periods, [place] * len(periods), marker, color=palette(colour), markersize=6)
    axis.set_ylim(-0.6, len(shown) - 0.4)
    axis.set_yticks(range(len(shown)), list(reversed(shown)), fontsize=8)
    axis.spines["left"].set_visible(False)


def _kinds_of(row: Row) -> list[str]:
    statuses = {outcome["status"] for outcome in row["outcomes"]}
    found = ["poisoned"] * (row["poison_rate"] > 0) + ["alarm"] * bool(row["drift_alarm"])
    found += ["defense flagged"] * bool(statuses & {"flagged", "changed"}) + ["defense failed"] * ("failed" in statuses)
    return [*found, row["action"], *["from outside"] * bool(row.get("from_outside"))]
