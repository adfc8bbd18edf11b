"""The time line of a run as a figure, from exported rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.observer.measures import measure
from simulator.observer.report import strips
from simulator.observer.report.strips import End, draw_line
from simulator.observer.report.style import STYLE, palette
from simulator.observer.rows import evident
from simulator.observer.run_export import RunExport

Rows = Sequence[Mapping[str, Any]]

_HEIGHTS = (1.5, 2.6, 1.4)
#: inches of one column, by how many there are
_WIDTHS = {1: 8.0, 2: 5.0}


def time_line(run: RunExport, arms: Sequence[str] | None = None) -> Figure:
    """Return the time line of `arms` (default: all), one column each, four strips that share the periods.

    Clean accuracy; net attack success with the raw one of arm and twin; drift score with its threshold; actions as
    marks. The true drift's magnitude (grey) and poisoned periods (hatched) are shaded behind all strips.
    """
    chosen = list(run.arms if arms is None else arms)
    actions = strips.kinds([row for arm in chosen for row in run.lineage(arm)])
    size = (1 + _WIDTHS.get(len(chosen), 4.0) * len(chosen), 6.4 + 0.22 * len(actions))
    heights = (*_HEIGHTS, 0.35 + 0.24 * len(actions))
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            4, len(chosen), sharex="col", sharey="row", squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        ends = [_column(list(grid[:, index]), run, arm, actions) for index, arm in enumerate(chosen)]
        _start_at_zero(grid[2, 0], [row["drift_score"] for arm in chosen for row in run.lineage(arm)])
        for index, arm in enumerate(chosen):  # only now are the shared axes as long as all columns need
            for axis, found in zip(grid[:3, index], ends[index], strict=True):
                strips.name_ends(axis, run.lineage(arm), found)
        for axis, key in zip(grid[:3, 0], ("clean_accuracy", "net_attack_success", "drift_score"), strict=True):
            _name_axis(axis, key)
        figure.align_ylabels(list(grid[:, 0]))
        figure.supxlabel(strips.caption(run, chosen), fontsize=8, color=palette("twin"), x=0.01, ha="left")
    return figure


def _column(axes: Sequence[Axes], run: RunExport, arm: str, actions: Sequence[str]) -> tuple[list[End], ...]:
    """Draw one arm's four strips and return the ends of the lines in the upper three."""
    rows, twin = run.lineage(arm), run.lineage(arm, "paced")
    largest = strips.largest_drift(run)
    for axis in axes:
        strips.shade(axis, rows, largest)
        axis.tick_params(length=0)
        axis.grid(axis="y", color=palette("grid"), linewidth=0.6)
        axis.set_axisbelow(True)
        strips.keep_to_periods(axis, rows)
    axes[0].set_title(arm, loc="left", fontweight="bold", fontsize=11)
    axes[3].set_xlabel("period", loc="left")
    strips.draw_marks(axes[3], rows, actions)
    step = max(1, -(-len(rows) // 12))
    axes[3].set_xticks([row["period"] for row in rows][::step])
    threshold = float(run.summary["threshold"])
    _mark_erased(axes[1], run.summary["arms"][arm]["by_threshold"][str(threshold)].get("erased_period"), rows)
    success = _success(axes[1], evident(rows, twin), evident(twin), threshold)  # a gap where there is no evidence
    return _accuracy(axes[0], rows, twin), success, _drift(axes[2], rows)


def _name_axis(axis: Axes, key: str) -> None:
    """Name a strip and say which end is good."""
    item = measure(key)
    good = {True: "higher is better ↑", False: "lower is better ↓", None: ""}[item.higher_is_better]
    axis.set_ylabel(f"{item.label}\n{good}" if good else item.label, linespacing=1.5)


def _accuracy(axis: Axes, rows: Rows, twin: Rows) -> list[End]:
    axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    ends = draw_line(axis, rows, "clean_accuracy", "clean", "arm")
    return ends + draw_line(axis, twin, "clean_accuracy", "clean", "twin", "dashed")


def _success(axis: Axes, rows: Rows, twin: Rows, threshold: float) -> list[End]:
    axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    ends = draw_line(axis, rows, "attack_success", "raw", "raw ASR", "thin")
    ends += draw_line(axis, rows, "net_attack_success", "attack", "net ASR")
    ends += draw_line(axis, twin, "attack_success", "twin", "twin's ASR", "dashed")
    if not ends:
        axis.text(0.02, 0.6, rows[-1]["reasons"]["attack_success"], transform=axis.transAxes, color=palette("ink"))
    nets = ("net_attack_success", "relearned_net_attack_success", "relearned_unrelated_net_attack_success")
    lowest = min((row[name] for row in rows for name in nets if row[name] is not None), default=0.0)
    axis.set_ylim(min(axis.get_ylim()[0], lowest - 0.06, -0.06), 1.06)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
    span = [rows[0]["period"] - 0.5, rows[-1]["period"] + 0.5]
    axis.plot(span, [threshold] * 2, color=palette("ink"), linewidth=0.8, linestyle=(0, (1, 2)))
    return ends + _relearned(axis, rows)


def _relearned(axis: Axes, rows: Rows) -> list[End]:
    """Draw what re-learning brought back as hollow marks, joined to where the version stood."""
    ends: list[End] = []
    for row in rows:
        period, net, own = row["period"], row["net_attack_success"], row["relearned_net_attack_success"]
        other = row["relearned_unrelated_net_attack_success"]
        if own is not None and net is not None:
            axis.plot([period] * 2, [net, own], ":", color=palette("attack"), linewidth=0.9)
        for value, shape, role in ((own, "^", "attack"), (other, "v", "twin")):
            if value is not None:
                axis.plot(period, value, shape, ms=7, mfc="white", mec=palette(role), mew=1.4, zorder=5)
        if row is rows[-1]:
            ends += [] if own is None else [End(period, own, "re-learned", palette("attack"))]
            ends += [] if other is None else [End(period, other, "unrelated trigger", palette("twin"))]
    return ends


def _mark_erased(axis: Axes, erased: int | None, rows: Rows) -> None:
    """Mark the period from which the backdoor counts as erased."""
    if erased is None:
        return
    late = erased > (rows[0]["period"] + rows[-1]["period"]) / 2
    axis.axvline(erased, color=palette("ink"), linewidth=0.8, ymax=0.93)
    axis.annotate(
        "erased",
        (erased, 1.0),
        xytext=(-4 if late else 4, 0),
        textcoords="offset points",
        ha="right" if late else "left",
        va="center",
        color=palette("ink"),
        fontsize=8,
    )


def _start_at_zero(axis: Axes, scores: Sequence[float | None]) -> None:
    """Let the drift scores' axis start at 0, or have no numbers when there is no score."""
    known = [score for score in scores if score is not None]
    if known:
        axis.set_ylim(bottom=min(0.0, *known))
    else:
        axis.set_yticks([])


def _drift(axis: Axes, rows: Rows) -> list[End]:
    ends = draw_line(axis, rows, "drift_score", "drift", "drift score")
    if not ends:
        axis.text(0.02, 0.5, rows[-1]["reasons"]["drift_score"], transform=axis.transAxes, color=palette("ink"))
        return []
    alarms = [row for row in rows if row["drift_alarm"] and row["drift_score"] is not None]
    periods, scores = [row["period"] for row in alarms], [row["drift_score"] for row in alarms]
    axis.plot(periods, scores, "o", markersize=6, color=palette("drift"))
    ends += draw_line(axis, rows, "drift_threshold", "ink", "threshold", "dotted")
    return ends
