"""Theory beside practice: what the linear formula predicts of each setting, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import final

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from scipy.stats import spearmanr

from simulator.observer.report.style import palette
from simulator.study.claims.values import Field, Value
from simulator.study.document.pictures import STYLE
from simulator.study.document.words import spread
from simulator.study.timelines import PlayedTimeline

_PREDICTED = "predicted_updates"
_MEASURED = "survival_updates_0.5"


@final
@dataclass(frozen=True, slots=True)
class Compared:
    """A setting of which formula and measurement both speak, with the values of every seed that has both."""

    setting: str
    pairs: Mapping[int, tuple[float, Value]]

    @property
    def predicted(self) -> float:
        """The median prediction, in updates."""
        return median([one for one, _ in self.pairs.values()])

    @property
    def measured(self) -> float:
        """The median survival, in updates; a censored one is its lower bound."""
        return median([other.number or 0.0 for _, other in self.pairs.values()])


def compared(played: Sequence[PlayedTimeline]) -> list[Compared]:
    """Return the settings with a prediction and a survival, by rising prediction."""
    field = Field.of(played)
    found = []
    for setting, timelines in field.by_setting.items():
        known: dict[int, tuple[float, Value]] = {}
        for seed in timelines:
            predicted, measured = (field.column(setting, seed, name) for name in (_PREDICTED, _MEASURED))
            if predicted.number is not None and measured.number is not None:
                known[seed] = predicted.number, measured
        if known:
            found.append(Compared(setting, known))
    return sorted(found, key=lambda item: item.predicted)


def theory_rows(found: Sequence[Compared]) -> list[dict[str, str]]:
    """Return one row a setting: prediction, survival, and the rank by either (`number` is that by prediction)."""
    ranks = {item.setting: rank for rank, item in enumerate(sorted(found, key=lambda item: item.measured), start=1)}
    return [
        {
            "number": str(rank),
            "setting": item.setting,
            "predicted": f"{item.predicted:.2f}",
            "measured": spread([other for _, other in item.pairs.values()], "updates"),
            "seeds": str(len(item.pairs)),
            "rank": str(ranks[item.setting]),
        }
        for rank, item in enumerate(found, start=1)
    ]


def agreement(found: Sequence[Compared]) -> str:
    """Return the rank correlation within each seed, as median and range over the seeds."""
    seeds = sorted({seed for item in found for seed in item.pairs})
    rhos = []
    for seed in seeds:
        both = [item.pairs[seed] for item in found if seed in item.pairs]
        one, other = [predicted for predicted, _ in both], [measured.number for _, measured in both]
        if len(both) >= 3 and len(set(one)) > 1 and len(set(other)) > 1:
            rhos.append(Value(float(spearmanr(one, other).statistic)))
    if not rhos:
        return "no seed has three settings that differ in both"
    return f"{spread(rhos, 'rho')} over {len(rhos)} seeds"


def theory_picture(found: Sequence[Compared]) -> Figure:
    """Return measured survival against prediction: a dot a seed (hollow: not erased by the end), medians numbered."""
    with rc_context(STYLE):
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axis = figure.subplots()
        for number, item in enumerate(found, start=1):
            for one, other in item.pairs.values():
                face = palette("attack") if other.ended else "white"
                axis.plot(one, other.number or 0.0, "o", ms=3.5, mec=palette("attack"), mfc=face, alpha=0.5)
            axis.plot(item.predicted, item.measured, "_", markersize=12, mew=2.4, color=palette("ink"))
            axis.annotate(
                str(number), (item.predicted, item.measured), xytext=(7, 3), textcoords="offset points", fontsize=7
            )
        if all(item.predicted > 0 for item in found):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("updates until half the trigger weight is left, by the linear formula", loc="left")
        axis.set_ylabel("updates survived")
        axis.grid(color=palette("grid"), linewidth=0.6)
    return figure
