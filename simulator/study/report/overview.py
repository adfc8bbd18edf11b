"""All settings at a glance: every seed a dot, so that no mean stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulator.observer.report.style import STYLE, palette
from simulator.observer.survival import THRESHOLDS
from simulator.study.results import by_setting, lifetime_of
from simulator.study.rows import Rows

#: columns of the timelines table -> title and colour
_STRIPS = {
    "initial_net_attack_success": ("net ASR at first", "attack"),
    "final_net_attack_success": ("net ASR at last", "attack"),
    "mean_clean_accuracy": ("clean accuracy, mean", "clean"),
}
#: characters of a setting's name beside a picture
_NAME = 44


def overview(rows: Rows) -> Figure:
    """Return the picture of a timelines table: survival, first and last net ASR, mean clean accuracy, by setting.

    A filled dot is an erased backdoor, a hollow one was not erased by the end; a stroke is the median.
    """
    settings = by_setting(rows)
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 0.9 + 0.27 * len(settings)), layout="constrained")
        axes = figure.subplots(1, 1 + len(_STRIPS), sharey=True, squeeze=False, width_ratios=[2, 1, 1, 1])[0]
        axes[0].set_yticks(range(len(settings)), [shortened(name) for name in settings])
        axes[0].set_ylim(len(settings) - 0.5, -0.5)
        _lives(axes[0], settings)
        for axis, (column, (title, role)) in zip(axes[1:], _STRIPS.items(), strict=True):
            _values(axis, settings, column, palette(role))
            axis.set_xlabel(title, loc="left")
        for axis in axes:
            axis.tick_params(length=0)
            axis.grid(axis="x", color=palette("grid"), linewidth=0.6)
            axis.set_axisbelow(True)
    return figure


def shortened(name: str, limit: int = _NAME) -> str:
    """Return a setting's name, cut in the middle where it is longer than `limit` characters."""
    head = (limit - 3) // 2
    return name if len(name) <= limit else f"{name[:head]} … {name[-(limit - 3 - head) :]}"


def _lives(axis: Axes, settings: Mapping[str, Rows]) -> None:
    axis.set_xlabel(f"survival in updates, at net ASR {100 * THRESHOLDS[0]:.0f}%", loc="left")
    for place, rows in enumerate(settings.values()):
        found = [lifetime_of(row) for row in rows]
        lives = [life for life in found if life is not None]
        for height, life in zip(_spread(place, len(lives)), lives, strict=True):
            face = palette("drift") if life.ended else "white"
            axis.plot(life.time, height, "o", ms=4.5, mfc=face, mec=palette("drift"), mew=1.0, zorder=3)
        _stroke(axis, [life.time for life in lives], place)
        if not lives:
            planted = {row["planted"] for row in rows}
            text = {(None,): "undefined", (False,): "never planted"}.get(tuple(planted), "unknown")
            axis.text(0, place, text, va="center", fontsize=7.5, color=palette("twin"))
    axis.set_xlim(left=min(0, axis.get_xlim()[0]))


def _values(axis: Axes, settings: Mapping[str, Rows], column: str, colour: str) -> None:
    axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axis.xaxis.set_major_locator(MaxNLocator(3))
    for place, rows in enumerate(settings.values()):
        values = [row[column] for row in rows if row[column] is not None]
        axis.plot(values, _spread(place, len(values)), "o", ms=3.5, color=colour, alpha=0.75, mew=0, zorder=3)
        _stroke(axis, values, place)
    if column.endswith("net_attack_success"):
        low = min((row[column] for rows in settings.values() for row in rows if row[column] is not None), default=0)
        axis.set_xlim(min(-0.05, low - 0.05), 1.05)


def _stroke(axis: Axes, values: Sequence[float], place: int) -> None:
    if values:
        axis.plot([median(values)] * 2, [place - 0.38, place + 0.38], color=palette("ink"), linewidth=1.4, zorder=4)


def _spread(place: int, count: int) -> list[float]:
    """Heights at which dots of one value stay apart."""
    return [place + 0.5 * ((index + 0.5) / count - 0.5) for index in range(count)]
