"""Small multiples: a row a setting, every seed a thin line and their median a bold one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.observer.report.style import STYLE, palette
from simulator.observer.survival import THRESHOLDS
from simulator.study.report.curves import Curve, SettingCurves, median_curve
from simulator.study.statistics.lifetimes import survival_curve

_TITLES = ("net ASR over the periods", "share alive after so many updates", "clean accuracy over the periods")


def panels(settings: Sequence[SettingCurves], longest: float) -> Figure:
    """Return one row a setting: net ASR, Kaplan-Meier curve, clean accuracy; the axes are those of all settings.

    `longest`: updates up to which the curves of survival are drawn, so that several pictures share an axis.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 0.5 + 1.45 * len(settings)), layout="constrained")
        grid = figure.subplots(len(settings), 3, sharex="col", sharey="col", squeeze=False)
        for axes, setting in zip(grid, settings, strict=True):
            _success(axes[0], setting)
            _survival(axes[1], setting, longest)
            _accuracy(axes[2], setting)
            for axis in axes:
                axis.tick_params(length=0)
                axis.grid(axis="y", color=palette("grid"), linewidth=0.6)
                axis.set_axisbelow(True)
                axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
            axes[0].set_title(setting.setting, loc="left", fontweight="bold", fontsize=9)
        for axis, title in zip(grid[-1], _TITLES, strict=True):
            axis.set_xlabel(title, loc="left")
    return figure


def draw_seeds(axis: Axes, curves: Mapping[int, Curve], colour: str, style: str = "-") -> None:
    """Draw every seed as a thin line and the median as a bold one."""
    for curve in curves.values():
        axis.plot(*points(curve), style, color=colour, linewidth=0.7, alpha=0.5, zorder=2)
    axis.plot(*points(median_curve(curves)), style, color=colour, linewidth=2.2, zorder=3, solid_capstyle="round")


def points(curve: Curve) -> tuple[list[int], list[float]]:
    """Return the periods and values of a curve as `Axes.plot` takes them: NaN keeps a gap a gap."""
    return [period for period, _ in curve], [math.nan if value is None else value for _, value in curve]


def _is_measured(setting: SettingCurves) -> bool:
    return any(value is not None for curve in setting.net.values() for _, value in curve)


def _success(axis: Axes, setting: SettingCurves) -> None:
    draw_seeds(axis, setting.net, palette("attack"))
    if not _is_measured(setting):
        axis.text(0.02, 0.5, "net ASR is undefined", transform=axis.transAxes, color=palette("ink"))
    axis.axhline(THRESHOLDS[0], color=palette("ink"), linewidth=0.8, linestyle=(0, (1, 2)))
    axis.set_ylim(min(-0.06, axis.get_ylim()[0]), 1.06)
    axis.set_yticks([0, 0.5, 1])


def _survival(axis: Axes, setting: SettingCurves, longest: float) -> None:
    axis.set_xlim(0, max(longest, 1.0) * 1.03)
    if not setting.lives:
        whole = all(value is not None for curve in setting.net.values() for _, value in curve)
        text = ("never planted" if whole else "unknown") if _is_measured(setting) else "undefined"
        axis.text(0.02, 0.5, text, transform=axis.transAxes, color=palette("ink"))
        return
    curve = survival_curve(setting.lives)
    times, alive = [*curve.times, curve.end], [*curve.alive, curve.alive[-1]]
    axis.plot(times, alive, color=palette("drift"), linewidth=2.2, drawstyle="steps-post")
    axis.plot(curve.censored, [curve.at(time) for time in curve.censored], "|", color=palette("ink"), markersize=7)


def _accuracy(axis: Axes, setting: SettingCurves) -> None:
    draw_seeds(axis, setting.clean, palette("clean"))
    twin = median_curve(setting.twin)
    axis.plot(*points(twin), "--", color=palette("twin"), linewidth=1.2, zorder=4)
