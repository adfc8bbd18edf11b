"""From results to Markdown: scores against the drift, rank correlations, and alarms without drift."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata

from benchmarks.results_page import Result, ResultsPage

Floats = NDArray[np.float64]

_RESAMPLES = 1000


def tables(results: Sequence[Result]) -> str:
    """Return the tables of all results: one of correlations, one of alarms without drift, one of scores a source."""
    sources = list(dict.fromkeys(result["source"] for result in results))
    parts = [_correlations(results), _undrifted(results), _references(results)]
    parts += [_scores(source, [one for one in results if one["source"] == source]) for source in sources]
    return "\n\n".join(part for part in parts if part) + "\n"


def correlation(results: Iterable[Result], seed: int = 0) -> tuple[float, float, float] | None:
    """Return Spearman's correlation of the size of a drift with its mean score, and a 95 % interval.

    `results` are those of one kind, source and monitor. The interval is a percentile bootstrap over the draws of each
    magnitude. None where scores are missing or do not vary.
    """
    by_size: dict[float, list[float | None]] = {}
    for result in results:
        by_size.setdefault(abs(result["magnitude"]), []).extend(result["scores"])
    if len(by_size) < 2 or any(
        score is None or not math.isfinite(score) for drawn in by_size.values() for score in drawn
    ):
        return None
    sizes, rng = list(by_size), np.random.default_rng(seed)
    scores = [np.array(drawn, float) for drawn in by_size.values()]
    again = np.stack([rng.choice(drawn, (_RESAMPLES, len(drawn))).mean(1) for drawn in scores], axis=1)
    means = np.array([[drawn.mean() for drawn in scores]])
    if np.ptp(means) == 0:
        return None
    low, high = np.nanpercentile(_spearman(sizes, again), [2.5, 97.5])
    return float(_spearman(sizes, means)[0]), float(low), float(high)


def _spearman(sizes: Sequence[float], scores: Floats) -> Floats:
    """Return Spearman's correlation of `sizes` (K,) with each row of `scores` (S, K); nan for rows without spread."""
    first, second = rankdata(sizes), rankdata(scores, axis=1)
    first, second = first - first.mean(), second - second.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(second @ first / np.sqrt((second**2).sum(1) * (first**2).sum()))


def share(alarms: int, periods: int) -> str:
    """Return a share of periods with its exact binomial 95 % interval.

    >>> share(10, 200)
    '10 of 200: 5.0 % (2.4 to 9.0)'
    """
    interval = binomtest(alarms, periods).proportion_ci(0.95)
    bounds = f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
    return f"{alarms} of {periods}: {100 * alarms / periods:.1f} % ({bounds})"


def _correlations(results: Sequence[Result]) -> str:
    scored = [result for result in results if result["part"] == "scores"]
    sources, monitors, kinds = (
        list(dict.fromkeys(one[key] for one in scored)) for key in ("source", "monitor", "kind")
    )
    rows = []
    for kind in kinds:
        for monitor in monitors:
            cells = []
            for source in sources:
                key = (kind, monitor, source)
                mine = [one for one in scored if (one["kind"], one["monitor"], one["source"]) == key]
                found = correlation(mine) if mine else None
                absent = "no score" if mine else "does not apply: one channel" if kind == "hue" else "not measured"
                cells.append(absent if found is None else f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})")
            rows.append([kind, monitor, *cells])
    return _table("Spearman's correlation of drift and mean score", ["drift", "monitor", *sources], rows)


def _undrifted(results: Sequence[Result]) -> str:
    rows = [
        [*key, share(*_summed(mine))]
        for key, mine in _grouped(results, "undrifted", ("source", "through", "monitor")).items()
    ]
    return _table("Alarms without drift", ["source", "images pass", "monitor", "alarms"], rows)


def _references(results: Sequence[Result]) -> str:
    rows = []
    for key, mine in _grouped(results, "references", ("source", "monitor")).items():
        shares = sorted(alarms / one["periods"] for one in mine for alarms in one["alarms"])
        total = sum(sum(one["alarms"]) for one in mine)
        periods = sum(len(one["alarms"]) * one["periods"] for one in mine)
        rows.append([*key, f"{100 * total / periods:.1f} %", " ".join(f"{100 * one:.0f}" for one in shares)])
    return _table("Alarms without drift, by reference", ["source", "monitor", "all", "% of each reference"], rows)


def _scores(source: str, results: Sequence[Result]) -> str:
    rows = []
    for (kind, magnitude, monitor), mine in _grouped(results, "scores", ("kind", "magnitude", "monitor")).items():
        alarms, periods = _summed(mine)
        scores = [score for one in mine for score in one["scores"] if score is not None]
        told = {name for one in mine for name in one["kinds"]}
        named = ", ".join(f"{name} {sum(one['kinds'].get(name, 0) for one in mine)}" for name in sorted(told))
        mean = f"{np.mean(scores):.3f}" if scores else "none"
        rows.append([kind, f"{magnitude:g}", monitor, mean, f"{alarms} of {periods}", named])
    return _table(f"Scores on {source}", ["drift", "magnitude", "monitor", "mean score", "alarms", "named"], rows)


def _grouped(results: Iterable[Result], part: str, keys: Sequence[str]) -> dict[tuple[Any, ...], list[Result]]:
    found: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        if result["part"] == part:
            found.setdefault(tuple(result[key] for key in keys), []).append(result)
    return found


def _summed(results: Sequence[Result]) -> tuple[int, int]:
    return sum(one["alarms"] for one in results), sum(one["periods"] for one in results)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _about(call: Mapping[str, Any]) -> str:
    return (
        f"- {', '.join(call['sources'])}: {call['network']}, seeds {' '.join(map(str, call['seeds']))}, "
        f"{call['draws']} batches for each magnitude, {call['undrifted']} undrifted periods, "
        f"{call['references']} × {call['per_reference']} by reference; {call['cpu']}, {call['date']}"
    )


#: options of a call that its results are noted with
KEPT = ("sources", "seeds", "network", "draws", "undrifted", "references", "per_reference")
PAGE = ResultsPage("benchmarks.drift", tables, _about)
