"""The style of every picture: colours by role, fonts, and SVG text that is the same for the same figure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import StringIO
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008, and greys: they survive the common kinds of colour blindness and a grey
# printer, where line styles tell them apart
_COLOURS = {
    "clean": "#0072B2",
    "attack": "#D55E00",
    "raw": "#C98A5E",
    "twin": "#5F6B73",
    "drift": "#8F4C78",
    "poison": "#D55E00",
    "shade": "#7C8A96",
    "grid": "#E3E6E8",
    "ink": "#24292E",
}
#: matplotlib's settings
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    # the same figure gives the same file
    "svg.hashsalt": "ebbdoor",
    "svg.fonttype": "path",
}


def palette(role: str) -> str:
    """Return the colour of a role (`clean`, `attack`, `raw`, `twin`, `drift`, `poison`, `shade`, `grid`, `ink`)."""
    return _COLOURS[role]


def as_svg(figure: Figure, style: Mapping[Any, Any] = STYLE) -> str:
    """Return the figure as SVG text; the same figure, drawn in the same `style`, gives the same text."""
    text = StringIO()
    with rc_context(dict(style)):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def as_data(figure: Figure) -> str:
    """Return the figure as base64 of its SVG text, for a page that embeds it."""
    return base64.b64encode(as_svg(figure).encode()).decode()
