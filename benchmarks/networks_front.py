"""The results of `benchmarks.networks`: a table by network, and the Pareto front of speed and accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from scipy import stats

from simulator.observer.report.style import STYLE, as_svg, palette

Row = Mapping[str, Any]
_HEADER = "parameters  seeds  CPU s  images/s  times the first  accuracy  95 % interval     against the first, points"


def summary(runs: Sequence[Row]) -> list[dict[str, Any]]:
    """Return one row a network, the fastest first; of runs with the same network and seed, the last counts.

    `cpu_seconds` and `images_per_second` are medians over the `seeds`; `accuracy` the mean with its 95 % t-interval.
    `speed` is the median of the ratios of images/s to the first network's at the same seed, `difference` the mean of
    the differences to its accuracy, with its interval; both None where no seed is shared. An interval of fewer than
    two seeds is None. `front`: no other network is both faster and at least as accurate. `ValueError` without runs.
    """
    if not runs:
        raise ValueError("expected runs of at least one network, got none")
    by_network: dict[str, dict[int, Row]] = {}
    for run in runs:
        by_network.setdefault(run["network"], {})[run["seed"]] = run
    first = next(iter(by_network.values()))
    rows = [{"network": name, **_of(mine, first)} for name, mine in by_network.items()]
    rows.sort(key=lambda row: row["cpu_seconds"])
    best = [max((other["accuracy"] for other in rows[:place]), default=0.0) for place in range(len(rows))]
    return [row | {"front": row["accuracy"] > beaten} for row, beaten in zip(rows, best, strict=True)]


def _of(mine: Mapping[int, Row], first: Mapping[int, Row]) -> dict[str, Any]:
    shared = [(mine[seed], first[seed]) for seed in mine if seed in first]
    accuracies = [run["accuracy"] for run in mine.values()]
    differences = [run["accuracy"] - other["accuracy"] for run, other in shared]
    return {
        "parameters": next(iter(mine.values()))["parameters"],
        "seeds": sorted(mine),
        "cpu_seconds": median(run["cpu_seconds"] for run in mine.values()),
        "images_per_second": median(map(_rate, mine.values())),
        "speed": median(_rate(run) / _rate(other) for run, other in shared) if shared else None,
        "accuracy": fmean(accuracies),
        "interval": _interval(accuracies),
        "difference": fmean(differences) if shared else None,
        "difference_interval": _interval(differences),
    }


def _rate(run: Row) -> float:
    return float(run["samples"] / run["cpu_seconds"])


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean."""
    if len(values) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def table(rows: Sequence[Row]) -> str:
    """Return the rows of `summary` as text; those of the front are starred."""
    names = [_name(row) + (" *" if row["front"] else "") for row in rows]
    width = max(map(len, names))
    return "\n".join(
        [" " * width + "  " + _HEADER, *(f"{n:{width}}  {_line(r)}" for n, r in zip(names, rows, strict=True))]
    )


def _line(row: Row) -> str:
    speed = "" if row["speed"] is None else f"{row['speed']:.2f}"
    difference = "" if row["difference"] is None else f"{100 * row['difference']:+.2f}"
    return (
        f"{row['parameters']:10,}  {len(row['seeds']):5}  {row['cpu_seconds']:5.2f}  {row['images_per_second']:8,.0f}  "
        f"{speed:>15}  {row['accuracy']:8.4f}  {_span(row['interval'], 1, '.4f'):16}  "
        f"{difference:>5}  {_span(row['difference_interval'], 100, '+.2f')}"
    ).rstrip()


def _span(interval: Sequence[float] | None, scale: float, form: str) -> str:
    return "" if interval is None else " to ".join(format(scale * end, form) for end in interval)


def _name(row: Row) -> str:
    return str(row["network"]).rpartition(":")[2]


def picture(rows: Sequence[Row]) -> str:
    """Return accuracy against CPU seconds as SVG text: intervals as bars, the front as a line."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 5.2), layout="constrained")
        axis = figure.subplots()
        front = [row for row in rows if row["front"]]
        seconds, accuracies = [row["cpu_seconds"] for row in front], [row["accuracy"] for row in front]
        axis.plot(seconds, accuracies, color=palette("drift"), linewidth=1.2, drawstyle="steps-post")
        for row in rows:
            _draw(axis, row)
        axis.set_xscale("log")
        axis.margins(x=0.14, y=0.06)
        _name_all(axis, rows)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("CPU seconds of one training, one thread (logarithmic)", loc="left")
        axis.set_ylabel("accuracy on the test images")
        axis.grid(color=palette("grid"), linewidth=0.6)
        axis.set_axisbelow(True)
    return as_svg(figure)


def _draw(axis: Axes, row: Row) -> None:
    colour, (marker, size) = _colour(row), ("o", 6) if _ours(row) else ("s", 4)
    if row["interval"]:
        axis.vlines(row["cpu_seconds"], *row["interval"], color=colour, linewidth=1.2, alpha=0.5, zorder=3)
    axis.plot(row["cpu_seconds"], row["accuracy"], marker=marker, markersize=size, color=colour, zorder=4)


def _name_all(axis: Axes, rows: Sequence[Row]) -> None:
    """Write the names beside the points: those of the faster half to the left; none upon another."""
    low, high = axis.get_ylim()
    middle = (len(rows) - 1) // 2
    for side, half in (("right", rows[:middle]), ("left", rows[middle:])):
        height = low
        for row in sorted(half, key=lambda row: row["accuracy"]):
            height = max(height + (high - low) / 28, row["accuracy"])
            axis.annotate(
                _name(row),
                (row["cpu_seconds"] * (0.96 if side == "right" else 1.04), height),
                ha=side,
                va="center",
                color=_colour(row),
                fontweight="bold" if _ours(row) else "normal",
                zorder=2,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )


def _ours(row: Row) -> bool:
    return ":" not in row["network"]


def _colour(row: Row) -> str:
    return palette("clean" if _ours(row) else "twin")
