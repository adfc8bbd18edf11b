"""The timelines table: one row a timeline, all that it comes to, and for every null a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.observer.export import export_of
from simulator.observer.measures import MEASURES
from simulator.observer.summary import by_line
from simulator.production.registry.base import Entry
from simulator.study.outcome import outcome_of
from simulator.study.timelines import PlayedTimeline

__all__ = ["cell", "reading_keys", "timeline_rows"]

Row = dict[str, Any]

#: readings of which every table has a column, measured or not
_ALWAYS = (
    "clean_accuracy",
    "attack_success",
    "net_attack_success",
    "triggered_effect",
    "trigger_ed50",
    "logit_margin",
    "relearned_net_attack_success",
    "relearned_unrelated_net_attack_success",
)
_KEYS = {item.reading: item.key for item in MEASURES if item.reading is not None}


def timeline_rows(played: Sequence[PlayedTimeline]) -> list[Row]:
    """Return one row a timeline, in the order given; all rows have the same columns.

    `*_0.5` and `*_0.1` are of these thresholds, `planted`, `planted_period` and `revived` (a count) of 0.5. A censored
    survival is a lower bound; `followed_updates` counts the updates from the planting to the end. `initial_*` are
    readings of period 0, `final_*` of the last. `mean_clean_accuracy` is the area under clean accuracy from the first
    update on, divided by its periods. `reasons` is a JSON object with one text for every null of the row. A grid value
    that is a list or an object is JSON text.
    """
    finals = reading_keys((by_line(one.entries)[one.timeline.arm]["none"][-1:] for one in played), _ALWAYS)
    points = list(dict.fromkeys(key for one in played for key in one.timeline.point))
    numbers = list(dict.fromkeys(key for one in played for key in _numbers(one.beside)))
    return [_row(one, points, finals, numbers) for one in played]


def reading_keys(lines: Iterable[Iterable[Entry]], always: Sequence[str] = ()) -> list[str]:
    """Return the keys of the readings that some entry has, those of the table of measures first, in its order."""
    seen = {name for line in lines for entry in line for name in entry.record.readings}
    known = [key for name, key in _KEYS.items() if name in seen or key in always]
    return known + sorted(name for name in seen if name not in _KEYS)


def cell(value: Any) -> Any:
    """Return a grid's value as a table holds it: lists and objects as JSON text, as in the setting's name."""
    plain = not isinstance(value, list | tuple | Mapping)
    return value if plain else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _row(one: PlayedTimeline, points: Sequence[str], finals: Sequence[str], numbers: Sequence[str]) -> Row:
    timeline = one.timeline
    run = export_of({}, one.entries)
    outcome, part = outcome_of(run, timeline.arm, finals), run.summary["arms"][timeline.arm]
    row: Row = {
        "study": timeline.study,
        "setting": timeline.setting,
        "arm": timeline.arm,
        "seed": timeline.seed,
        **{key: cell(timeline.point.get(key)) for key in points},
        "timeline": timeline.name,
        "scenario_digest": run.about["scenario_digest"],
        "source_digest": run.about["source_digest"],
        **outcome.values,
        "seconds": one.beside.get("seconds", part["seconds"] + part["seconds_controls"]),
    }
    row |= {key: one.beside.get(key) for key in numbers if key not in row}
    reasons = {key: outcome.reasons.get(key) or _absent(key, one) for key, value in row.items() if value is None}
    return row | {"reasons": json.dumps(reasons)}


def _numbers(beside: Mapping[str, Any]) -> list[str]:
    """Return the keys of what is a number, or would be one where it is null."""
    return [key for key, value in beside.items() if value is None or isinstance(value, int | float)]


def _absent(key: str, one: PlayedTimeline) -> str:
    """Why a grid's value or a number beside the records is null."""
    if key in one.timeline.point:
        return "the grid sets it to null"
    given = one.beside.get("reasons")
    told = given.get(key) if isinstance(given, Mapping) else None
    return str(told or "there is no such number beside this timeline")
