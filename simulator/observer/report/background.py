"""What stands behind every strip of the time line: the truth that the lines are to be judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from simulator.observer.report.palette import palette
from simulator.observer.run_export import RunExport

__all__ = ["caption", "largest_drift", "shade"]

Row = Mapping[str, Any]


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
    """Fill whole periods over the strip's height: one artist for all, as long runs have thousands of them."""
    whole_height = axis.get_xaxis_transform()
    axis.broken_barh([(period - 0.5, 1.0) for period in periods], (0, 1), transform=whole_height, **look)


def _share(row: Row, largest: Mapping[str, float]) -> float:
    return max((abs(value) / largest[name] for name, value in row["true_drift"].items() if largest[name]), default=0.0)


def caption(run: RunExport, arms: Sequence[str]) -> str:
    """Say what stands behind and beside the lines; only what is there."""
    rows = [row for arm in arms for row in run.line(arm)]
    largest = [f"{name} {value:.3g}" for name, value in sorted(largest_drift(run).items()) if value]
    parts = [f"grey: true drift, darkest at {' and '.join(largest)}"] if largest else []
    parts += ["hatched: poisoned rows arrive"] if any(row["poison_rate"] > 0 for row in rows) else []
    parts += ["dashed: the twin, never poisoned"] if any(run.line(arm, "paced") for arm in arms) else []
    again = any(row["relearned_net_attack_success"] is not None for row in rows)
    parts += ["triangles: net ASR after re-learning (up: own trigger, down: an unrelated one)"] if again else []
    half = -(-len(parts) // 2)
    return "\n".join("  ·  ".join(part) for part in (parts[:half], parts[half:]) if part)
