"""What the defenses of each setting did, as a table of texts: what got through, what they saw, and what for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulator.observer.measures import DASH
from simulator.study.results import by_setting, spread, spread_text
from simulator.study.rows import Rows

#: what stands beside the table, in the document and in the report
EXPLAINED = (
    "Exposure is the sum of net ASR over the periods served, behind the screen where there is one. “Poison seen”: "
    "timelines with an alarm, of a filter that dropped rows or an inspector that flagged, in the first poisoned period "
    "or later; “after periods” counts from that period on. False alarms are those of the free twin, which has the same "
    "defense, drift and rows but no attacker. Seconds are those of all calls in the arm. Elsewhere: median (lowest to "
    "highest) over the seeds; requests and failures are sums."
)
_Shown = Callable[[Sequence[Mapping[str, Any]]], str]


def defended_texts(rows: Rows) -> list[dict[str, str]]:
    """Return one row a setting of a timelines table, in its order; none where no timeline has a defense.

    Settings without a defense stand among them, for their exposure. `seen` counts the timelines with an alarm in or
    after the first poisoned period. False alarms are those of free twins, per 100 of their updates. Columns in which no
    setting has a value are left out.
    """
    if all(row["requests_granted"] is None for row in rows):
        return []
    texts = [
        {"setting": name, **{title: show(mine) for title, show in _COLUMNS.items()}}
        for name, mine in by_setting(rows).items()
    ]
    used = [title for title in texts[0] if any(text[title] != DASH for text in texts)]
    return [{title: text[title] for title in used} for text in texts]


def _seen(rows: Sequence[Mapping[str, Any]]) -> str:
    asked = [row for row in rows if row["defense_alarms"] is not None]
    return f"{sum(row['detection_delay'] is not None for row in asked)} of {len(asked)}" if asked else DASH


def _false_alarms(rows: Sequence[Mapping[str, Any]]) -> str:
    twins = [row for row in rows if row["free_defense_alarms"] is not None]
    updates = sum(row["free_updates"] for row in twins)
    if not updates:
        return DASH
    alarms = sum(row["free_defense_alarms"] for row in twins)
    return f"{100 * alarms / updates:.1f} ({alarms} of {updates})"


def _spread(column: str) -> _Shown:
    """Return what shows a column's median and range, and how many seeds have a value."""

    def shown(rows: Sequence[Mapping[str, Any]]) -> str:
        return spread_text(column, spread([row[column] for row in rows if row[column] is not None]), len(rows))

    return shown


def _sum(column: str) -> _Shown:
    def shown(rows: Sequence[Mapping[str, Any]]) -> str:
        values = [row[column] for row in rows if row[column] is not None]
        return str(sum(values)) if values else DASH

    return shown


_COLUMNS: dict[str, _Shown] = {
    "exposure": _spread("exposure"),
    "clean accuracy, mean": _spread("mean_clean_accuracy"),
    "poison seen": _seen,
    "after periods": _spread("detection_delay"),
    "false alarms per 100 clean updates": _false_alarms,
    "rows dropped": _spread("rows_dropped"),
    "rows dropped, free twin": _spread("free_rows_dropped"),
    "requests granted": _sum("requests_granted"),
    "requests granted, free twin": _sum("free_requests_granted"),
    "failures": _sum("defense_failures"),
    "seconds": _spread("defense_seconds"),
}
