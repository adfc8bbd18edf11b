"""Lines of the time line's strips: gaps stay gaps, and every line carries its name at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from simulator.observer.report.palette import palette

__all__ = ["End", "draw_line", "keep_to_periods", "name_ends"]

Row = Mapping[str, Any]

#: width of the names at the lines' ends, as a share of the periods' width
_ROOM = 0.3
_STYLES = {"full": ("-", 2.0), "thin": ("-", 1.0), "dashed": ("--", 1.0), "dotted": (":", 1.0)}


@dataclass(frozen=True, slots=True)
class End:
    """Where a line ends, its name and its colour."""

    period: int
    value: float
    name: str
    colour: str


def draw_line(axis: Axes, rows: Sequence[Row], key: str, role: str, name: str, style: str = "full") -> list[End]:
    """Draw `key` over the periods and return its end; no end when there is no value at all."""
    periods = [row["period"] for row in rows]
    values = [math.nan if row.get(key) is None else float(row[key]) for row in rows]
    dashes, width = _STYLES[style]
    # dots keep a value visible that stands alone between two gaps
    dot, size = {"full": ("o", 3.5 if len(rows) <= 40 else 2.0), "thin": (".", 2.0), "dashed": (".", 2.0)}.get(
        style, ("", 0.0)
    )
    axis.plot(periods, values, dashes, marker=dot, markersize=size, color=palette(role), linewidth=width)
    known = [(period, value) for period, value in zip(periods, values, strict=True) if not math.isnan(value)]
    return [End(*known[-1], name, palette(role))] if known else []


def keep_to_periods(axis: Axes, rows: Sequence[Row]) -> None:
    """Leave room on the right for the names at the lines' ends, and end grid and axis before it."""
    left, right = _span(rows)
    end = right + _ROOM * len(rows)
    axis.set_xlim(left, end)
    axis.axvspan(right, end, color="white", linewidth=0, zorder=0.9)
    axis.spines["bottom"].set_bounds(left, right)


def name_ends(axis: Axes, rows: Sequence[Row], ends: Sequence[End]) -> None:
    """Write each line's name beside its end, moved apart so that no two names overlap. Call it when all is drawn."""
    low, high = axis.get_ylim()
    # a name needs about 11 points of the strip's height
    step = (high - low) * 11 / (72 * axis.get_window_extent().height / axis.figure.dpi)
    known = sorted(ends, key=lambda end: end.value)
    right, gap = _span(rows)[1], 0.03 * len(rows)
    for end, place in zip(known, _apart([end.value for end in known], step, high), strict=True):
        path = ([end.period, right, right + gap], [end.value, end.value, place])
        axis.plot(*path, color=end.colour, linewidth=0.5, alpha=0.7)
        axis.text(right + 1.3 * gap, place, end.name, color=end.colour, fontsize=8, va="center")
    axis.set_ylim(low, high)


def _apart(values: Sequence[float], step: float, high: float) -> list[float]:
    """Return sorted `values` moved at least `step` apart, none above `high`."""
    places = list(values)
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + step)
    limit = high
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit)
        limit = places[index] - step
    return places


def _span(rows: Sequence[Row]) -> tuple[float, float]:
    return rows[0]["period"] - 0.5, rows[-1]["period"] + 0.5
