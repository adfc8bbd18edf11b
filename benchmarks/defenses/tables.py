"""From results to Markdown: one table a surface, one row for each source, network and defense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import mean, median
from typing import Any

from benchmarks.defenses.lab import RATE
from benchmarks.results_page import Result, ResultsPage

Cells = Callable[[Sequence[Result], Sequence[Result]], list[str]]


def tables(results: Sequence[Result]) -> str:
    """Return the tables of the surfaces that `results` hold, and what did not apply or failed, with its reason."""
    return "\n\n".join(part for part in _parts(results) if part) + "\n"


def _parts(results: Sequence[Result]) -> Iterator[str]:
    for surface, title, columns, cells in _ALL:
        yield _table(title, [*_KEY, *columns], _rows(surface, cells, results))
        if surface == "training":
            yield _next_updates(results)
    yield _updates(results)
    yield _absent(results)


_KEY = ["defense", "source", "network"]


def _rows(surface: str, cells: Cells, results: Sequence[Result]) -> list[list[str]]:
    found = []
    for key, mine in _grouped(one for one in results if one["surface"] == surface and one["status"] == "measured"):
        planted, clean = ([one for one in mine if one["planted"] is wanted] for wanted in (True, False))
        found.append([*key, *cells(planted, clean), f"{median(one['seconds'] for one in mine):.1f}"])
        found[-1].append(f"{median(one['passes'] for one in mine):,.0f}")
    return found


def _grouped(results: Iterable[Result]) -> list[tuple[tuple[str, ...], list[Result]]]:
    """Return results by defense, source and network, in that order."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for one in results:
        groups.setdefault(tuple(one[key] for key in _KEY), []).append(one)
    return sorted(groups.items())


def _filters(planted: Sequence[Result], clean: Sequence[Result]) -> list[str]:
    drops = [drop for one in clean for drop in one["drifted_dropped"].values() if drop is not None]
    return [
        _span(one["recall"] for one in planted),
        _span(one["clean_dropped"] for one in planted),
        _span(one["clean_dropped"] for one in clean),
        _span(drops),
    ]


def _changes(planted: Sequence[Result], clean: Sequence[Result]) -> list[str]:
    """Attack success before and after; how many models it halves at up to 4 points; points of accuracy lost."""
    halved = [
        one["attack_success"]["after"] <= one["attack_success"]["before"] / 2 and _lost(one) <= 0.04 for one in planted
    ]
    return [
        _span(one["attack_success"]["before"] for one in planted),
        _span(one["attack_success"]["after"] for one in planted),
        f"{sum(halved)} of {len(halved)}",
        _span(_lost(one) for one in planted),
        _span(_lost(one) for one in clean),
    ]


def _inspectors(planted: Sequence[Result], clean: Sequence[Result]) -> list[str]:
    return [f"{sum(one['flagged'] for one in group)} of {len(group)}" for group in (planted, clean)]


def _screens(planted: Sequence[Result], clean: Sequence[Result]) -> list[str]:
    return [
        _span(one["attack_success"]["before"] for one in planted),
        _span(one["attack_success"]["after"] for one in planted),
        _span(one["clean_refused"] for one in planted),
        _span(one["clean_refused"] for one in clean),
    ]


_CHANGED = ["ASR before", "ASR after", "halved for ≤ 4 points", "points lost", "points lost, clean model"]
_COST = ["s", "passes"]
_ALL: tuple[tuple[str, str, list[str], Cells], ...] = (
    (
        "filter",
        "Filters",
        ["poison dropped", "clean rows dropped", "of a clean window", "of clean drifted windows", *_COST],
        _filters,
    ),
    ("training", "Training", [*_CHANGED, *_COST], _changes),
    ("repair", "Repairs", [*_CHANGED, *_COST], _changes),
    ("inspector", "Inspectors", ["planted flagged", "clean flagged", *_COST], _inspectors),
    (
        "screen",
        "Screens",
        ["ASR before", "ASR after refusal", "clean refused", "clean refused, clean model", *_COST],
        _screens,
    ),
)


def _next_updates(results: Sequence[Result]) -> str:
    """Return what training defenses make of the next update with clean rows, of planted models."""
    rows = []
    for key, mine in _grouped(one for one in results if "next_update" in one and one["planted"]):
        found = [one["next_update"] for one in mine]
        spans = [_span(one["attack_success"][when] for one in found) for when in ("before", "after")]
        rows.append([*key, *spans, _span(_lost(one) for one in found)])
    head = [*_KEY, "ASR after the plain update", "ASR after the defense's", "points lost"]
    return _table("Training: the next update with clean rows, of planted models", head, rows)


def _updates(results: Sequence[Result]) -> str:
    """Return how often a defense that looks back raised its alarm at the clean updates before the last one."""
    rows = []
    # before a planted one there are the same updates
    for key, mine in _grouped(one for one in results if "updates" in one and not one["planted"]):
        asked, raised = (sum(one["updates"][name] for one in mine) for name in ("asked", "raised"))
        rows.append([*key, f"{raised:.3g} of {asked}"])
    return _table("Clean updates before the last one", [*_KEY, "flagged, or windows' worth of rows dropped"], rows)


def _absent(results: Sequence[Result]) -> str:
    groups: dict[tuple[str, ...], int] = {}
    for one in results:
        if one["status"] != "measured":
            key = (*(one[key] for key in _KEY), f"{one['status']}: {one['reason']}".replace("|", "\\|"))
            groups[key] = groups.get(key, 0) + 1
    rows = [[*key, str(count)] for key, count in sorted(groups.items())]
    return _table("Not measured", [*_KEY, "why", "models"], rows)


def _lost(one: Result) -> float:
    lost: float = one["accuracy"]["before"] - one["accuracy"]["after"]
    return round(lost, 4)


def _span(values: Any) -> str:
    """Return mean, least and greatest of shares, in per cent.

    >>> _span([0.1, 0.3])
    '20 (10 to 30)'
    """
    found = [100 * value for value in values]
    return f"{mean(found):.0f} ({min(found):.0f} to {max(found):.0f})" if found else "–"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _about(call: Mapping[str, Any]) -> str:
    seeds = " ".join(map(str, call["seeds"]))
    return (
        f"- {call['source']}, {call['network']}, {100 * RATE:g} % poison, seeds {seeds}; {call['cpu']}, {call['date']}"
    )


#: options of a call that its results are noted with
KEPT = ("source", "network", "seeds")
PAGE = ResultsPage("benchmarks.defenses", tables, _about)
