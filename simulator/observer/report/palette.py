"""The one palette: survives the common kinds of colour blindness and a grey printer, where line styles tell apart."""

from __future__ import annotations

__all__ = ["palette"]

# Okabe and Ito, "Color Universal Design", 2008; greys of our own
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


def palette(role: str) -> str:
    """Return the colour of a role (`clean`, `attack`, `raw`, `twin`, `drift`, `poison`, `shade`, `grid`, `ink`)."""
    return _COLOURS[role]
