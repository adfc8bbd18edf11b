"""The results of a bench of peers as medians, ratios and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.bench.rounds import ratios, spread
from simulator.bench.standard import CURVES

#: participants that the others are compared with
_BASES = ("bare-loop", "ebbdoor")


def compared(played: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return for every participant its CPU seconds and, round by round, their ratios to each base that was played.

    Each is `median`, `min` and `max`. `curves` are those of the first round.
    """
    seconds = {name: [result["cpu_seconds"] for result in results] for name, results in played.items()}
    bases = [base for base in _BASES if base in seconds]
    return {
        "cpu_seconds": {name: spread(values) for name, values in seconds.items()},
        "ratio": {base: {name: ratios(values, seconds[base]) for name, values in seconds.items()} for base in bases},
        "curves": {name: {curve: results[0][curve] for curve in CURVES} for name, results in played.items()},
    }


def table(found: Mapping[str, Any]) -> str:
    """Return two tables as text: seconds and ratios, then the curves by update."""
    bases = list(found["ratio"])
    heads = ["", "CPU s", "least - most", *(f"against {base}" for base in bases)]
    rows = [
        [name, f"{taken['median']:.2f}", _range(taken), *(_ratio(found["ratio"][base][name]) for base in bases)]
        for name, taken in found["cpu_seconds"].items()
    ]
    return f"{_aligned([heads, *rows])}\n\nclean accuracy / attack success\n{_aligned(_curve_rows(found['curves']))}"


def _curve_rows(curves: Mapping[str, Mapping[str, Sequence[float | None]]]) -> list[list[str]]:
    names = list(curves)
    updates = len(next(iter(curves.values()))["clean_accuracy"])
    pairs = [[_pair(curves[name], at) for name in names] for at in range(updates)]
    return [["update", *names], *([str(at), *cells] for at, cells in enumerate(pairs))]


def _pair(curves: Mapping[str, Sequence[float | None]], at: int) -> str:
    return " / ".join("–" if curves[name][at] is None else f"{curves[name][at]:.3f}" for name in CURVES)


def _ratio(values: Mapping[str, float]) -> str:
    return f"{values['median']:.2f} ({_range(values)})"


def _range(values: Mapping[str, float]) -> str:
    return f"{values['min']:.2f} - {values['max']:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
