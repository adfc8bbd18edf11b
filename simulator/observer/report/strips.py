"""The parts of the time line's strips: lines with their names, the true drift behind them, and marks for actions.

Gaps in a line stay gaps, and a name stands at the line's end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from simulator.observer.report.style import palette
from simulator.observer.run_export import RunExport

Row = Mapping[str, Any]

#: width of the names at the lines' ends, as a share of the periods' width
_ROOM = 0.3
#: line, its width, its dot and the dot's size; dots keep a value visible that stands alone between two gaps
_STYLES = {
    "full": ("-", 2.0, "o", 3.5),
    "thin": ("-", 1.0, ".", 2.0),
    "dashed": ("--", 1.0, ".", 2.0),
    "dotted": (":", 1.0, "", 0.0),
}

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
    dashes, width, dot, size = _STYLES[style]
    size = size if len(rows) <= 40 else min(size, 2.0)
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


def largest_drift(run: RunExport) -> dict[str, float]:
    """Return each drift's largest magnitude in the run, without its sign."""
    largest: dict[str, float] = {}
    for row in run.rows:
        for name, value in row["true_drift"].items():
            largest[name] = max(largest.get(name, 0.0), abs(value))
    return largest


def shade(axis: Axes, rows: Sequence[Row], largest: Mapping[str, float]) -> None:
    """Shade each period by how far the true drift has gone (its share of `largest`), and hatch the poisoned ones."""
    greys = {row["period"]: to_rgba(palette("shade"), 0.06 + 0.34 * _share(row, largest)) for row in rows}
    drifted = [row["period"] for row in rows if _share(row, largest)]
    _bands(axis, drifted, facecolors=[greys[period] for period in drifted], linewidth=0, zorder=0)
    poisoned = [row["period"] for row in rows if row["poison_rate"] > 0]
    _bands(
        axis, poisoned, facecolor="none", edgecolor=palette("poison"), hatch="////", alpha=0.45, linewidth=0, zorder=0.5
    )


def _bands(axis: Axes, periods: Sequence[int], **look: Any) -> None:
    """Fill whole periods over the strip's height, with one artist for all: long runs have thousands of periods."""
    whole_height = axis.get_xaxis_transform()
    axis.broken_barh([(period - 0.5, 1.0) for period in periods], (0, 1), transform=whole_height, **look)


def _share(row: Row, largest: Mapping[str, float]) -> float:
    return max((abs(value) / largest[name] for name, value in row["true_drift"].items() if largest[name]), default=0.0)


def caption(run: RunExport, arms: Sequence[str]) -> str:
    """Return a legend of what this run shows behind and beside the lines."""
    rows = [row for arm in arms for row in run.lineage(arm)]
    largest = [f"{name} {value:.3g}" for name, value in sorted(largest_drift(run).items()) if value]
    parts = [f"grey: true drift, darkest at {' and '.join(largest)}"] if largest else []
    parts += ["hatched: poisoned rows arrive"] if any(row["poison_rate"] > 0 for row in rows) else []
    parts += ["dashed: the twin, never poisoned"] if any(run.lineage(arm, "paced") for arm in arms) else []
    again = any(row["relearned_net_attack_success"] is not None for row in rows)
    parts += ["triangles: net ASR after re-learning (up: own trigger, down: an unrelated one)"] if again else []
    half = -(-len(parts) // 2)
    return "\n".join("  ·  ".join(part) for part in (parts[:half], parts[half:]) if part)


def kinds(rows: Sequence[Row]) -> list[str]:
    """Return the kinds of actions that occur in `rows`, from top to bottom; at least one."""
    found = {kind for row in rows for kind in _kinds_of(row)}
    return [kind for kind in _MARKS if kind in found]


def draw_marks(axis: Axes, rows: Sequence[Row], shown: Sequence[str]) -> None:
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
    found += ["defense flagged"] * bool(statuses & {"flagged", "changed"})
    found += ["defense failed"] * bool(statuses & {"failed", "timeout"})
    return [*found, row["action"], *["from outside"] * bool(row.get("from_outside"))]
