"""Scores of a defense as plots the size of a word: a bar each, or a strip of deciles; as SVG inside the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import median
from typing import Any, Final

from simulator.observer.report.style import palette

#: pixels of a plot: its height, the width of few bars, and the width that many share
_HEIGHT: Final = 28.0
_BAR: Final = 10.0
_WIDTH: Final = 160.0

Plot = dict[str, Any]


def plots_of(shown: Mapping[str, Any]) -> list[Plot]:
    """Return a plot for each list of scores in an outcome's `shown`: its `svg`, safe in a page, and a `caption`."""
    named = [("rows", "row", shown.get("scores")), ("classes", "class", shown.get("class_scores"))]
    layers = shown.get("channel_scores", {}).items()
    named += [(f"channels of {layer}", "channel", scores) for layer, scores in layers]
    return [_plot(of, each, scores) for of, each, scores in named if scores]


def _plot(of: str, each: str, scores: Mapping[str, Any]) -> Plot:
    values, count = list(scores["values"]), int(scores["count"])
    of = of if count != 1 else " ".join([each, *of.split(" ")[1:]])
    whole = len(values) == count  # else they are the minimum, nine deciles and the maximum
    caption = _of_all(of, each, values) if whole else _of_deciles(of, count, values)
    return {"caption": caption, "svg": _svg(*(_bars(values) if whole else _strip(values)), caption)}


def _of_all(of: str, each: str, values: Sequence[float]) -> str:
    highest = max(values)
    return f"{len(values)} {of}: highest {highest:.3g} ({each} {values.index(highest)}), median {median(values):.3g}"


def _of_deciles(of: str, count: int, values: Sequence[float]) -> str:
    low, middle, ninth, high = values[0], values[len(values) // 2], values[-2], values[-1]
    return f"{count:,} {of}: {low:.3g} to {high:.3g}, median {middle:.3g}, 90 % at most {ninth:.3g}"


def _bars(values: Sequence[float]) -> tuple[str, float]:
    """Bars from 0 up or down; the highest in the colour of an attack."""
    step = min(_BAR, _WIDTH / len(values)) if len(values) <= _WIDTH else 1.0
    low, high = min(0.0, *values), max(0.0, *values)
    zero = _height(0.0, low, high)
    highest = values.index(max(values))
    others, first = [], ""
    for place, value in enumerate(values):
        line = f"M{(place + 0.5) * step:.4g} {zero:.4g}V{_height(value, low, high):.4g}"
        if place == highest:
            first = line
        else:
            others.append(line)
    width = f'stroke-width="{0.7 * step:.3g}"'
    marks = f'<path d="M0 {zero:.4g}H{step * len(values):.4g}" stroke="{palette("shade")}" stroke-width="1"/>'
    marks += f'<path d="{"".join(others)}" stroke="{palette("twin")}" {width}/>' if others else ""
    return marks + f'<path d="{first}" stroke="{palette("attack")}" {width}/>', step * len(values)


def _strip(values: Sequence[float]) -> tuple[str, float]:
    """A line from minimum to maximum with a tick at each decile; that of the median is tall."""
    low, high = values[0], values[-1]
    places = [_WIDTH * ((value - low) / (high - low) if high > low else 0.5) for value in values]
    marks = f'<path d="M{places[0]:.4g} 14H{places[-1]:.4g}" stroke="{palette("shade")}" stroke-width="1"/>'
    ticks = "".join(f"M{place:.4g} 9V19" for place in places)
    middle = f"M{places[len(places) // 2]:.4g} 3V25"
    marks += f'<path d="{ticks}" stroke="{palette("twin")}" stroke-width="1"/>'
    return marks + f'<path d="{middle}" stroke="{palette("ink")}" stroke-width="2"/>', _WIDTH


def _height(value: float, low: float, high: float) -> float:
    """The place of a value between the plot's lower and upper edge, a pixel inside."""
    return 1 + (_HEIGHT - 2) * (1 - (value - low) / (high - low)) if high > low else _HEIGHT - 1


def _svg(marks: str, width: float, caption: str) -> str:
    size = f'width="{width:.4g}" height="{_HEIGHT:.4g}" viewBox="0 0 {width:.4g} {_HEIGHT:.4g}"'
    return f'<svg role="img" {size}><title>{escape(caption)}</title>{marks}</svg>'
