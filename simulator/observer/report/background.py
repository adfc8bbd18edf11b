"""What stands behind every strip of the time line: the truth that the lines are to be judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from simulator.observer.export import RunExport
from simulator.observer.report.palette import palette

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
    for row in rows:
        span = (row["period"] - 0.5, row["period"] + 0.5)
        share = max((abs(v) / largest[name] for name, v in row["true_drift"].items() if largest[name]), default=0.0)
        if share:
            axis.axvspan(*span, color=palette("shade"), alpha=0.06 + 0.34 * share, linewidth=0, zorder=0)
        if row["poison_rate"] > 0:
            hatch: dict[str, Any] = {"facecolor": "none", "edgecolor": palette("poison"), "hatch": "////"}
            axis.axvspan(*span, **hatch, alpha=0.45, linewidth=0, zorder=0.5)


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
