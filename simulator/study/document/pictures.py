"""One picture a claim: the settings concerned over the periods, and the values that decide it; every seed is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.observer.measures import MEASURES
from simulator.observer.report import style
from simulator.observer.report.style import palette
from simulator.study.claims.readings import evidence_in
from simulator.study.claims.values import JudgedClaim, SideValues
from simulator.study.report.curves import Curve, median_curve
from simulator.study.report.panels import points
from simulator.study.timelines import PlayedTimeline

NET = "backdoor/net_attack_success"
_LABELS = {item.reading: item.label for item in MEASURES if item.reading is not None}
_COLOURS = ("attack", "clean", "drift", "twin")
STYLE: dict[Any, Any] = style.STYLE | {
    "font.family": ["sans-serif"],
    # text stays text: a page of thirty pictures is small then, and can be searched
    "svg.fonttype": "none",
}

Played = Mapping[str, Mapping[int, PlayedTimeline]]


def claim_picture(item: JudgedClaim, played: Played) -> Figure | None:
    """Return the picture of a claim; None where no pair of values counts.

    Left: a reading over the periods, each seed a thin line, their median bold. Right: the endpoint of each seed as a
    dot, pairs joined, left-out ones missing; the median is a bar. A survival that was not seen to end is hollow.
    """
    sides = [side for side in (item.weighed.one, item.weighed.other) if side.settings]
    played = {setting: _whole(mine) for setting, mine in played.items()}
    settings = list(dict.fromkeys(name for side in sides for name in side.settings if name in played))
    if not settings or not item.weighed.pairs:
        return None
    with rc_context(STYLE):
        lines = len(settings) <= len(_COLOURS)  # a correlation has too many settings for lines
        figure = Figure(figsize=(8.0 if lines else 4.0, 3.0), layout="constrained")
        axes = list(figure.subplots(1, 2, width_ratios=(2, 1)) if lines else [figure.subplots()])
        if lines:
            _over_periods(axes[0], settings, played, _drawn_reading(item, settings, played))
        _endpoints(axes[-1], item, sides)
    return figure


def as_svg(figure: Figure) -> str:
    """Return the figure as SVG text, fit to be kept under version control: no line ends in blanks."""
    return "\n".join(line.rstrip() for line in style.as_svg(figure, STYLE).splitlines()) + "\n"


def _whole(played: Mapping[int, PlayedTimeline]) -> dict[int, PlayedTimeline]:
    return {seed: one for seed, one in played.items() if one.diverged is None}


def _drawn_reading(item: JudgedClaim, settings: Sequence[str], played: Played) -> str:
    """The endpoint's own reading where every period has one, else net attack success."""
    name = item.spec.endpoint.measure
    curves = [_curve(one, name) for setting in settings for one in played[setting].values()]
    return name if all(len(curve) > 2 and all(value is not None for _, value in curve) for curve in curves) else NET


def _over_periods(axis: Axes, settings: Sequence[str], played: Played, reading: str) -> None:
    for setting, role in zip(settings, _COLOURS, strict=False):
        curves = {seed: _curve(one, reading) for seed, one in played[setting].items()}
        for curve in curves.values():
            axis.plot(*points(curve), color=palette(role), linewidth=0.6, alpha=0.45)
        bold = points(median_curve(curves))
        axis.plot(*bold, color=palette(role), linewidth=2.4, label=f"{setting} (n = {len(curves)})")
    axis.set_xlabel("period", loc="left")
    axis.set_ylabel(_LABELS.get(reading, reading))
    axis.grid(axis="y", color=palette("grid"), linewidth=0.6)
    axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncol=2, borderaxespad=0)


def _endpoints(axis: Axes, item: JudgedClaim, sides: Sequence[SideValues]) -> None:
    # seeds stand side by side, for whole numbers of updates would lie on one another
    seeds = {
        seed: 0.3 * ((index + 0.5) / len(item.weighed.pairs) - 0.5) for index, seed in enumerate(item.weighed.pairs)
    }
    for seed, aside in seeds.items():
        values = [side.by_seed[seed] for side in sides]
        places, numbers = [place + aside for place in range(len(sides))], [value.number or 0.0 for value in values]
        axis.plot(places, numbers, color=palette("shade"), linewidth=0.5, alpha=0.6)
        for value, place, number, role in zip(values, places, numbers, _COLOURS, strict=False):
            face = palette(role) if value.ended else "white"
            axis.plot(place, number, "o", markersize=4, mec=palette(role), mfc=face, alpha=0.8)
    for place, side in enumerate(sides):
        middle = median([side.by_seed[seed].number or 0.0 for seed in seeds])
        axis.plot([place - 0.25, place + 0.25], [middle] * 2, color=palette(_COLOURS[place]), linewidth=2.4)
    reference = item.spec.other.value
    if reference is not None:
        axis.axhline(reference, color=palette("ink"), linewidth=0.8, linestyle=(0, (1, 2)))
    axis.set_xlim(-0.6, len(sides) - 0.4)
    axis.set_xticks(range(len(sides)), [_short(side.name) for side in sides], fontsize=8)
    axis.set_ylabel(item.verdict.claim.endpoint.name.rpartition("/")[2].replace("_", " "))


def _short(name: str) -> str:
    """A side's name in lines of a tick label's width; of a correlation, what it is with."""
    words, lines = name.partition(" with ")[2].replace("_", "_ ").split() or name.replace("/", "/ ").split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > 18:
            lines.append("")
        lines[-1] += word if not lines[-1] or lines[-1].endswith(("/", "_")) else f" {word}"
    return "\n".join(lines)


def _curve(one: PlayedTimeline, reading: str) -> Curve:
    found = evidence_in(one)
    return tuple((record.period, found.reading(record, reading).value) for record in found.records)
