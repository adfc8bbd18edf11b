"""What each defense saw, look by look: verdict, score, cost, requests, memory, and pictures of what it showed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from simulator.observer.measures import DASH, spans
from simulator.observer.report.columns import version_numbers
from simulator.observer.report.score_plots import plots_of
from simulator.observer.run_export import RunExport
from simulator.production.registry.version_words import version_words, with_numbers
from simulator.system.png import png_of

Row = Mapping[str, Any]
Look = dict[str, Any]

#: looks of one defense on the page; the rest is in `periods.jsonl`
LIMIT: Final = 60
#: characters of all pictures of the page together, shared by its defenses
_ROOM: Final = 2_000_000
#: characters of one look's evidence on the page
_EVIDENCE: Final = 400
#: key of the evidence that is drawn, and by surface the platform's keys, which have columns or stand in the reason
_SHOWN: Final = "shown"
_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "filter": ("rows", "dropped"),
    "inspector": ("score", "threshold"),
    "screen": ("rows", "refused", "answered"),
}
_TELLING: Final = ("flagged", "changed", "failed", "timeout")


def defenses_of(run: RunExport) -> list[dict[str, Any]]:
    """Return a table for each arm and defense, in order of arms and of the defenses' first looks."""
    found = [one for arm in run.arms for one in _tables(arm, run.lineage(arm))]
    for table in found:
        _draw(table, _ROOM // len(found))
    return found


def brief(evidence: Mapping[str, Any]) -> str:
    """Return evidence as one line, without what is drawn; numbers with six digits.

    >>> brief({"accuracy": 0.8999999761581421, "worst": [-0.0, 3]})
    'accuracy 0.9, worst [0.0, 3]'
    """
    text = ", ".join(f"{name} {json.dumps(_rounded(value))}" for name, value in evidence.items() if name != _SHOWN)
    return text if len(text) <= _EVIDENCE else f"{text[:_EVIDENCE]} ..."


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") + 0.0  # a negative zero carries no sign
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def asked_for(asked: Mapping[str, Any], numbers: Mapping[int, int]) -> str:
    """Return a request in words; `numbers`: the registry's of the versions, by ordinal.

    >>> asked_for({"kind": "roll-back", "to": 0}, {})
    'roll-back to version 1 (ordinal 0)'
    >>> asked_for({"kind": "purge", "periods": [1, 2], "rows": 1}, {})
    'purge of period 1-2 and 1 row of the window'
    """
    if asked["kind"] == "roll-back":
        return f"roll-back to {version_words(asked['to'], numbers)}"
    periods = [f"period {spans(asked['periods'])}"] if asked.get("periods") else []
    count = asked.get("rows")
    rows = [] if count is None else [f"{count} row{'s' if count != 1 else ''} of the window"]
    recipe = f" with {json.dumps(asked['recipe'])}" if asked.get("recipe") else ""
    named = f" of {' and '.join(periods + rows)}" if asked["kind"] == "purge" else recipe
    return f"{asked['kind']}{named}"


def request_of(asked: Mapping[str, Any], numbers: Mapping[int, int]) -> dict[str, str]:
    """Return what was asked for, why, and what became of it, as texts."""
    became, why = "granted" if asked["granted"] else "refused", with_numbers(asked["why"], numbers)
    return {"what": asked_for(asked, numbers), "reason": asked["reason"], "became": became, "why": why}


def _tables(arm: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    numbers = version_numbers(rows)
    champion = None
    for row in rows:
        champion = next((one["to"] for one in row.get("from_outside", [])[::-1] if one["to"] is not None), champion)
        for outcome in row["outcomes"]:
            name = outcome["name"]
            about = {"arm": arm, "name": name, "surface": outcome["surface"], "looks": []}
            ordinal = _looked_at(outcome["subject"], row, champion)
            looks = tables.setdefault(name, about)["looks"]
            looks.append(_look(row, outcome, ordinal, numbers))
        champion = row["version"]
    return [_summed(table, rows) for table in tables.values()]


def _looked_at(subject: str, row: Row, champion: int | None) -> int:
    """The ordinal of the version that a look was about; of a window, the version that was trained on it."""
    serving: int = row["version"]
    made: int = serving if row.get("candidate") is None else row["candidate"]
    judged: int = made if row.get("judged") is None else row["judged"]
    known = {"champion": serving if champion is None else champion, "challenger": judged, "serving": serving}
    return known.get(subject, made)


def _look(row: Row, outcome: Row, ordinal: int, numbers: Mapping[int, int]) -> Look:
    evidence = outcome["evidence"]
    rest = {name: value for name, value in evidence.items() if name not in _TOLD.get(outcome["surface"], ())}
    return {
        "period": row["period"],
        "version": numbers.get(ordinal, ordinal + 1),
        "subject": outcome["subject"],
        "status": outcome["status"],
        "reason": outcome["reason"],
        "score": f"{evidence['score'] + 0.0:.4g} / {evidence['threshold'] + 0.0:.4g}" if _is_scored(evidence) else DASH,
        "cost": _cost(outcome.get("cost", {})),
        "evidence": brief(rest),
        "requests": [request_of(asked, numbers) for asked in outcome.get("requests", ())],
        "memory": row.get("memory", {}).get(outcome["name"]),
        "shown": _drawable(evidence.get(_SHOWN)),
        "plots": [],
        "triggers": [],
    }


def _drawable(shown: Any) -> Mapping[str, Any]:
    """What can be drawn; nothing of evidence that a defense of an earlier release called `shown` itself."""
    if shown is None:
        return {}
    from simulator.production.defending.shown import Shown  # with torch, which a report without pictures does not need

    try:
        return Shown.model_validate(shown).model_dump(mode="json")
    except ValueError:
        return {}


def _is_scored(evidence: Mapping[str, Any]) -> bool:
    return all(isinstance(evidence.get(name), int | float) for name in ("score", "threshold"))


def _cost(cost: Mapping[str, int]) -> str:
    passes = f"{cost.get('forward_passes', 0):,} forward and {cost.get('backward_passes', 0):,} backward passes"
    counted = "forward_passes" in cost or "backward_passes" in cost
    parts = [f"{cost['samples']:,} images"] if "samples" in cost else []
    parts += [passes] if counted else []
    parts += [f"{cost['trusted_images']:,} trusted"] if cost.get("trusted_images") else []
    return ", ".join(parts) or DASH


def _summed(table: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """The table with how often it looked and what that took, and with no more looks than there is room for."""
    looks = table["looks"]
    counts: dict[str, int] = {}
    for look in looks:
        counts[look["status"]] = counts.get(look["status"], 0) + 1
    seconds = sum(row.get("defense_seconds", {}).get(table["name"], 0.0) for row in rows)
    kept = sorted(sorted(range(len(looks)), key=lambda place: _rank(looks[place]))[:LIMIT])
    shown = [looks[place] for place in kept]
    _once_a_period(shown)
    return table | {
        "counts": ", ".join(f"{count} {status}" for status, count in counts.items()),
        "seconds": f"{seconds:.1f}",
        "looks": shown,
        "left_out": len(looks) - len(kept),
        "undrawn": 0,
    }


def _once_a_period(looks: Sequence[Look]) -> None:
    """Leave what is remembered with a period's last look alone: the record holds only what was after the period."""
    for look, later in pairwise(looks):
        if look["period"] == later["period"]:
            look["memory"] = None


def _rank(look: Look) -> tuple[bool, int]:
    """Looks that found something, or asked for something, come first, and late ones before early ones."""
    return look["status"] not in _TELLING and not look["requests"], -look["period"]


def _draw(table: dict[str, Any], room: int) -> None:
    """Draw what the looks showed, the most telling first, while there is room."""
    for look in sorted(table["looks"], key=_rank):
        shown = look.pop("shown")
        plots, triggers = plots_of(shown), [_image(one) for one in shown.get("triggers", ())]
        size = sum(len(one["svg"]) for one in plots) + sum(len(one["data"]) for one in triggers)
        if size <= room:
            room -= size
            look |= {"plots": plots, "triggers": triggers}
        else:
            table["undrawn"] += 1


def _image(trigger: Mapping[str, Any]) -> dict[str, Any]:
    file = png_of(base64.b64decode(trigger["pixels"]), trigger["shape"])
    return {"of_class": trigger["of_class"], "data": base64.b64encode(file).decode()}
