"""Columns of the timelines table that say what the defenses of an arm did, and how often they did so for nothing.

A defense gives an *alarm* in a period when it is a filter that dropped rows, or an inspector that flagged. Repairs and
trainings always change the model, and screens always refuse a few images, so neither gives alarms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

#: columns of the arm
COLUMNS = (
    "defense_alarms",
    "detection_delay",
    "rows_dropped",
    "requests_granted",
    "defense_failures",
    "defense_samples",
    "defense_seconds",
)
#: columns of its free twin, which was never poisoned, with the prefix `free_`
FREE = ("defense_alarms", "rows_dropped", "requests_granted", "updates")
_ALARMS = {("filter", "changed"), ("filter", "flagged"), ("inspector", "flagged")}
_UNUSED = ("failed", "timeout")


def defended(rows: Rows, free: Rows) -> Row:
    """Return the columns of an arm from its periods, and those of its free twin from the twin's; None is undefined.

    `rows` and `free` are lines as `periods.jsonl` holds them. The twin's are counted from period 1 on: each of them is
    an update of a lineage that drifts and is clean, so that its alarms are false ones; `free_updates` counts them.
    """
    found = _columns(rows) | {"detection_delay": _delay(rows)}
    clean = [row for row in free if row["period"] > 0]
    twin = _columns(clean) | {"updates": len(clean) if found["requests_granted"] is not None and free else None}
    return {**{name: found[name] for name in COLUMNS}, **{f"free_{name}": twin[name] for name in FREE}}


def why_undefended(values: Mapping[str, Any], rows: Rows, free: Rows) -> dict[str, str]:
    """Return the reason of each column of `defended` that is None."""
    texts = _reasons(rows) | {f"free_{name}": text for name, text in _reasons(free).items()}
    if not free:
        texts |= dict.fromkeys((f"free_{name}" for name in FREE), "no free twin was played")
    if values["defense_alarms"] is not None:
        poisoned = _poisoned(rows) is not None
        texts["detection_delay"] = "no alarm since it was poisoned" if poisoned else "no period was poisoned"
    return {name: texts[name] for name, value in values.items() if value is None and name in texts}


def _columns(rows: Rows) -> Row:
    outcomes = [(row["period"], outcome) for row in rows for outcome in row["outcomes"]]
    surfaces = {outcome["surface"] for _, outcome in outcomes}
    dropped = [outcome["evidence"].get("dropped", 0) for _, outcome in outcomes if outcome["surface"] == "filter"]
    granted = [asked for _, outcome in outcomes for asked in outcome.get("requests", ()) if asked["granted"]]
    seconds = [float(value) for row in rows for value in row.get("defense_seconds", {}).values()]
    there = bool(outcomes)
    return {
        "defense_alarms": len(_alarms(rows)) if surfaces & {"filter", "inspector"} else None,
        "rows_dropped": sum(dropped) if "filter" in surfaces else None,
        "requests_granted": len(granted) if there else None,
        "defense_failures": sum(one["status"] in _UNUSED for _, one in outcomes) if there else None,
        "defense_samples": sum(one["cost"].get("samples", 0) for _, one in outcomes) if there else None,
        "defense_seconds": sum(seconds) if there else None,
    }


def _alarms(rows: Rows) -> list[int]:
    """The periods in which some defense gave an alarm."""
    return [row["period"] for row in rows if any((one["surface"], one["status"]) in _ALARMS for one in row["outcomes"])]


def _poisoned(rows: Rows) -> int | None:
    return next((row["period"] for row in rows if row["poison_rate"] > 0), None)


def _delay(rows: Rows) -> int | None:
    """Return the periods from the first poisoned one to the first alarm in it or later."""
    start = _poisoned(rows)
    return None if start is None else next((period - start for period in _alarms(rows) if period >= start), None)


def _reasons(rows: Rows) -> dict[str, str]:
    """The reasons that the surfaces of a lineage's defenses give."""
    surfaces = {outcome["surface"] for row in rows for outcome in row["outcomes"]}
    if not surfaces:
        return dict.fromkeys((*COLUMNS, "updates"), "there is no defense")
    silent = "no defense filters or inspects"
    return {"defense_alarms": silent, "detection_delay": silent, "rows_dropped": "no defense filters"}
