"""Net ASR of several settings in one picture: a colour and a dash each, every seed thin, the median bold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulator.observer.report.style import STYLE, palette
from simulator.observer.survival import THRESHOLDS
from simulator.study.report.curves import Curve
from simulator.study.report.overview import shortened
from simulator.study.report.panels import draw_seeds

#: Okabe and Ito's, those that can be read on white
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#8F4C78", "#5F6B73", "#56B4E9")
_DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")


def overlay(nets: Mapping[str, Mapping[int, Curve]]) -> Figure:
    """Return the picture of net ASR over the periods, by label and seed."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, max(4.0, 1.0 + 0.2 * len(nets))), layout="constrained")
        axis = figure.subplots()
        handles = []
        for index, (label, curves) in enumerate(nets.items()):
            colour, dash = _COLOURS[index % len(_COLOURS)], _DASHES[index // len(_COLOURS) % len(_DASHES)]
            draw_seeds(axis, curves, colour, dash)
            handles.append(Line2D([], [], color=colour, linestyle=dash, linewidth=2.2, label=shortened(label)))
        axis.axhline(THRESHOLDS[0], color=palette("ink"), linewidth=0.8, linestyle=(0, (1, 2)))
        axis.set_ylim(min(-0.06, axis.get_ylim()[0]), 1.06)
        axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
        axis.grid(axis="y", color=palette("grid"), linewidth=0.6)
        axis.tick_params(length=0)
        axis.set_xlabel("period", loc="left")
        axis.set_ylabel("net ASR\nlower is better ↓", linespacing=1.5)
        figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return figure
